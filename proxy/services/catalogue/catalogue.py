"""Answers questions about pictures, missing pictures and articles for the web and the commands. Event loop.

The lists come from the index (`cache.index`); what is shown of one picture comes from its entry, which is the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

from cache.base.entry import Entry
from cache.durable_tier import Originals
from cache.index.index import Index
from cache.index.values import (
    ArticleRow,
    FailureRow,
    PictureRow,
    Place,
)
from proxy.source import Source


@dataclass(frozen=True, slots=True)
class PictureDetails:
    """Everything known about one source.

    entry: None if nothing is kept; its `history` has the older versions. row, failure: from the index; None if it has
    none or cannot be asked. places: the articles that show it. same_bytes: other sources with the same current body.
    """

    source: str
    is_blocked: bool
    entry: Entry | None = None
    row: PictureRow | None = None
    failure: FailureRow | None = None
    places: tuple[Place, ...] = ()
    same_bytes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ArticlePictures:
    """An article with its pictures: those that are kept and those that are missing, in the order of their addresses."""

    row: ArticleRow
    pictures: tuple[PictureRow, ...] = ()
    missing: tuple[FailureRow, ...] = ()


class Catalogue:
    """Questions about a store. `index` answers the lists: `pictures`, `failures`, `articles`, `origins`, `summary`."""

    def __init__(self, kept: Originals, index: Index) -> None:
        self.index = index
        self._kept = kept

    async def details(self, source: Source) -> PictureDetails:
        """Return everything known about a source.

        Raises:
            StoreUnreadable: it cannot be determined whether the source is blocked.
        """
        raise NotImplementedError

    async def article(self, name: str) -> ArticlePictures | None:
        """Return an article by its recorded name with its pictures, or None if it is not known.

        Raises:
            IndexUnavailable: the index cannot be asked.
        """
        raise NotImplementedError
