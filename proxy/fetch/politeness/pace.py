"""Pace: the time between one request to an origin and the next, whatever their number at once. Event loop.

Knows origins as text. Old ones are forgotten, so what is idle leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

MAX_ORIGINS = 4096
MEMORY_SECONDS = 3600.0


class Pace:
    """When the last request to each origin began, or will. `clock` gives seconds that never go back."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._last: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def seconds_until(self, origin: str, interval_seconds: float) -> float:
        """Return how long a request to `origin` that comes now would wait."""
        last = self._last.get(origin)
        return 0.0 if last is None else max(last + interval_seconds - self._now(), 0.0)

    async def keep(self, origin: str, interval_seconds: float) -> None:
        """Take the next moment at `origin`, `interval_seconds` after the one before it, and wait for it."""
        now = self._now()
        moment = now + self.seconds_until(origin, interval_seconds)
        self._last[origin] = moment
        self._last.move_to_end(origin)
        self._forget_old(now)
        if moment > now:
            await self._sleep(moment - now)

    def _forget_old(self, now: float) -> None:
        oldest = next(iter(self._last.values()))
        if len(self._last) > MAX_ORIGINS or oldest < now - MEMORY_SECONDS:
            self._last.popitem(last=False)

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()
