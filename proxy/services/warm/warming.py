"""Warms every picture of a set of articles once, before the first visitor comes. Event loop.

Yields the outcome of each picture in the order of completion. A `Warmer` warms a single picture, either in this
process or by HTTP in a running service. Printing is left to the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Protocol

from proxy.errors import MirrorError, SourceError
from proxy.images.transforms.resolved import Resolved
from proxy.services.troubles.reasons import ReasonGroup, group_of_failure
from proxy.services.warm.fates import FATES, Fate, fate_of
from proxy.services.warm.previews import Preview
from proxy.services.warm.turns import Turns
from proxy.source import Source

NOT_KEPT = "not_kept"
"""The code of an original that was fetched but that the store did not accept."""

NOT_ABOUT_THE_PICTURE = frozenset({NOT_KEPT, "internal", "queue_full", "rate_limited", "unauthorized"})
"""Codes that say nothing about the origin: the picture may exist, but it could not be kept now."""

REFUSALS = frozenset({"signature_missing", "signature_mismatch", "signature_expired", "source_not_allowed"})
"""Codes with which we refuse visitors an address used in the articles. For them the picture is dead."""

MAX_WAIT_SECONDS = 120.0
"""The longest `Retry-After` that the last round waits for."""

MAX_TIMEOUTS = 10
"""Timeouts in a row after which a run no longer asks an origin. A silent host with a thousand pictures would take
hours."""


Pause = Callable[[float], Awaitable[object]]
"""Waits for the given number of seconds."""


@dataclass(frozen=True, slots=True)
class PictureToWarm:
    """A picture to warm, the options of its addresses, and the articles that show it.

    date: the earliest date of its articles, unix seconds; None when no article has one.
    own: our addresses of it as written in the articles, without the base URL.
    written: the wrappers' addresses of it as written in the articles.
    """

    source: Source
    options: tuple[str, ...]
    articles: tuple[str, ...]
    date: float | None = None
    own: tuple[str, ...] = ()
    written: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Browser:
    """A kind of browser: the header that it sends, and the output formats that it accepts, best first."""

    accept: str
    acceptable: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its preferred format: `avif`, `webp`, `fallback`, or the one format that was requested."""
        return self.acceptable[0]


@dataclass(frozen=True, slots=True)
class VariantToWarm:
    """One variant to make: options of a picture, for one kind of browser."""

    options: str
    resolved: Resolved
    browser: Browser


@dataclass(frozen=True, slots=True)
class WarmFailure:
    """A failure; `code` is an error code of docs/api.md or `not_kept`.

    origin_status: the origin's status, 0 without an answer. wait_seconds: how long the origin asks us to wait.
    """

    code: str
    message: str
    origin_status: int = 0
    wait_seconds: float = 0.0

    @classmethod
    def of(cls, error: MirrorError) -> WarmFailure:
        """Convert an error to a failure."""
        if not isinstance(error, SourceError):
            return cls(error.code, error.message)
        return cls(error.code, error.message, error.origin_status, error.retry_after_seconds or 0.0)

    @property
    def fate(self) -> Fate:
        """What the failure says about the picture, for programs."""
        return fate_of(self.code, self.origin_status)

    @property
    def group(self) -> ReasonGroup:
        """What the failure says about the picture, for people."""
        return group_of_failure(self.code, self.origin_status)


@dataclass(frozen=True, slots=True)
class WarmedVariant:
    """A variant that is ready, or the failure to make it.

    `redirected`: visitors are redirected to the original instead, because of the preset's `on_error`.
    """

    options: str
    browser: str
    output_format: str = ""
    size_bytes: int = 0
    failure: WarmFailure | None = None
    redirected: bool = False


@dataclass(frozen=True, slots=True)
class KeptOriginal:
    """An original that is durably on disk.

    stale: the code of a failed refresh, else empty. recovered: the address of the copy that it was recovered from,
    else empty.
    """

    sha256: str
    size_bytes: int
    media_type: str
    new: bool
    damaged: bool = False
    stale: str = ""
    recovered: str = ""


@dataclass(frozen=True, slots=True)
class WarmOutcome:
    """The outcome for a picture: kept, or a failure. Both when an older original is kept and the refresh failed.

    refused: we refuse visitors an address used in the articles, and the failure says why. Independent of `kept`.
    preview: a small copy of a kept picture for people, where one was made anyway.
    """

    work: PictureToWarm
    kept: KeptOriginal | None = None
    failure: WarmFailure | None = None
    made: tuple[WarmedVariant, ...] = field(default=())
    refused: bool = False
    preview: Preview | None = None

    def refused_with(self, error: WarmFailure, address: str) -> WarmOutcome:
        """Return this outcome, changed for a picture whose `address` in the articles is answered with `error`."""
        failure = WarmFailure(error.code, f"{error.message} Visitors get this at {address}")
        return replace(self, failure=failure, refused=True)

    @property
    def dead(self) -> bool:
        """Whether visitors do not get the picture: its origin does not give it, or we refuse the articles' address."""
        return self.refused or (self.kept is None and self.failure is not None and not self.not_kept)

    @property
    def not_now(self) -> bool:
        """Whether the origin may give the picture later."""
        return self.dead and self.failure is not None and FATES[self.failure.fate].is_passing

    @property
    def wait_seconds(self) -> float:
        """How long its origin asks us to wait."""
        return self.failure.wait_seconds if self.failure else 0.0

    @property
    def not_kept(self) -> bool:
        """Whether the picture exists or may exist, but could not be kept."""
        if self.refused or self.kept is not None or self.failure is None:
            return False
        return self.failure.code in NOT_ABOUT_THE_PICTURE


async def pause_until(stopping: asyncio.Event, pause: Awaitable[object]) -> None:
    """Wait for `pause` or for `stopping`, whichever comes first."""
    waits = (asyncio.ensure_future(pause), asyncio.ensure_future(stopping.wait()))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class Warmer(Protocol):
    """Warms one picture."""

    async def warm(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        """Warm a picture and return the outcome. Origins never cause an exception. Without `ask`, none is asked."""

    def wants_pauses(self, origin: str) -> bool:
        """Return whether `origin` is known to want pauses between requests."""

    def stop(self) -> None:
        """Finish the current pictures without waiting for retries."""


class Warming:
    """Warms many pictures.

    1. Origins take turns; each has at most `per_origin` pictures in progress, so that none delays the others.
    2. An origin that timed out, or that wants pauses between requests (robots.txt), gets one at a time and half
       of the places at most; after ten timeouts in a row it is not asked any more.
    3. A last round asks again for pictures with a temporary failure. It waits as long as the origins want, two
       minutes at most.
    4. Outcomes are yielded on completion. After `stop` nothing new begins, and pictures in progress are finished.
    """

    def __init__(
        self, warmer: Warmer, *, per_origin: int, concurrency: int, pause: Pause = asyncio.sleep
    ) -> None:
        self._warmer = warmer
        self._concurrency = concurrency
        self._pause = pause
        self._turns: Turns[PictureToWarm] = Turns(per_origin=per_origin, places=concurrency)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing new."""
        self._stopping.set()
        self._warmer.stop()

    async def outcomes(self, works: Iterable[PictureToWarm]) -> AsyncIterator[WarmOutcome]:
        """Warm `works` and yield the outcome of each."""
        later: dict[PictureToWarm, WarmOutcome] = {}
        async with aclosing(self._round(works)) as first:
            async for outcome in first:
                if outcome.not_now:
                    later[outcome.work] = outcome
                else:
                    yield outcome
        # An origin that timed out all through the first round would time out in the last one too.
        again = [work for work in later if self._answers(work)]
        if again:
            seconds = max(later[work].wait_seconds for work in again)
            await pause_until(self._stopping, self._pause(min(seconds, MAX_WAIT_SECONDS)))
        async with aclosing(self._round(again)) as last:
            async for outcome in last:
                del later[outcome.work]
                yield outcome
        for outcome in later.values():
            yield outcome

    def _answers(self, work: PictureToWarm) -> bool:
        return self._turns.timeouts(work.source.origin) < MAX_TIMEOUTS

    async def _round(self, works: Iterable[PictureToWarm]) -> AsyncGenerator[WarmOutcome, None]:
        for work in works:
            self._turns.add(work.source.origin, work)
        running: set[asyncio.Task[WarmOutcome]] = set()
        try:
            while self._begin(running) or running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield self._ended(task.result())
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _begin(self, running: set[asyncio.Task[WarmOutcome]]) -> bool:
        begun = False
        while len(running) < self._concurrency and not self._stopping.is_set():
            work = self._turns.take()
            if work is None:
                break
            running.add(asyncio.create_task(self._warmer.warm(work, ask=self._answers(work))))
            begun = True
        return begun

    def _ended(self, outcome: WarmOutcome) -> WarmOutcome:
        failure = outcome.failure.code if outcome.failure else ""
        stale = outcome.kept.stale if outcome.kept else ""
        origin = outcome.work.source.origin
        timed_out = "source_timeout" in (failure, stale)
        self._turns.end(origin, timed_out=timed_out, paced=self._warmer.wants_pauses(origin))
        return outcome
