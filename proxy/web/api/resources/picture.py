"""`/picture`: all known facts about one source. Nothing here asks an origin. Event loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from cache.base.entry import Entry, Former
from cache.base.keys import source_key
from cache.http.freshness import remaining_seconds
from proxy.dialects.native import VERSION_MARK, build
from proxy.errors import InvalidRequest, MirrorError
from proxy.services.articles.article_use import kept_source, unwrapper_of
from proxy.services.desk.asking import shown_in
from proxy.services.upkeep.storedlist import variants_of
from proxy.source import Source
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.resources.pages import ShownItem
from proxy.web.api.values import Digest, Moment, SourceText, Trouble, moment
from proxy.web.context import Context
from proxy.web.handlers.explain import explained

ORIGINAL = "original"
KeptState = Literal["kept", "damaged", "unreadable", "absent"]


class SourceQuery(Asked):
    """Names one source."""

    source: SourceText


class ExplainQuery(SourceQuery):
    """Names one source and the options of its address."""

    options: str = Field(
        default=ORIGINAL,
        max_length=2048,
        description="Options as in an address, or `original`.",
        min_length=1,
    )
    accept: str = Field(
        default="",
        max_length=1024,
        description="The `Accept` header of the browser.",
        pattern=r"^[\x20-\x7e]*$",
    )


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where bytes came from if not from their origin. place: `wayback`, `wrapper` or `by hand`."""

    place: str
    url: str
    captured_at: Moment | None
    note: str

    @classmethod
    def of(cls, recovered: Mapping[str, Any] | None) -> Provenance | None:
        """Return the note of an entry, or None for bytes from the origin."""
        if recovered is None:
            return None
        captured_at = recovered.get("captured_at")
        is_time = isinstance(captured_at, int | float)
        return cls(
            str(recovered.get("from", "")),
            str(recovered.get("url", "")),
            moment(float(captured_at)) if is_time and captured_at is not None else None,
            str(recovered.get("note", "")),
        )


@dataclass(frozen=True, slots=True)
class VersionAnswer:
    """Bytes of a source. width, height: in pixels before orientation; None if they are no picture. set_aside: why they
    must not become current by themselves; empty if they may. address: where they are served."""

    sha256: Digest
    bytes: int
    media_type: str
    width: int | None
    height: int | None
    fetched_at: Moment | None
    damaged: bool
    set_aside: str
    provenance: Provenance | None
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class EntryAnswer:
    """The facts stored about the current bytes. headers: those kept of the origin's answer."""

    status: int
    final_url: str
    headers: list[list[str]]
    validated_at: Moment | None
    next_revalidation: Moment | None
    fresh: bool
    picture: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class PictureAnswer:
    """One source. state: `unreadable` if its entry is there and cannot be read. block_reason: why it is refused; empty
    if it is not, or if that is not recorded. versions: the current bytes first, then the others, newest first.
    articles: those that show it. last_failure: why the origin is not asked now; None if it may be."""

    source: str
    key: Digest
    state: KeptState
    blocked: bool
    block_reason: str
    address: str
    articles: list[ShownItem]
    entry: EntryAnswer | None
    versions: list[VersionAnswer]
    last_failure: Trouble | None


@dataclass(frozen=True, slots=True)
class VariantAnswer:
    """A stored variant. options, format: empty if they are not known."""

    options: str
    format: str
    bytes: int
    used_at: Moment | None


@dataclass(frozen=True, slots=True)
class VariantsAnswer:
    """The stored variants of the current bytes of a source."""

    source: str
    variants: list[VariantAnswer]


async def named_source(context: Context, text: str) -> Source:
    """Return the source that a client named, without wrappers, as the store keeps it.

    Raises:
        InvalidRequest: it is not the address of a picture on another host.
    """
    try:
        return await kept_source(unwrapper_of(context.config), context.kept, Source.parse(text))
    except MirrorError as error:
        raise InvalidRequest(f"source: {error.message}") from error


async def show_picture(call: Call[SourceQuery, Nothing]) -> PictureAnswer:
    """Show a source: its versions, where they came from, and the articles that show it."""
    source = await named_source(call.context, call.query.source)
    return await picture_answer(call.context, source)


async def picture_answer(context: Context, source: Source) -> PictureAnswer:
    """Return what is known about a source."""
    blocked, entry = await context.kept.look_up(source.url)
    failure = await context.originals.failure_of(source)
    return PictureAnswer(
        source=source.url,
        key=source_key(source.url),
        state=await _state(context, source, entry),
        blocked=blocked,
        block_reason=await context.kept.block_reason(source.url) if blocked else "",
        address=_address(context, source, ORIGINAL),
        articles=list(map(ShownItem.of, await shown_in(context.kept, source.url))),
        entry=_entry(context, entry) if entry else None,
        versions=_versions(context, source, entry) if entry else [],
        last_failure=Trouble.of(failure) if failure else None,
    )


async def _state(context: Context, source: Source, entry: Entry | None) -> KeptState:
    if entry is not None:
        return "damaged" if entry.damaged else "kept"
    return "unreadable" if await context.kept.is_unreadable(source.url) else "absent"


def _entry(context: Context, entry: Entry) -> EntryAnswer:
    now = context.now()
    remaining = remaining_seconds(entry, now=now, min_fresh_seconds=context.config.fetch.min_fresh)
    return EntryAnswer(
        status=entry.status,
        final_url=entry.final_url,
        headers=[[name, value] for name, value in entry.headers],
        validated_at=moment(entry.validated_at),
        next_revalidation=moment(now + max(remaining, 0.0)),
        fresh=remaining > 0,
        picture=dict(entry.picture) if entry.picture else None,
    )


def _versions(context: Context, source: Source, entry: Entry) -> list[VersionAnswer]:
    items = (entry.as_former(), *entry.history)
    return [_version(context, source, item, current=number == 0) for number, item in enumerate(items)]


def _version(context: Context, source: Source, item: Former, *, current: bool) -> VersionAnswer:
    picture = item.picture or {}
    return VersionAnswer(
        sha256=item.body_sha256,
        bytes=item.body_size,
        media_type=item.media_type,
        width=_pixels(picture.get("width")),
        height=_pixels(picture.get("height")),
        fetched_at=moment(item.fetched_at),
        damaged=item.damaged,
        set_aside=item.note,
        provenance=Provenance.of(item.recovered),
        address=_address(context, source, VERSION_MARK + item.body_sha256),
        current=current,
    )


def _pixels(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _address(context: Context, source: Source, options: str) -> str:
    sig = context.signer.sign(options, source.url) if context.signer else None
    return build("", options, source, sig=sig)


async def show_variants(call: Call[SourceQuery, Nothing]) -> VariantsAnswer:
    """List the stored variants of a source with their bytes."""
    context = call.context
    source = await named_source(context, call.query.source)
    entry = await context.kept.get(source.url)
    found = await variants_of(context.variant_store, entry, context.config) if entry else []
    return VariantsAnswer(
        source.url,
        [VariantAnswer(item.options, item.format, item.bytes, moment(item.used_at)) for item in found],
    )


async def explain_picture(call: Call[ExplainQuery, Nothing]) -> dict[str, Any]:
    """Say what would happen to a request for a source, and why, as `/explain` does."""
    context, asked = call.context, call.query
    try:
        source = Source.parse(asked.source)
    except MirrorError as error:
        raise InvalidRequest(f"source: {error.message}") from error
    target = _address(context, source, asked.options)
    return await explained(context, target, asked.accept or None)
