"""`/pictures`, `/origins` and `/summary`: what is kept, searched, sorted and in pages. Event loop."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cache.index.values import Group, OriginRow, PictureQuery, PictureRow, PictureSort, State
from proxy.web.api.endpoints import Call, Nothing
from proxy.web.api.paging import TEXT, PageQuery, index_of, page, unix_time
from proxy.web.api.values import Moment, moment

_DATE = Field(default=None, max_length=40, examples=["2024-01-31"])


class PicturesQuery(PageQuery):
    """Which pictures. text: a part of the address. digest: the first digits of a SHA-256, four at least. since,
    until: when the bytes arrived. provenance: `origin`, `wayback`, `wrapper` or `by hand`."""

    text: str = TEXT
    origin: str = TEXT
    article: str = TEXT
    digest: str = Field(default="", pattern="^([0-9a-f]{4,64})?$")
    state: State | None = None
    provenance: str = Field(default="", max_length=40)
    since: str | None = _DATE
    until: str | None = _DATE
    sort: PictureSort = "kept"
    descending: bool = True


@dataclass(frozen=True, slots=True)
class PictureItem:
    """A picture that is kept, or blocked. uses: in how many hours it was asked for, added up over its variants.
    failure: the code of the last failed refresh, empty if the last one succeeded."""

    source: str
    origin: str
    state: State
    digest: str
    bytes: int
    media_type: str
    width: int | None
    height: int | None
    provenance: str
    kept_at: Moment | None
    changed_at: Moment | None
    last_used: Moment | None
    uses: int
    articles: int
    versions: int
    set_aside: int
    failure: str

    @classmethod
    def of(cls, row: PictureRow) -> PictureItem:
        """Return the answer for a row of the index."""
        return cls(
            row.source, row.origin, row.state, row.digest, row.bytes, row.media_type, row.width, row.height,
            row.provenance, moment(row.kept_at), moment(row.changed_at), moment(row.last_used), row.uses,
            row.articles, row.versions, row.set_aside, row.failure,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PicturesPage:
    """A page. next: the cursor of the next page, None on the last one. total: how many there are in all pages; at least
    that many if not `is_exact`. A page may have fewer items than asked for and still have a next one."""

    items: list[PictureItem]
    next: str | None
    total: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class OriginItem:
    """The figures of one origin. missing: pictures that articles show and that are not kept."""

    origin: str
    pictures: int
    bytes: int
    versions: int
    version_bytes: int
    set_aside: int
    missing: int


@dataclass(frozen=True, slots=True)
class OriginsAnswer:
    """The origins, those with the most bytes first, a thousand at most."""

    origins: list[OriginItem]


@dataclass(frozen=True, slots=True)
class SummaryAnswer:
    """The figures of the whole store. pictures: by state. missing: pictures that articles show and that are not kept,
    by reason. is_current: whether the index shows everything that was kept up to a second ago; otherwise it is being
    compared with the store, `compared` of 1 so far."""

    pictures: dict[State, int]
    bytes: int
    versions: int
    recovered: int
    missing: dict[Group, int]
    given_up: int
    articles: int
    origins: int
    is_current: bool
    compared: float


async def list_pictures(call: Call[PicturesQuery, Nothing]) -> PicturesPage:
    """Search the pictures."""
    asked = call.query
    query = PictureQuery(
        text=asked.text,
        origin=asked.origin,
        article=asked.article,
        digest=asked.digest,
        state=asked.state,
        provenance=asked.provenance,
        since=unix_time(asked.since, name="since"),
        until=unix_time(asked.until, name="until"),
        sort=asked.sort,
        descending=asked.descending,
        limit=asked.limit,
        after=asked.after,
    )
    found = await page(index_of(call.context).pictures(query))
    return PicturesPage(list(map(PictureItem.of, found.items)), found.after, found.total, found.is_exact)


async def list_origins(call: Call[Nothing, Nothing]) -> OriginsAnswer:
    """List the origins with their figures."""
    return OriginsAnswer([_origin(row) for row in await index_of(call.context).origins()])


def _origin(row: OriginRow) -> OriginItem:
    return OriginItem(
        row.origin, row.pictures, row.bytes, row.versions, row.version_bytes, row.set_aside, row.missing
    )


async def show_summary(call: Call[Nothing, Nothing]) -> SummaryAnswer:
    """Count pictures, missing pictures, articles and origins."""
    index = index_of(call.context)
    found, state = await index.summary(), await index.state()
    return SummaryAnswer(
        pictures=dict(found.pictures),
        bytes=found.bytes,
        versions=found.versions,
        recovered=found.recovered,
        missing=dict(found.missing or {}),
        given_up=found.given_up,
        articles=found.articles,
        origins=found.origins,
        is_current=state.is_current,
        compared=state.done,
    )
