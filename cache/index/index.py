"""The index: answers questions about everything that is kept without reading every file. Event loop, SQLite in threads.

It is derived from the files of the store and is never the truth: before something is deleted, its entry is read.
docs/decisions/0037-index.md explains how it keeps up with all processes and with `kill -9`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from cache.index.values import (
    ArticleQuery,
    ArticleRow,
    FailureQuery,
    FailureRow,
    FailureSeen,
    IndexState,
    Listing,
    OriginRow,
    PictureQuery,
    PictureRow,
    Place,
    Summary,
)


class IndexCursorInvalid(ValueError):
    """A cursor is not one of ours, or belongs to a list in another order."""


class Index:
    """The index of one store: `kept.index` of the opened store, `engine.kept.index` in a service.

    Every question raises `IndexUnavailable` if the index cannot be asked.
    """

    async def state(self) -> IndexState:
        """Return how far the index can be trusted. Never raises."""
        raise NotImplementedError

    async def caught_up(self) -> bool:
        """Write what this process has changed, and compare what may be behind with the store, whoever does it.

        Return whether the index is current now; False if it cannot be used.
        """
        raise NotImplementedError

    # Questions

    async def pictures(self, query: PictureQuery) -> Listing[PictureRow]:
        """Return a page of pictures.

        Raises:
            IndexCursorInvalid: `after` does not belong to this order.
        """
        raise NotImplementedError

    async def picture(self, source: str) -> PictureRow | None:
        """Return the row of a source, or None if it is neither kept nor blocked."""
        raise NotImplementedError

    async def failures(self, query: FailureQuery) -> Listing[FailureRow]:
        """Return a page of missing pictures. Raises as `pictures`."""
        raise NotImplementedError

    async def failure(self, source: str) -> FailureRow | None:
        """Return the row of a source that is missing or whose refresh failed, or None."""
        raise NotImplementedError

    async def articles(self, query: ArticleQuery) -> Listing[ArticleRow]:
        """Return a page of articles. Raises as `pictures`."""
        raise NotImplementedError

    async def article(self, name: str) -> ArticleRow | None:
        """Return the row of an article by its recorded name, or None."""
        raise NotImplementedError

    async def article_sources(self, name: str) -> list[tuple[str, Place]]:
        """Return the sources that an article shows, each with its place, sorted by source."""
        raise NotImplementedError

    async def places(self, source: str) -> list[Place]:
        """Return the articles that show a source, sorted by name."""
        raise NotImplementedError

    async def same_bytes(self, digest: str, *, limit: int = 50) -> list[PictureRow]:
        """Return the pictures whose current body has this digest."""
        raise NotImplementedError

    async def origins(self, *, limit: int = 1000) -> list[OriginRow]:
        """Return the origins, those with the most bytes first."""
        raise NotImplementedError

    async def summary(self) -> Summary:
        """Return the figures of the whole store."""
        raise NotImplementedError

    def sources_of_origin(self, origin: str) -> AsyncIterator[str]:
        """Yield the kept sources of an origin. The caller reads each entry before it deletes anything."""
        raise NotImplementedError

    # Reports, which never wait for the disk

    def note_failure(self, failure: FailureSeen) -> None:
        """Remember a failure. Costs an append to a list; it is written within a second."""
        raise NotImplementedError

    def note_weight(self, source: str, size_bytes: int) -> None:
        """Remember how many bytes a visitor gets for a source in the best format. Written as `note_failure`."""
        raise NotImplementedError

    # Decisions of the owner, durable on return

    async def give_up(self, source: str, *, note: str = "") -> None:
        """Note that a missing picture will not come back.

        Raises:
            StoreFull, StoreUnwritable: the disk refused.
        """
        raise NotImplementedError

    async def resume(self, sources: Iterable[str]) -> None:
        """Take back `give_up`. Raises as it does."""
        raise NotImplementedError
