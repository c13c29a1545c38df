"""Recovery: a source that was never kept and whose origin is dead, from where a copy may be. Runs on the event loop.

Knows which failures mean that a picture is dead, when its article was written, and in which order to look.
A copy is checked as an original is, and more strictly: what is damaged or a single pixel is not kept, the next
copy is tried. Refuses to know how archives are asked (`proxy.fetch.wayback`) and what is kept (`Intake`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from cache.originals.articles import ArticleIndex
from proxy.config import FetchConfig
from proxy.errors import MirrorError, NotAnImage, QueueFull, SourceError, SourceRemoved
from proxy.fetch.fetcher import Fetcher
from proxy.fetch.wayback import Copy, Wayback, wrapper_copies, written_copy
from proxy.observe.metrics import Metrics
from proxy.services.intake import Errand, Intake
from proxy.services.outcome import Obtained

log = logging.getLogger(__name__)

DEAD = frozenset(
    {"dns", "connect", "tls", "unreachable", "timeout", "refused", "not_found", "gone", "unusable"}
)
"""Kinds of failure after which a copy is looked for. Not: busy, out of order (5xx), too large."""


class Recovery:
    """Recover dead sources, as the configuration allows.

    1. Captures of the Wayback Machine near the day of the article, best first.
    2. The wrappers by whose addresses it was asked for.
    3. Caches of other wrappers, in the order of the configuration.

    For a visitor all of it takes as long as a fetch may take; warming takes the time it needs.
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
        """Take new settings for the recoveries that begin from now on."""
        if config.wayback != self._config.wayback or config.types != self._config.types:
            self._wayback = Wayback(self._fetcher, config, now=self._now) if config.wayback else None
        self._config = config

    @property
    def enabled(self) -> bool:
        """Whether there is anywhere to look besides the wrappers of the articles."""
        return bool(self._wayback or self._config.recover_wrappers)

    async def recover(self, errand: Errand, error: MirrorError, intake: Intake) -> Obtained | None:
        """Return a copy of a source that failed with `error`, kept; None when there is none."""
        if not (self.enabled or errand.written) or not is_dead(error):
            return None
        try:
            async with asyncio.timeout(None if errand.patient else self._config.timeout) as limit:
                return await self._first_good(errand, intake, limit)
        except TimeoutError:
            log.info("no copy of %s was found in time", errand.source)
            return None

    async def _first_good(self, errand: Errand, intake: Intake, limit: asyncio.Timeout) -> Obtained | None:
        async with aclosing(self._copies(errand)) as copies:
            async for copy in copies:
                obtained = await self._fetched(errand, copy, intake, limit)
                if obtained is not None:
                    self._metrics.recovered.labels(copy.place).inc()
                    log.warning("recovered %s from %s", errand.source, copy.source)
                    return obtained
        return None

    async def _fetched(
        self, errand: Errand, copy: Copy, intake: Intake, limit: asyncio.Timeout
    ) -> Obtained | None:
        end = limit.when()
        try:
            # What is here is checked and kept to the end: somebody may have been answered with it already.
            return await intake.fetch_copy(errand, copy, downloaded=lambda: limit.reschedule(None))
        except (SourceRemoved, QueueFull):
            raise
        except MirrorError as error:
            log.info("%s is no good copy: %s", copy.source, error.detail or error.code)
            if self._wayback and copy.place == "wayback":
                self._wayback.note(error)
            limit.reschedule(end)
            return None

    async def _copies(self, errand: Errand) -> AsyncGenerator[Copy, None]:
        if self._wayback and not self._wayback.busy:
            near = errand.date
            if near is None:
                near = await self._articles.date_of(errand.source.url)
            captures = self._wayback.copies(errand.source, near=near, patient=errand.patient)
            async with aclosing(captures) as found:
                async for copy in found:
                    yield copy
        for source in errand.written:
            yield written_copy(source)
        for copy in wrapper_copies(errand.source, self._config.recover_wrappers):
            yield copy


def is_dead(error: MirrorError) -> bool:
    """Tell whether a failure means that the origin does not have the picture any more."""
    if isinstance(error, NotAnImage):
        return True
    return isinstance(error, SourceError) and error.failure in DEAD
