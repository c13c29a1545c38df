"""The articles: which pictures each of them shows, which are missing, and how much they weigh. Event loop."""

from __future__ import annotations

from aiohttp import web

from cache.catalogue import lists
from cache.catalogue.lists import ArticlePage
from proxy.errors import NotFound
from proxy.services.desk.article_look import look_at
from proxy.services.desk.asking import asked
from proxy.services.desk.searching import behind_articles, next_articles, part_of_name
from proxy.services.troubles.reasons import GROUPS, error_of, group_of
from proxy.web.desk.listing import address_of, list_page, listed
from proxy.web.desk.pages import DeskRequest
from proxy.web.desk.showing import Showing

ARTICLES = "/desk/articles"
PAGE_SIZE = 50


async def articles(desk: DeskRequest) -> web.StreamResponse:
    """Answer one page of the list, sorted by name."""
    found = await listed(desk, _found(desk))
    shown = found.answer or ArticlePage((), None, None)
    values = {"q": desk.text("q"), "missing": "1" if desk.text("missing") else ""}
    further = next_articles(shown)
    return list_page(
        desk,
        "articles.html",
        found,
        title="Articles",
        rows=shown.rows,
        total=shown.total,
        q=values["q"],
        only_missing=bool(values["missing"]),
        is_first=not desk.asked.get("after"),
        first_page=address_of(ARTICLES, values),
        next_page=address_of(ARTICLES, {**values, "after": further}) if further else "",
    )


async def article(desk: DeskRequest) -> web.StreamResponse:
    """Answer one article with its pictures, the missing ones first."""
    context = desk.context
    known = await context.kept.articles.get(desk.asked.get("name", ""))
    if known is None:
        raise NotFound(
            "No such article is known. `imgmirror warm` and `imgmirror rewrite` record the articles that they read."
        )
    found = await listed(desk, look_at(known, context.kept, context.variant_store, context.config))
    look = found.answer
    showing = Showing(desk)
    return list_page(
        desk,
        "article.html",
        found,
        title="Article",
        article=known,
        look=look,
        kept=[(row, showing.thumbnail(row)) for row in look.kept] if look else [],
        missing=[(row, GROUPS[group_of(row.reason)], error_of(row.reason)) for row in look.missing]
        if look
        else [],
        has_archive=bool(context.config.fetch.wayback),
    )


async def _found(desk: DeskRequest) -> ArticlePage:
    text = part_of_name(desk.text("q"), name="The search")
    after = behind_articles(desk.asked.get("after", ""))
    return await asked(
        desk.context.kept,
        lambda connection: lists.articles(
            connection, text=text, after=after, only_missing=bool(desk.text("missing")), most=PAGE_SIZE
        ),
    )
