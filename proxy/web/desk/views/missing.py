"""The missing pictures: those that articles show and that are not kept, by reason, and as a file. Event loop."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from aiohttp import web

from cache.catalogue import lists
from cache.catalogue.lists import MissingRow, MissingRows, ShownIn
from proxy.errors import MirrorError
from proxy.services.desk.asking import CatalogueNotReady, asked
from proxy.services.desk.searching import behind_missing, next_missing, part_of_name, reasons_of
from proxy.services.troubles.reasons import GIVEN_UP_TEXT, GROUPS, ReasonGroup, by_group, error_of, group_of
from proxy.web.desk.guard import new_nonce, policy_of_page
from proxy.web.desk.listing import address_of, list_page, listed
from proxy.web.desk.pages import DeskRequest
from proxy.web.desk.views.picture import DONE
from proxy.web.desk.words import as_machine_time

MISSING = "/desk/missing"
PAGE_SIZE = 50
FILE_PAGE_SIZE = 500
"""The number of pictures that one question for the file requests."""

_COLUMNS = (
    "source", "group", "reason", "code", "message", "first_failed", "last_tried", "tries", "article", "lines",
)  # fmt: skip
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""The characters with which formulas in spreadsheets begin, also in full width (OWASP, "CSV Injection")."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The missing pictures that a visitor selects. reasons: None for all."""

    text: str
    article: str
    group: str
    reasons: frozenset[str] | None
    after: str


async def missing(desk: DeskRequest) -> web.StreamResponse:
    """Answer one page of the list, sorted by address."""
    found = await listed(desk, _found(desk))
    rows, counts = found.answer or (MissingRows((), None), None)
    if desk.text("q") or _article(desk):
        # The numbers are those of all pictures, which would mislead beside a search.
        counts = None
    values = {"q": desk.text("q"), "article": _article(desk), "group": desk.text("group")}
    further = next_missing(rows)
    return list_page(
        desk,
        "missing.html",
        found,
        title="Missing pictures",
        rows=[(row, GROUPS[group_of(row.reason)], error_of(row.reason)) for row in rows.rows],
        q=values["q"],
        article=values["article"],
        group=values["group"],
        groups=[
            (name, one, counts[name] if counts else None, address_of(MISSING, {**values, "group": name}))
            for name, one in GROUPS.items()
        ],
        total=sum(counts.values()) if counts else None,
        all_groups=address_of(MISSING, {**values, "group": ""}),
        given_up_text=GIVEN_UP_TEXT,
        done=DONE.get(desk.text("done")),
        this_page=address_of(MISSING, {**values, "after": desk.asked.get("after", "")}),
        file=address_of(f"{MISSING}.csv", values),
        is_first=not desk.text("after"),
        has_archive=bool(desk.context.config.fetch.wayback),
        first_page=address_of(MISSING, values),
        next_page=address_of(MISSING, {**values, "after": further}) if further else "",
    )


async def missing_as_csv(desk: DeskRequest) -> web.StreamResponse:
    """Answer the whole list as a file: a line for each article that shows a missing picture.

    Raises:
        CatalogueNotReady: the catalogue does not know everything, and a file cannot say so.
        TooBroad: the first question takes too long.
    """
    headers = {
        **policy_of_page(new_nonce()),
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="missing-pictures.csv"',
    }
    wanted = _wanted(desk)
    page = await _whole_page(desk, wanted, after=wanted.after)
    response = web.StreamResponse(headers=headers)
    await response.prepare(desk.request)
    await response.write(_written([_COLUMNS]))
    try:
        async for rows in _pages(desk, wanted, page):
            await response.write(_written(rows))
    except MirrorError:
        # Part of the file is sent, so only a connection that ends early can show that it is incomplete.
        if desk.request.transport is not None:
            desk.request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _pages(desk: DeskRequest, wanted: _Wanted, page: MissingRows) -> AsyncIterator[list[list[str]]]:
    while True:
        yield [line for row in page.rows for line in _lines(row, await _uses(desk, row))]
        if page.after is None:
            return
        page = await _whole_page(desk, wanted, after=page.after)


async def _whole_page(desk: DeskRequest, wanted: _Wanted, *, after: str) -> MissingRows:
    found = await _page(desk, wanted, after=after, most=FILE_PAGE_SIZE)
    # A catalogue that is being made again, after damage, would end the file too early.
    if not await desk.context.kept.catalogue.is_whole():
        raise CatalogueNotReady
    return found


async def _uses(desk: DeskRequest, row: MissingRow) -> Iterable[ShownIn]:
    if row.articles <= len(row.uses):
        return row.uses
    return await asked(desk.context.kept, lambda connection: lists.uses_of(connection, row.source))


def _lines(row: MissingRow, uses: Iterable[ShownIn]) -> Iterable[list[str]]:
    error = error_of(row.reason)
    cells = [
        row.source,
        group_of(row.reason),
        row.block or row.reason,
        error.code if error else "",
        error.message if error else "",
        as_machine_time(row.first_at) if row.first_at else "",
        as_machine_time(row.last_at) if row.last_at else "",
        str(row.count),
    ]
    for use in uses:
        yield [*cells, use.article, " ".join(map(str, use.lines))]


def _article(desk: DeskRequest) -> str:
    # A name may hold bytes that are not UTF-8.
    return desk.asked.get("article", "")


def _wanted(desk: DeskRequest) -> _Wanted:
    group = desk.text("group")
    return _Wanted(
        part_of_name(desk.text("q"), name="The search"),
        _article(desk),
        group,
        reasons_of(group),
        behind_missing(desk.asked.get("after", "")),
    )


async def _found(desk: DeskRequest) -> tuple[MissingRows, dict[ReasonGroup, int]]:
    wanted = _wanted(desk)
    rows = await _page(desk, wanted, after=wanted.after, most=PAGE_SIZE)
    return rows, by_group(await asked(desk.context.kept, lists.missing_by_reason))


async def _page(desk: DeskRequest, wanted: _Wanted, *, after: str, most: int) -> MissingRows:
    return await asked(
        desk.context.kept,
        lambda connection: lists.missing(
            connection,
            reasons=wanted.reasons,
            text=wanted.text,
            article=wanted.article,
            after=after,
            most=most,
        ),
    )


def _written(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: names of articles come from others."""
    return f"'{cell}" if cell.startswith(_RISKY) else cell
