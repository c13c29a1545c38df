"""The missing pictures: what articles show and what is not kept, with the reason, and as a file. Event loop."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable
from urllib.parse import urlencode

from aiohttp import web

from proxy.services.desk.article_pictures import PictureInArticle, SourcesOfArticles, missing_of, shown_by
from proxy.web.desk.guard import new_nonce, policy_of_page
from proxy.web.desk.pages import DeskRequest, page
from proxy.web.desk.words import as_machine_time

MISSING = "/desk/missing"
PAGE_SIZE = 50

_COLUMNS = ("source", "code", "message", "last_tried", "tries", "article")
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet takes for a formula, also in full width (OWASP, "CSV Injection")."""


async def missing(desk: DeskRequest) -> web.StreamResponse:
    """Answer one page of the list, sorted by address. It begins behind the address in `after`."""
    context = desk.context
    wanted = await _wanted(desk)
    sources = wanted.behind(desk.text("after"))
    found = await missing_of(sources, context.kept, context.originals, most=PAGE_SIZE)
    further = {"q": desk.text("q"), "after": found.after} if found.after is not None else {}
    return page(
        desk,
        "missing.html",
        title="Missing pictures",
        rows=[(one, wanted.articles[one.source]) for one in found.pictures],
        q=desk.text("q"),
        is_first=not desk.text("after"),
        has_archive=bool(context.config.fetch.wayback),
        next_page=f"{MISSING}?{urlencode(further)}" if further else "",
    )


async def missing_as_csv(desk: DeskRequest) -> web.StreamResponse:
    """Answer the whole list as a file: a line for each article that shows a missing picture."""
    headers = {
        **policy_of_page(new_nonce()),
        "Content-Type": "text/csv; charset=utf-8",
        "Content-Disposition": 'attachment; filename="missing-pictures.csv"',
    }
    wanted = await _wanted(desk)
    response = web.StreamResponse(headers=headers)
    await response.prepare(desk.request)
    await response.write(_written([_COLUMNS]))
    async for one in _all(desk, wanted):
        cells = _cells(one)
        await response.write(_written((*cells, name) for name in wanted.articles[one.source]))
    await response.write_eof()
    return response


def _cells(one: PictureInArticle) -> tuple[str, ...]:
    if one.failure is None:
        return (one.source, "", "", "", "")
    error = one.failure.error
    return (one.source, error.code, error.message, as_machine_time(one.failure.at), str(one.failure.count))


async def _wanted(desk: DeskRequest) -> SourcesOfArticles:
    return shown_by(await desk.context.kept.articles.everything(), desk.text("q"))


async def _all(desk: DeskRequest, wanted: SourcesOfArticles) -> AsyncIterator[PictureInArticle]:
    context = desk.context
    after: str | None = ""
    while after is not None:
        sources = wanted.behind(after)
        found = await missing_of(sources, context.kept, context.originals, most=PAGE_SIZE)
        for one in found.pictures:
            yield one
        after = found.after


def _written(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _harmless(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: names of articles come from others."""
    return f"'{cell}" if cell.startswith(_RISKY) else cell
