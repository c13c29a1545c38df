"""Warming: every picture of a set of articles, once, before the first visitor comes. Runs on the event loop.

Answers what became of each picture, in the order in which they are done. Refuses to know how a picture is
warmed (a `Warmer` does: in this process, or a running service by HTTP), and what is printed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from proxy.errors import MirrorError, SourceError
from proxy.images.transforms.resolved import Resolved
from proxy.services.warm.turns import Turns
from proxy.source import Source

NOT_KEPT = "not_kept"
"""The code of an original that came and that the store did not take."""

NOT_ABOUT_THE_PICTURE = frozenset({NOT_KEPT, "internal", "queue_full", "rate_limited", "unauthorized"})
"""Codes that say nothing about the origin: the picture may live, it only could not be kept now."""

REFUSALS = frozenset({"signature_missing", "signature_mismatch", "signature_expired", "source_not_allowed"})
"""Codes with which we refuse visitors an address that the articles have: to them the picture is dead."""

Fate = Literal["gone", "refused", "not_now"]
"""What a failure says about a picture: its origin says that it has none, or refuses it; or nothing yet."""

_GONE = frozenset({"source_not_found"})
_NOT_NOW = frozenset({"source_unreachable", "source_timeout", "source_failed", "render_timeout"})
_TOO_MANY_REQUESTS = 429

MAX_WAIT_SECONDS = 120.0
"""How long the last round waits for what origins ask (`Retry-After`)."""

MAX_TIMEOUTS = 10
"""Timeouts in a row after which an origin is not asked any more in this run: a silent host with a thousand
pictures would take hours."""


Pause = Callable[[float], Awaitable[object]]
"""Waits for so many seconds."""


@dataclass(frozen=True, slots=True)
class PictureToWarm:
    """A picture to warm: the options it is shown with, as our addresses name them, and where it stands.

    date: when the first of its articles was written, unix seconds; None when none of them says so.
    own: our addresses of it as the articles have them, from behind the base URL on.
    written: the wrappers' own addresses of it, as the articles have them.
    """

    source: Source
    options: tuple[str, ...]
    articles: tuple[str, ...]
    date: float | None = None
    own: tuple[str, ...] = ()
    written: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Browser:
    """A kind of browser: what it sends, and the output formats that are acceptable to it, best first."""

    accept: str
    acceptable: tuple[str, ...]

    @property
    def name(self) -> str:
        """The format it likes best: `avif`, `webp`, `fallback`, or the one format that was asked for."""
        return self.acceptable[0]


@dataclass(frozen=True, slots=True)
class VariantToWarm:
    """One variant to make: options of a picture, as one kind of browser gets them."""

    options: str
    resolved: Resolved
    browser: Browser


@dataclass(frozen=True, slots=True)
class WarmFailure:
    """Why something is not there; `code` of the contract, or `not_kept`.

    origin_status: what the origin answered, 0 when it did not. wait_seconds: how long it wants to be left alone.
    """

    code: str
    message: str
    origin_status: int = 0
    wait_seconds: float = 0.0

    @classmethod
    def of(cls, error: MirrorError) -> WarmFailure:
        """Return an error as a value."""
        if not isinstance(error, SourceError):
            return cls(error.code, error.message)
        return cls(error.code, error.message, error.origin_status, error.retry_after_seconds or 0.0)

    @property
    def fate(self) -> Fate:
        """What is known of the picture by this."""
        if self.code in _NOT_NOW or self.origin_status == _TOO_MANY_REQUESTS:
            return "not_now"
        return "gone" if self.code in _GONE else "refused"


@dataclass(frozen=True, slots=True)
class WarmedVariant:
    """A variant that is ready, or the failure that stands in its place.

    `redirected`: visitors get the original instead, as the preset's `on_error` says.
    """

    options: str
    browser: str
    output_format: str = ""
    size_bytes: int = 0
    failure: WarmFailure | None = None
    redirected: bool = False


@dataclass(frozen=True, slots=True)
class KeptOriginal:
    """An original that is safe on disk.

    stale: the code of a refresh that failed, else empty. recovered: the address of the copy it was recovered
    from, else empty.
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
    """What became of a picture: kept, or a failure. Both when an older original is kept and a new one was not.

    refused: visitors are refused at an address that the articles have, and the failure says why; kept or not.
    """

    work: PictureToWarm
    kept: KeptOriginal | None = None
    failure: WarmFailure | None = None
    made: tuple[WarmedVariant, ...] = field(default=())
    refused: bool = False

    def refused_with(self, error: WarmFailure, address: str) -> WarmOutcome:
        """Return this outcome for a picture whose `address` in the articles is answered with `error`."""
        failure = WarmFailure(error.code, f"{error.message} Visitors get this at {address}")
        return replace(self, failure=failure, refused=True)

    @property
    def dead(self) -> bool:
        """Whether visitors do not get it: its origin does not give it, or we refuse it as the articles ask for it."""
        return self.refused or (self.kept is None and self.failure is not None and not self.not_kept)

    @property
    def not_now(self) -> bool:
        """Whether the origin may give the picture another time."""
        return self.dead and self.failure is not None and self.failure.fate == "not_now"

    @property
    def wait_seconds(self) -> float:
        """How long its origin wants to be left alone."""
        return self.failure.wait_seconds if self.failure else 0.0

    @property
    def not_kept(self) -> bool:
        """Whether the picture is not dead, but could not be kept."""
        if self.refused or self.kept is not None or self.failure is None:
            return False
        return self.failure.code in NOT_ABOUT_THE_PICTURE


async def pause_until(stopping: asyncio.Event, pause: Awaitable[object]) -> None:
    """Wait for `pause`, or for the end if that comes first."""
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
        """Return what became of it; never raises because of an origin. Without `ask`, its origin is left alone."""

    def wants_pauses(self, origin: str) -> bool:
        """Tell whether `origin` is known to want pauses between requests."""

    def stop(self) -> None:
        """Finish what is under way without waiting for better times."""


class Warming:
    """Warm many pictures.

    1. Origins take turns; each has at most `per_origin` pictures under way, so that none holds up the others.
    2. An origin that timed out, or that wants pauses between requests (robots.txt), gets one at a time and half
       of the places at most; after ten timeouts in a row it is not asked any more.
    3. What an origin did not give for the moment is asked for again in a last round, after what it wants to be left
       alone for, two minutes at most.
    4. Outcomes come as they are done. After `stop` nothing new begins, and what is under way is finished.
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
        """Warm `works`, yield what became of each."""
        later: dict[PictureToWarm, WarmOutcome] = {}
        async with aclosing(self._round(works)) as first:
            async for outcome in first:
                if outcome.not_now:
                    later[outcome.work] = outcome
                else:
                    yield outcome
        # An origin that kept silent through the first round would keep silent through the last one.
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
