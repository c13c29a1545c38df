"""The kept pictures: searched and sorted by known facts, each with a link to its own page. Event loop."""

from __future__ import annotations

from aiohttp import web

from cache.catalogue import questions
from cache.catalogue.questions import PicturePage, PictureRow
from proxy.services.desk.asking import asked
from proxy.services.desk.searching import (
    STATES,
    PictureSearch,
    next_pictures,
    picture_question,
)
from proxy.web.desk.listing import address_of, list_page, listed
from proxy.web.desk.pages import DeskRequest
from proxy.web.desk.showing import Showing

PICTURES = "/desk/pictures"
PAGE_SIZE = 50

SORTING_NAMES = {
    "age": "newest first",
    "size": "largest first",
    "use": "most used first",
    "address": "by address",
}
STATE_NAMES = {
    "damaged": "damaged",
    "recovered": "recovered or by hand",
    "versions": "with older versions",
    "set_aside": "with a version set aside",
    "failing": "origin fails",
    "blocked": "refused",
    "unreadable": "entry unreadable",
}
_FIELDS = ("origin", "article", "sha256", "since", "before", "state")
"""The fields of the form beside the text and the sorting."""


async def pictures(desk: DeskRequest) -> web.StreamResponse:
    """Answer one page of the list, with the fields of the form as they were sent."""
    search = _search(desk)
    found = await listed(desk, _found(desk, search))
    rows, total, further = found.answer or ((), None, None)
    showing = Showing(desk)
    values = _values(search)
    return list_page(
        desk,
        "pictures.html",
        found,
        title="Pictures",
        rows=[(row, showing.thumbnail(row)) for row in rows],
        total=total,
        search=search,
        sortings=SORTING_NAMES,
        states={state: STATE_NAMES[state] for state in STATES},
        has_filters=any(getattr(search, name) for name in _FIELDS),
        is_searched=any(values[name] for name in ("q", *_FIELDS)),
        is_first=not search.after,
        first_page=address_of(PICTURES, values),
        next_page=address_of(PICTURES, {**values, "after": further}) if further else "",
    )


def _search(desk: DeskRequest) -> PictureSearch:
    return PictureSearch(
        text=desk.text("q"),
        # A name may hold bytes that are not UTF-8.
        article=desk.asked.get("article", ""),
        after=desk.asked.get("after", ""),
        sort=desk.text("sort") or "age",
        **{name: desk.text(name) for name in _FIELDS if name != "article"},
    )


def _values(search: PictureSearch) -> dict[str, str]:
    fields = {name: str(getattr(search, name)) for name in _FIELDS}
    return {"q": search.text, **fields, "sort": "" if search.sort == "age" else search.sort}


async def _found(
    desk: DeskRequest, search: PictureSearch
) -> tuple[tuple[PictureRow, ...], int | None, str | None]:
    question = picture_question(search, most=PAGE_SIZE)
    page: PicturePage = await asked(
        desk.context.kept, lambda connection: questions.pictures(connection, question)
    )
    return page.rows, page.total, next_pictures(page, question)
