"""`/articles`, `/article`, `/missing`: what articles show, and what of it is not kept. Asks no origin. Event loop."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote

from pydantic import Field

from proxy.errors import NotFound
from proxy.services.desk.article_pictures import (
    ArticleLook,
    PictureInArticle,
    articles_behind,
    look_at,
    missing_of,
    shown_by,
)
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.values import Moment, Trouble, moment

MAX_LIMIT = 100
"""The most items of a page. The entries of all pictures of an article are read."""


class PageQuery(Asked):
    """A page of a list. text: a part of the name or address. after: `next` of the page before."""

    text: str = Field(default="", max_length=1024)
    limit: int = Field(default=25, ge=1, le=MAX_LIMIT, description="The most items of the page.")
    after: str = Field(default="", max_length=65_536, description="`next` of the page before.")


class ArticleNameQuery(Asked):
    """Names one article, as the list does."""

    name: str = Field(min_length=1, max_length=8192)


@dataclass(frozen=True, slots=True)
class ArticleItem:
    """An article. bytes: of the kept originals together."""

    name: str
    path: str
    date: Moment | None
    pictures: int
    missing: int
    bytes: int

    @classmethod
    def of(cls, look: ArticleLook) -> ArticleItem:
        """Return the answer for an article."""
        article = look.article
        return cls(
            article.name, article.path, moment(article.date), len(look.pictures), len(look.missing),
            look.bytes,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArticlesPage:
    """A page. total: how many articles fit the text."""

    items: list[ArticleItem]
    next: str | None
    total: int


@dataclass(frozen=True, slots=True)
class KeptPictureItem:
    """A picture that is kept."""

    source: str
    media_type: str
    bytes: int
    damaged: bool


@dataclass(frozen=True, slots=True)
class MissingItem:
    """A picture that is not kept. failure: the last known one, None if there is none or it was forgotten. articles:
    those that show it."""

    source: str
    failure: Trouble | None
    last_tried: Moment | None
    tries: int
    articles: list[str]

    @classmethod
    def of(cls, one: PictureInArticle, articles: list[str]) -> MissingItem:
        """Return the answer for a picture."""
        if one.failure is None:
            return cls(one.source, None, None, 0, articles)
        found = one.failure
        return cls(one.source, Trouble.of(found.error), moment(found.at), found.count, articles)


@dataclass(frozen=True, slots=True)
class MissingPage:
    """A page in the order of the addresses. It may have fewer items than asked for and still have a `next`."""

    items: list[MissingItem]
    next: str | None


@dataclass(frozen=True, slots=True)
class ArticleAnswer:
    """An article with the pictures that are kept, and those that are missing."""

    article: ArticleItem
    pictures: list[KeptPictureItem]
    missing: list[MissingItem]


async def list_articles(call: Call[PageQuery, Nothing]) -> ArticlesPage:
    """List the known articles, sorted by name."""
    context, asked = call.context, call.query
    known = await context.kept.articles.everything()
    listed = articles_behind(known, asked.text, _behind(asked.after), most=asked.limit)
    looks = [await look_at(known[name], context.kept, context.originals) for name in listed.names]
    return ArticlesPage(list(map(ArticleItem.of, looks)), _cursor(listed.after), listed.total)


async def show_article(call: Call[ArticleNameQuery, Nothing]) -> ArticleAnswer:
    """Show one article with its pictures."""
    context = call.context
    found = await context.kept.articles.get(call.query.name)
    if found is None:
        raise NotFound("No such article is known.")
    look = await look_at(found, context.kept, context.originals)
    shown = [
        KeptPictureItem(entry.source, entry.media_type, entry.body_size, entry.damaged)
        for entry in (one.entry for one in look.kept)
        if entry is not None
    ]
    missing = [MissingItem.of(one, [found.name]) for one in look.missing]
    return ArticleAnswer(ArticleItem.of(look), shown, missing)


async def list_missing(call: Call[PageQuery, Nothing]) -> MissingPage:
    """List the pictures that articles show and that are not kept, sorted by address."""
    context, asked = call.context, call.query
    shown = shown_by(await context.kept.articles.everything(), asked.text)
    sources = shown.behind(_behind(asked.after))
    found = await missing_of(sources, context.kept, context.originals, most=asked.limit)
    items = [MissingItem.of(one, shown.articles[one.source]) for one in found.pictures]
    return MissingPage(items, _cursor(found.after))


def _cursor(after: str | None) -> str | None:
    """Return where the next page begins, in ASCII: names of files may hold bytes that no query can carry."""
    return None if after is None else quote(after, errors="surrogateescape")


def _behind(cursor: str) -> str:
    return unquote(cursor, errors="surrogateescape")
