"""`/articles` and `/article`: which pictures the known articles show, and which of them are missing. Event loop."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cache.index.values import ArticleQuery, ArticleRow, ArticleSort
from proxy.errors import NotFound
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.paging import TEXT, PageQuery, catalogue_of, index_of, page
from proxy.web.api.resources.failures import FailureItem
from proxy.web.api.resources.pictures import PictureItem
from proxy.web.api.values import Moment, moment


class ArticlesQuery(PageQuery):
    """Which articles. text: a part of the name. missing: only those of which a picture is missing."""

    text: str = TEXT
    missing: bool = False
    sort: ArticleSort = "name"
    descending: bool = False


class ArticleNameQuery(Asked):
    """Names one article, as the list does."""

    name: str = Field(min_length=1, max_length=8192)


@dataclass(frozen=True, slots=True)
class ArticleItem:
    """An article. bytes_before: of the kept originals. bytes_after: of what a visitor gets instead, None until it was
    measured for every kept picture."""

    name: str
    path: str
    date: Moment | None
    pictures: int
    missing: int
    bytes_before: int
    bytes_after: int | None

    @classmethod
    def of(cls, row: ArticleRow) -> ArticleItem:
        """Return the answer for a row of the index."""
        return cls(
            row.name, row.path, moment(row.date), row.pictures, row.missing, row.bytes_before, row.bytes_after
        )


@dataclass(frozen=True, slots=True)
class ArticlesPage:
    """A page; `next`, `total` and `is_exact` as for pictures."""

    items: list[ArticleItem]
    next: str | None
    total: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class ArticleAnswer:
    """An article with the pictures that are kept, and those that are missing."""

    article: ArticleItem
    pictures: list[PictureItem]
    missing: list[FailureItem]


async def list_articles(call: Call[ArticlesQuery, Nothing]) -> ArticlesPage:
    """List the known articles."""
    asked = call.query
    query = ArticleQuery(
        text=asked.text,
        missing=asked.missing,
        sort=asked.sort,
        descending=asked.descending,
        limit=asked.limit,
        after=asked.after,
    )
    found = await page(index_of(call.context).articles(query))
    return ArticlesPage(list(map(ArticleItem.of, found.items)), found.after, found.total, found.is_exact)


async def show_article(call: Call[ArticleNameQuery, Nothing]) -> ArticleAnswer:
    """Show one article with its pictures."""
    found = await catalogue_of(call.context).article(call.query.name)
    if found is None:
        raise NotFound("No such article is known.")
    return ArticleAnswer(
        ArticleItem.of(found.row),
        list(map(PictureItem.of, found.pictures)),
        list(map(FailureItem.of, found.missing)),
    )
