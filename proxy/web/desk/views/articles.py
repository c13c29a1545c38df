"""The articles: which pictures each of them shows, which are missing, and how much they weigh. Event loop."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from proxy.errors import NotFound
from proxy.services.desk.article_pictures import articles_behind, look_at
from proxy.web.desk.pages import DeskRequest, page
from proxy.web.desk.showing import Showing

ARTICLES = "/desk/articles"
PAGE_SIZE = 25
"""Articles of one page. The entries of all their pictures are read."""


async def articles(desk: DeskRequest) -> web.StreamResponse:
    """Answer one page of the list, sorted by name. A page begins behind the name in `after`."""
    context = desk.context
    known = await context.kept.articles.everything()
    listed = articles_behind(known, desk.text("q"), desk.asked.get("after", ""), most=PAGE_SIZE)
    looks = [await look_at(known[name], context.kept, context.originals) for name in listed.names]
    further = {"q": desk.text("q"), "after": listed.after} if listed.after is not None else {}
    return page(
        desk,
        "articles.html",
        title="Articles",
        looks=looks,
        total=listed.total,
        q=desk.text("q"),
        next_page=f"{ARTICLES}?{urlencode(further, errors='surrogateescape')}" if further else "",
    )


async def article(desk: DeskRequest) -> web.StreamResponse:
    """Answer one article with its pictures, the missing ones first."""
    context = desk.context
    found = await context.kept.articles.get(desk.asked.get("name", ""))
    if found is None:
        raise NotFound(
            "No such article is known. `imgmirror warm` and `imgmirror rewrite` make articles known."
        )
    look = await look_at(found, context.kept, context.originals)
    showing = Showing(desk)
    return page(
        desk,
        "article.html",
        title="Article",
        look=look,
        kept=[(picture, showing.small(picture.source)) for picture in look.kept],
        has_archive=bool(context.config.fetch.wayback),
    )
