"""`/failures`: pictures that are shown or asked for and not kept, by reason, and what the owner decides about them.

Event loop.
"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from aiohttp import hdrs, web
from pydantic import Field

from cache.index.values import FailureQuery, FailureRow, FailureSort, Group, Place
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.paging import TEXT, PageQuery, index_of, page
from proxy.web.api.resources.picture import named_source
from proxy.web.api.values import PRIVATE_HEADERS, Moment, SourceText, moment

CSV_PAGE = 500
MAX_CSV_PAGES = 2000
"""A million rows. More would be a file that nobody opens."""

COLUMNS = (
    "source",
    "group",
    "code",
    "status",
    "tries",
    "first_seen",
    "last_tried",
    "given_up",
    "note",
    "places",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class FailuresFilter(Asked):
    """Which missing pictures. shown: only those that an article shows. kept: kept pictures whose refresh failed
    instead."""

    text: str = TEXT
    origin: str = TEXT
    article: str = TEXT
    group: Group | None = None
    given_up: bool | None = None
    shown: bool = True
    kept: bool = False
    sort: FailureSort = "first_seen"
    descending: bool = True


class FailuresQuery(FailuresFilter, PageQuery):
    """The same, in pages."""


class GiveUpBody(Asked):
    """Names a missing picture, and why it will not come back."""

    source: SourceText
    note: str = Field(default="", max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")


class ResumeBody(Asked):
    """Names pictures that are hoped for again."""

    sources: list[SourceText] = Field(min_length=1, max_length=100)


@dataclass(frozen=True, slots=True)
class PlaceItem:
    """An article that shows a picture, and in which lines, as far as they are known."""

    article: str
    lines: list[int]
    path: str

    @classmethod
    def of(cls, place: Place) -> PlaceItem:
        """Return the answer for a place of the index."""
        return cls(place.article, list(place.lines), place.path)


@dataclass(frozen=True, slots=True)
class FailureItem:
    """A picture that is missing, or whose refresh failed. group: why. code: empty if its origin was never asked.
    shown: how many articles show it; places: the first twenty of them. given_up: when the owner gave it up."""

    source: str
    origin: str
    group: Group
    code: str
    status: int
    tries: int
    first_seen: Moment | None
    last_tried: Moment | None
    shown: int
    places: list[PlaceItem]
    given_up: Moment | None
    note: str
    kept: bool
    blocked: bool

    @classmethod
    def of(cls, row: FailureRow) -> FailureItem:
        """Return the answer for a row of the index."""
        return cls(
            row.source, row.origin, row.group, row.code, row.status, row.tries, moment(row.first_seen),
            moment(row.last_tried), row.shown, list(map(PlaceItem.of, row.places)), moment(row.given_up), row.note,
            row.kept, row.blocked,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FailuresPage:
    """A page; `next`, `total` and `is_exact` as for pictures."""

    items: list[FailureItem]
    next: str | None
    total: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class DecidedAnswer:
    """The sources that a decision was about."""

    sources: list[str]


def _query(asked: FailuresFilter, *, limit: int, after: str | None) -> FailureQuery:
    return FailureQuery(
        text=asked.text,
        origin=asked.origin,
        article=asked.article,
        group=asked.group,
        given_up=asked.given_up,
        shown=asked.shown,
        kept=asked.kept,
        sort=asked.sort,
        descending=asked.descending,
        limit=limit,
        after=after,
    )


async def list_failures(call: Call[FailuresQuery, Nothing]) -> FailuresPage:
    """List the missing pictures."""
    query = _query(call.query, limit=call.query.limit, after=call.query.after)
    found = await page(index_of(call.context).failures(query))
    return FailuresPage(list(map(FailureItem.of, found.items)), found.after, found.total, found.is_exact)


async def export_failures(call: Call[FailuresFilter, Nothing]) -> web.StreamResponse:
    """Send all missing pictures as CSV, a line for each."""
    pages = _pages(call)
    # An index that cannot be asked is an error, which cannot be told once the answer has begun.
    first = await anext(pages)
    headers = {**PRIVATE_HEADERS, hdrs.CONTENT_TYPE: "text/csv; charset=utf-8; header=present"}
    headers[hdrs.CONTENT_DISPOSITION] = 'attachment; filename="imgmirror-missing.csv"'
    response = web.StreamResponse(headers=headers)
    await response.prepare(call.request)
    if call.request.method != hdrs.METH_HEAD:
        await response.write(as_csv([COLUMNS]))
        await response.write(as_csv(map(csv_row, first)))
        async for rows in pages:
            await response.write(as_csv(map(csv_row, rows)))
    await response.write_eof()
    return response


async def _pages(call: Call[FailuresFilter, Nothing]) -> AsyncIterator[tuple[FailureRow, ...]]:
    query = _query(call.query, limit=CSV_PAGE, after=None)
    for _ in range(MAX_CSV_PAGES):
        found = await page(index_of(call.context).failures(query))
        yield found.items
        if found.after is None:
            return
        query = replace(query, after=found.after)


def csv_row(row: FailureRow) -> tuple[str, ...]:
    """Return a row as texts. Programs for tables would take a text of an article that begins with `=` for a formula."""
    places = " ".join(":".join([place.article, *map(str, place.lines[:1])]) for place in row.places)
    texts = (
        row.source, row.group, row.code, str(row.status or ""), str(row.tries), moment(row.first_seen) or "",
        moment(row.last_tried) or "", moment(row.given_up) or "", row.note, places,
    )  # fmt: skip
    return tuple(f"'{text}" if text.startswith(_FORMULA) else text for text in texts)


def as_csv(rows: object) -> bytes:
    """Return rows as CSV (RFC 4180) in UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)  # type: ignore[arg-type] # any iterable of rows
    return text.getvalue().encode("utf-8", "backslashreplace")


async def give_up(call: Call[Nothing, GiveUpBody]) -> DecidedAnswer:
    """Note that a missing picture will not come back."""
    source = await named_source(call.context, call.body.source)
    await index_of(call.context).give_up(source.url, note=call.body.note)
    return DecidedAnswer([source.url])


async def resume(call: Call[Nothing, ResumeBody]) -> DecidedAnswer:
    """Take back what was given up."""
    sources = [(await named_source(call.context, text)).url for text in call.body.sources]
    await index_of(call.context).resume(sources)
    return DecidedAnswer(sources)
