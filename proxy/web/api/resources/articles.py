"""`/articles`, `/article`: the pictures that articles show, and those of them that are missing. Asks no origin. Event
loop."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from cache.catalogue import lists
from cache.catalogue.lists import ArticleRow
from proxy.errors import NotFound
from proxy.services.desk.article_look import ArticleLook, look_at
from proxy.services.desk.asking import asked
from proxy.services.desk.searching import behind_articles, next_articles, part_of_name
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.resources.missing import MissingItem
from proxy.web.api.resources.pages import PageQuery
from proxy.web.api.resources.pictures import PictureItem
from proxy.web.api.values import Moment, moment


class ArticlesQuery(PageQuery):
    """The articles to list."""

    only_missing: bool = Field(default=False, description="Only articles with missing pictures.")


class ArticleNameQuery(Asked):
    """Names one article, as the list does."""

    name: str = Field(min_length=1, max_length=8192)


@dataclass(frozen=True, slots=True)
class ArticleItem:
    """An article. bytes: the sum of its kept originals."""

    name: str
    path: str
    date: Moment | None
    pictures: int
    missing: int
    bytes: int

    @classmethod
    def of(cls, row: ArticleRow) -> ArticleItem:
        """Return the answer for an article."""
        return cls(row.name, row.path, moment(row.date), row.pictures, row.missing, row.bytes)


@dataclass(frozen=True, slots=True)
class ArticlesPage:
    """A page. total: how many articles fit the text. complete: false while the catalogue is being made."""

    items: list[ArticleItem]
    next: str | None
    total: int | None
    complete: bool


@dataclass(frozen=True, slots=True)
class WeightAnswer:
    """The weight of the kept pictures of an article. The weight of a picture is that of its heaviest stored address
    among those that `rewrite` writes, in the lightest format stored for it; an SVG weighs as much as its original.

    original_bytes: of all originals. rendered: how many pictures have a weight; rendered_bytes: these weights;
    rendered_original_bytes: the originals of these. not_rendered: how many have none yet.
    """

    original_bytes: int
    rendered: int
    rendered_bytes: int
    rendered_original_bytes: int
    not_rendered: int


@dataclass(frozen=True, slots=True)
class ArticleAnswer:
    """An article with the pictures that are kept, and those that are missing: the first 500 of each, by address; with
    `more` there are further ones, which `/pictures` and `/missing` list by article. weight: of the kept ones listed.
    complete: false while the catalogue is being made."""

    article: ArticleItem
    pictures: list[PictureItem]
    missing: list[MissingItem]
    weight: WeightAnswer
    more: bool
    complete: bool

    @classmethod
    def of(cls, look: ArticleLook) -> ArticleAnswer:
        """Return the answer for an article."""
        article, weight = look.article, look.weight
        return cls(
            ArticleItem(
                article.name,
                article.path,
                moment(article.date),
                len(article.sources),
                look.missing_count,
                weight.original_bytes,
            ),
            list(map(PictureItem.of, look.kept)),
            list(map(MissingItem.of, look.missing)),
            WeightAnswer(
                weight.original_bytes,
                weight.rendered,
                weight.rendered_bytes,
                weight.rendered_original_bytes,
                weight.not_rendered,
            ),
            look.has_more_kept or look.has_more_missing,
            look.is_whole,
        )


async def list_articles(call: Call[ArticlesQuery, Nothing]) -> ArticlesPage:
    """List the known articles, sorted by name."""
    kept, query = call.context.kept, call.query
    text, after = part_of_name(query.text, name="text"), behind_articles(query.after)
    page = await asked(
        kept,
        lambda connection: lists.articles(
            connection, text=text, after=after, only_missing=query.only_missing, most=query.limit
        ),
    )
    items = list(map(ArticleItem.of, page.rows))
    return ArticlesPage(items, next_articles(page), page.total, await kept.catalogue.is_whole())


async def show_article(call: Call[ArticleNameQuery, Nothing]) -> ArticleAnswer:
    """Show one article with its pictures."""
    context = call.context
    found = await context.kept.articles.get(call.query.name)
    if found is None:
        raise NotFound("No such article is known.")
    return ArticleAnswer.of(await look_at(found, context.kept, context.variant_store, context.config))
