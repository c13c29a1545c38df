"""Replacing: whether bytes that came in a refresh may take the place of the good ones. Runs on the event loop.

Origins that forbid hotlinking, sold domains and lapsed accounts answer 200 with a picture of their own. Nothing in
the answer says so; two things around it do:

    placeholder    the same bytes came in place of different pictures of one origin
    another_size   a picture that never changed since it is known, for `fetch.stable_after` at least, has other
                   dimensions all at once

Both are set aside as history: kept, counted, shown and open to be accepted by the operator, never served
in place of the good ones. Only pictures are judged. Once known, a placeholder is not taken for the picture of a
source that was never kept either, nor from an archive that was given it: the origin refuses, in other words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cache.base.entry import Entry, Former
from cache.base.errors import NotKept
from cache.durable_tier import Originals
from proxy.source import origin_of

log = logging.getLogger(__name__)

PLACEHOLDER = "placeholder"
ANOTHER_SIZE = "another_size"
ROLLED_BACK = "rolled_back"
SET_ASIDE = frozenset({PLACEHOLDER, ANOTHER_SIZE, ROLLED_BACK})
"""The notes of versions that were set aside when they came, or by the operator later."""

PLACEHOLDER_PICTURES = 3
"""Different pictures of one origin that the same bytes came for. Two are a site that merged two of its own."""

MAX_USERS = 64
"""Entries looked at: what hides beyond them changes no verdict that three suffice for."""


class Replacing:
    """Judge new bytes, and put back what was displaced before the judgement was possible."""

    def __init__(self, store: Originals, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    async def objection(self, fresh: Entry, kept: Entry, *, stable_after_seconds: float) -> str:
        """Return why `fresh` must not take the place of `kept`; empty when it may."""
        if fresh.body_sha256 == kept.body_sha256 or not _are_pictures(fresh, kept):
            return ""
        known = next((item for item in kept.history if item.body_sha256 == fresh.body_sha256), None)
        if known is not None and known.note in SET_ASIDE:
            return known.note
        if known is not None and not known.note:
            return ""  # it was here before: a source that changes to and fro
        if await self._is_placeholder(fresh.body_sha256, besides=kept):
            return PLACEHOLDER
        if self._was_stable(kept, stable_after_seconds) and _size(fresh) != _size(kept):
            return "" if await self._is_placeholder(kept.body_sha256) else ANOTHER_SIZE
        return ""

    async def is_known_placeholder(self, sha256: str, url: str) -> bool:
        """Whether these bytes were set aside before as a placeholder of the origin that `url` is of."""
        origin = origin_of(url)
        return any(
            item.body_sha256 == sha256 and item.note == PLACEHOLDER
            for entry in await self._store.history.who_set_aside(sha256, most=MAX_USERS)
            if origin_of(entry.source) == origin
            for item in entry.history
        )

    async def put_back(self, sha256: str, origin: str) -> int:
        """Give sources of `origin` back what a placeholder displaced before it was known as one; return how many."""
        count = 0
        for entry in await self._store.history.users_of(sha256, most=MAX_USERS):
            good = _good(entry, sha256)
            if entry.body_sha256 != sha256 or good is None or origin_of(entry.source) != origin:
                continue
            try:
                if await self._store.history.promote(entry.source, good, note=PLACEHOLDER):
                    log.warning(
                        "%s has its former picture back: what replaced it is a placeholder", entry.source
                    )
                    count += 1
            except NotKept as error:
                log.warning("the former picture of %s cannot be put back: %s", entry.source, error)
        return count

    async def _is_placeholder(self, sha256: str, *, besides: Entry | None = None) -> bool:
        """Whether these bytes stand for different pictures of one origin, that of `besides` where it is given."""
        pictures: dict[str, set[str]] = {}
        for entry in await self._store.history.users_of(sha256, most=MAX_USERS):
            if besides is None or entry.source != besides.source:
                origin = origin_of(entry.source)
                # A source that never gave anything else stands for a picture nobody has seen.
                pictures.setdefault(origin, set()).add(_good(entry, sha256) or entry.key)
        if besides is not None:
            origin = origin_of(besides.source)
            pictures = {origin: pictures.get(origin, set()) | {besides.body_sha256}}
        return any(len(found) >= PLACEHOLDER_PICTURES for found in pictures.values())

    def _was_stable(self, kept: Entry, stable_after_seconds: float) -> bool:
        if kept.recovered is not None:
            return False  # an archive's copy says nothing about what its address gives
        changed_before = any(not item.note for item in kept.history)
        return not changed_before and self._now() - kept.fetched_at >= stable_after_seconds


async def accept(store: Originals, url: str, sha256: str | None = None) -> Entry | None:
    """Make the newest version that was set aside, or the one with a digest, the present original of a source.

    Going back to bytes that were displaced sets the present ones aside, or the next refresh would bring them back.
    Return the entry as it is now; None when there is no such version.
    """
    entry = await store.get(url)
    history = entry.history if entry else ()
    wanted = (item for item in history if (item.body_sha256 == sha256 if sha256 else item.note in SET_ASIDE))
    chosen = next(wanted, None)
    if chosen is None:
        return None
    note = "" if chosen.note in SET_ASIDE else ROLLED_BACK
    return await store.history.promote(url, chosen.body_sha256, note=note)


def as_set_aside(fresh: Entry, reason: str) -> Former:
    """Return what the history of a source remembers of bytes that were set aside."""
    return fresh.as_former(note=reason)


def _good(entry: Entry, placeholder: str) -> str | None:
    """Return the digest of the picture that an entry has besides `placeholder`, the present one first."""
    if entry.body_sha256 != placeholder:
        return entry.body_sha256
    return next((item.body_sha256 for item in entry.history if not item.note and item.picture), None)


def _are_pictures(*entries: Entry) -> bool:
    return all(entry.picture and entry.media_type.startswith("image/") for entry in entries)


def _size(entry: Entry) -> tuple[object, object]:
    picture = entry.picture or {}
    return picture.get("width"), picture.get("height")
