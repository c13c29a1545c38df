"""Judges a download by its facts: what it is, and whether it may be kept. Pure.

    media_type_of     the type of the bytes, from their signature and the origin's type; refuses types not admitted
    end_to_find       the format whose end shows whether the body is complete
    is_known          whether the same bytes were found to be a good picture before
    refusal_of        why a picture must not be accepted, after a render process has decoded it
    entry_of          the entry that keeps it
    state_of          how the answer came about
    entry_vouched     the entry after a 304
    entry_relooked    the entry after another examination of kept bytes

`troubles.replacing` judges placeholders, because that depends on other entries of the store.
"""

from __future__ import annotations

from dataclasses import replace

from cache.base.entry import Entry
from cache.http.fields import kept_fields, merged_fields
from cache.http.freshness import kept_against_wish
from proxy.errors import DecodeFailed, MirrorError, NotAnImage, SourceUnreachable
from proxy.fetch.answers.body import Framing
from proxy.fetch.fetcher import NotModified
from proxy.fetch.media import admitted, decide
from proxy.images.formats import FORMAT_OF_MEDIA_TYPE
from proxy.images.jobs import JUDGE, Inspection
from proxy.services.serving.download import Arrival
from proxy.services.serving.values import NOT_KEPT, CacheState


def media_type_of(head: bytes, *, size: int, claimed: str | None, root: str, types: tuple[str, ...]) -> str:
    """Return the media type of a body.

    head: its first bytes. size: its total size. claimed: the origin's `Content-Type`. root: the name of the root
    element if it is an XML document. types: the value of `fetch.types`.

    Raises:
        NotAnImage: the body is empty, or its type is not admitted.
    """
    if size == 0:
        raise NotAnImage("The origin sent an empty body.")
    media_type = decide(head, claimed, root=root)
    if not admitted(media_type, types):
        raise NotAnImage(detail=f"{media_type} (the origin said {claimed!r})")
    return media_type


def end_to_find(media_type: str, *, framing: Framing) -> str:
    """Return the format whose end must be found in a body because nothing else bounds it; empty if none.

    Raises:
        SourceUnreachable: nothing bounds the body, and its format has no end that could be found.
    """
    if framing != "close":
        return ""
    if not (found := FORMAT_OF_MEDIA_TYPE.get(media_type)):
        raise cut_short()
    return found


def cut_short() -> SourceUnreachable:
    """Return the error for a body whose completeness cannot be verified."""
    return SourceUnreachable(detail="a body without a length that ends early")


def is_known(arrival: Arrival, media_type: str) -> bool:
    """Return whether these bytes were examined before, as the same type, and found to be a good picture."""
    known = arrival.previous
    return (
        known is not None
        and known.body_sha256 == arrival.incoming.sha256
        and known.picture is not None
        and known.media_type == media_type
        and not known.damaged
    )


def refusal_of(arrival: Arrival, inspection: Inspection) -> MirrorError | None:
    """Return why a picture is not accepted, or None if it is. A damaged picture from its own origin is accepted."""
    if inspection.verdict == "not_an_image":
        return inspection.error or NotAnImage()
    if arrival.recovered is None:
        return None
    # The origin has only this picture, even if it is damaged. Other copies may be better than a damaged one.
    if isinstance(inspection.error, DecodeFailed):
        return inspection.error
    facts = inspection.facts
    if facts is not None and max(facts.width, facts.height) <= 2:
        return NotAnImage(detail="a single pixel instead of a picture")
    return None


def entry_of(arrival: Arrival, media_type: str, inspection: Inspection | None) -> Entry:
    """Return the entry that keeps a download. Without `inspection`, facts known of the same bytes still apply."""
    answer, before = arrival.answer, arrival.previous or arrival.lost
    if before is not None and before.body_sha256 != arrival.incoming.sha256:
        before = None
    facts = inspection.facts if inspection else None
    known = before.picture if before and not inspection else None
    return Entry(
        source=arrival.source.url,
        status=answer.status,
        headers=kept_fields(answer.headers),
        body_sha256=arrival.incoming.sha256,
        body_size=answer.size,
        media_type=media_type,
        final_url=answer.final_url,
        request_time=answer.request_time,
        response_time=answer.response_time,
        fetched_at=before.fetched_at if before else answer.response_time,
        validated_at=answer.response_time,
        damaged=inspection is not None and isinstance(inspection.error, DecodeFailed),
        judged_by=JUDGE,
        picture=facts.to_dict() if facts else known,
        recovered=arrival.recovered,
    )


def entry_vouched(known: Entry, answer: NotModified) -> Entry:
    """Return the entry after a 304: its headers update the stored ones, and the body stays (RFC 9111 §4.3.4)."""
    return replace(
        known,
        headers=merged_fields(known.headers, answer.headers),
        request_time=answer.request_time,
        response_time=answer.response_time,
        validated_at=answer.response_time,
    )


def entry_relooked(entry: Entry, inspection: Inspection) -> Entry | None:
    """Return the entry of kept bytes after another examination, or None if it adds nothing.

    Only missing facts are added: the facts of the picture, and whether it is damaged if earlier rules had said so.
    """
    is_open = entry.picture is None or (entry.damaged and entry.judged_by != JUDGE)
    damaged = isinstance(inspection.error, DecodeFailed)
    if not is_open or not (inspection.verdict == "whole" or damaged):
        return None
    picture = inspection.facts.to_dict() if inspection.facts else entry.picture
    return replace(entry, damaged=damaged, judged_by=JUDGE, picture=picture)


def state_of(arrival: Arrival, *, stored: bool | None = None) -> CacheState:
    """Return how a download came about. stored: whether the disk accepted it; None if that is not known yet."""
    state = CacheState("stale" if arrival.previous else "uri-miss", arrival.answer.status)
    if stored is None:
        return state
    wish = kept_against_wish(arrival.answer.headers)
    said = "recovered" if arrival.recovered else f"kept_despite_{wish}" if wish else ""
    return replace(state, stored=stored, detail=said if stored else NOT_KEPT)
