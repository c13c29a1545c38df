"""Keeping the catalogue up from the event loop: questions and comparisons in the store's threads."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Collection
from typing import TypeVar

from cache.across.seams import KeyExclusion
from cache.base.errors import CacheError
from cache.base.threads import StoreThreads
from cache.catalogue import lists, totals
from cache.catalogue.catalogue import BATCH_SECONDS, Catalogue
from cache.catalogue.database import QUESTION_SECONDS, NoCatalogueError, TooManyError

log = logging.getLogger(__name__)

TURN_SECONDS = 30.0
"""How often a service checks whether a process died, or whether a comparison is due."""

SETTLE_SECONDS = 4.0
"""How long a command waits for what services are writing."""

Progress = Callable[[int, int], None]
"""Called with the parts that are done, and the number of parts."""

R = TypeVar("R")


class CatalogueService:
    """The catalogue of a store for callers on the event loop."""

    def __init__(self, catalogue: Catalogue, threads: StoreThreads, locks: KeyExclusion) -> None:
        self.notes = catalogue
        self._catalogue = catalogue
        self._threads = threads
        self._locks = locks
        self._complained = ""

    async def ask(
        self, question: Callable[[sqlite3.Connection], R], *, seconds: float = QUESTION_SECONDS
    ) -> R:
        """Return the answer to a question: a function of `questions.py`, `lists.py` or `totals.py`.

        Raises:
            NoCatalogueError: there is none that can be read.
            TooManyError: the answer takes longer than `seconds`.
        """
        try:
            return await self._threads.read(self._catalogue.ask, question, seconds=seconds)
        except sqlite3.Error as error:
            raise NoCatalogueError(f"the catalogue cannot be read: {error}") from error

    async def is_whole(self) -> bool:
        """Return whether the catalogue knows everything except the changes being made now."""
        return await self._threads.read(self._catalogue.is_whole)

    async def is_settled(self) -> bool:
        """Return whether the catalogue knows everything, after a short wait for recent changes of other processes."""
        until = time.monotonic() + SETTLE_SECONDS
        await self.flush()
        while await self.is_whole():
            if not await self._threads.read(self._catalogue.has_news):
                return True
            if time.monotonic() > until:
                return False
            await asyncio.sleep(BATCH_SECONDS / 4)
        return False

    async def showing(self, sources: Collection[str]) -> list[str] | None:
        """Return the keys of the articles that show any of the sources; None if the catalogue does not know."""
        return await self._known(lambda connection: lists.showing(connection, sources))

    async def sources_of_origin(self, origin: str) -> list[str] | None:
        """Return the kept sources of an origin, sorted; None if the catalogue does not know."""
        return await self._known(lambda connection: totals.sources_of_origin(connection, origin))

    async def flush(self) -> None:
        """Write the changes of this process, if there is a catalogue."""
        try:
            await self._threads.read(self._catalogue.flush)
        except NoCatalogueError:
            return
        except (OSError, sqlite3.Error) as error:
            log.warning("the catalogue cannot be written: %s", error)

    async def catch_up(
        self, progress: Progress | None = None, *, again: bool = False, gently: bool = False
    ) -> int:
        """Create the catalogue if there is none, and compare it with the files; return how many files were read.

        again: compare even parts that were compared recently. gently: leave half of the time to others.

        Raises:
            OSError: a folder or a file of the store cannot be read.
            NoCatalogueError: it was deleted meanwhile.
            sqlite3.Error: the disk refused.
        """
        await self._threads.read(self._catalogue.create)
        steps = self._catalogue.compare(again=again)
        read = 0
        while True:
            begun = time.monotonic()
            step = await self._threads.read(next, steps, None)
            if step is None:
                return read
            count, done, total = step
            read += count
            if progress:
                progress(done, total)
            await asyncio.sleep(time.monotonic() - begun if gently else 0)

    async def keep_up(self) -> None:
        """Write the changes of this process until cancelled; in one process of a store, also compare with the files."""
        self.notes.start()
        while True:
            try:
                async with self._locks.held_if_free("catalogue") as mine:
                    if mine:
                        await self.catch_up(gently=True)
                        self._complained = ""
            except (CacheError, NoCatalogueError, OSError, sqlite3.Error) as error:
                if str(error) != self._complained:
                    log.warning("the catalogue cannot be kept up: %s", error)
                self._complained = str(error)
            await asyncio.sleep(TURN_SECONDS)

    async def _known(self, question: Callable[[sqlite3.Connection], R]) -> R | None:
        await self.flush()
        if not await self.is_whole():
            return None
        try:
            return await self.ask(question)
        except (NoCatalogueError, TooManyError):
            return None

    async def close(self) -> None:
        """Write the waiting changes, and close the catalogue."""
        await asyncio.to_thread(self._catalogue.close)
