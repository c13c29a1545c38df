"""Recovery: finds a copy of a source that was never kept and whose origin is dead. Event loop.

Knows when the article of a picture was written, and in which order to search. A copy passes stricter checks than an
original: a damaged or one-pixel picture is not kept, and the next copy is tried. Does not know how archives are asked
(`proxy.fetch.wayback`) or what is kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from cache.originals.articles import ArticleIndex
from proxy.config import FetchConfig
from proxy.errors import MirrorError, QueueFull, SourceRemoved
from proxy.fetch.fetcher import Fetcher
from proxy.fetch.wayback import Copy, Wayback, wrapper_copies, written_copy
from proxy.observe.metrics import Metrics
from proxy.services.troubles.negatives import is_dead
from proxy.source import Source

log = logging.getLogger(__name__)


class DeadSource(Protocol):
    """A request for a source that failed (`SourceOrder`)."""

    @property
    def source(self) -> Source:
        """The canonical source."""

    @property
    def written(self) -> tuple[Source, ...]:
        """The wrappers' addresses by which it was requested."""

    @property
    def date(self) -> float | None:
        """The date of its article in Unix seconds, None when unknown."""

    @property
    def patient(self) -> bool:
        """Whether no visitor waits for it."""


T = TypeVar("T")

FetchCopy = Callable[[Copy, Callable[[], None]], Awaitable[T]]
"""Fetches, judges and keeps a copy. Calls its second argument when the copy is downloaded completely."""


class Recovery:
    """Recovers dead sources as the configuration allows.

    1. Try captures of the Wayback Machine near the date of the article, best first.
    2. Try the wrappers by whose addresses the source was requested.
    3. Try caches of other wrappers, in the order of the configuration.

    A copy that fails is logged, and the next one is tried. For a visitor, `fetch.timeout` bounds the whole search;
    warming takes as long as it needs.
    """

    def __init__(
        self, fetcher: Fetcher, articles: ArticleIndex, metrics: Metrics, *, now: Callable[[], float]
    ) -> None:
        self._fetcher = fetcher
        self._articles = articles
        self._metrics = metrics
        self._now = now
        self._config = FetchConfig()
        self._wayback: Wayback | None = None

    def reconfigure(self, config: FetchConfig) -> None:
        """Use new settings for recoveries that begin from now on."""
        if config.wayback != self._config.wayback or config.types != self._config.types:
            self._wayback = Wayback(self._fetcher, config, now=self._now) if config.wayback else None
        self._config = config

    @property
    def enabled(self) -> bool:
        """Whether there are places to search besides the wrappers of the articles."""
        return bool(self._wayback or self._config.recover_wrappers)

    async def recover(self, dead: DeadSource, error: MirrorError, fetch: FetchCopy[T]) -> T | None:
        """Return a copy of a source that failed with `error`, after keeping it; None when there is none.

        Raises:
            SourceRemoved, QueueFull: raised by `fetch`; they end the search.
        """
        if not (self.enabled or dead.written) or not is_dead(error):
            return None
        try:
            async with asyncio.timeout(None if dead.patient else self._config.timeout) as limit:
                return await self._first_good(dead, fetch, limit)
        except TimeoutError:
            log.info("no copy of %s was found in time", dead.source)
            return None

    async def _first_good(self, dead: DeadSource, fetch: FetchCopy[T], limit: asyncio.Timeout) -> T | None:
        async with aclosing(self._copies(dead)) as copies:
            async for copy in copies:
                obtained = await self._fetched(copy, fetch, limit)
                if obtained is not None:
                    self._metrics.recovered.labels(copy.place).inc()
                    log.warning("recovered %s from %s", dead.source, copy.source)
                    return obtained
        return None

    async def _fetched(self, copy: Copy, fetch: FetchCopy[T], limit: asyncio.Timeout) -> T | None:
        end = limit.when()
        try:
            # Once a copy is downloaded, lift the limit while it is checked and kept. A visitor may already have it.
            return await fetch(copy, lambda: limit.reschedule(None))
        except (SourceRemoved, QueueFull):
            raise
        except MirrorError as error:
            log.info("the copy %s cannot be used: %s", copy.source, error.detail or error.code)
            if self._wayback and copy.place == "wayback":
                self._wayback.note(error)
            limit.reschedule(end)
            return None

    async def _copies(self, dead: DeadSource) -> AsyncGenerator[Copy, None]:
        if self._wayback and not self._wayback.busy:
            near = dead.date
            if near is None:
                near = await self._articles.date_of(dead.source.url)
            captures = self._wayback.copies(dead.source, near=near, patient=dead.patient)
            async with aclosing(captures) as found:
                async for copy in found:
                    yield copy
        for source in dead.written:
            yield written_copy(source)
        for copy in wrapper_copies(dead.source, self._config.recover_wrappers):
            yield copy
