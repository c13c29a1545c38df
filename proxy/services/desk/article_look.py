"""One article: its kept pictures, its missing ones, and their weight. Event loop."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from cache.catalogue import lists, questions
from cache.catalogue.lists import MissingRow
from cache.catalogue.questions import PictureQuestion, PictureRow
from cache.durable_tier import Originals
from cache.originals.articles import KeptArticle
from cache.variants.bounded_tier import Variants
from proxy.config import Config
from proxy.services.desk.asking import asked
from proxy.services.desk.weights import ArticleWeight, weigh

MOST = 500
"""The most kept pictures, and the most missing ones, of one article that are shown at once."""


@dataclass(frozen=True, slots=True)
class ArticleLook:
    """An article with its pictures, each list in the order of the addresses.

    kept, missing: the first `MOST`. has_more_kept, has_more_missing: whether there are more. weight: of `kept`.
    is_whole: False while the catalogue is being made.
    """

    article: KeptArticle
    kept: tuple[PictureRow, ...]
    missing: tuple[MissingRow, ...]
    has_more_kept: bool
    has_more_missing: bool
    missing_count: int
    weight: ArticleWeight
    is_whole: bool


async def look_at(article: KeptArticle, kept: Originals, variants: Variants, config: Config) -> ArticleLook:
    """Return the facts known about an article and its pictures.

    Raises:
        CatalogueNotReady, TooBroad: the catalogue does not answer.
    """
    question = PictureQuestion(article=article.name, sorting="address", most=MOST)

    def both(connection: sqlite3.Connection) -> tuple[questions.PicturePage, lists.MissingRows, int]:
        return (
            questions.pictures(connection, question),
            lists.missing(connection, article=article.name, most=MOST),
            lists.missing_in(connection, article.name),
        )

    found, missing, count = await asked(kept, both)
    return ArticleLook(
        article,
        found.rows,
        missing.rows,
        found.after is not None,
        missing.after is not None,
        count,
        await weigh(variants, found.rows, config),
        await kept.catalogue.is_whole(),
    )
