"""Pace: keeps an interval between the beginnings of requests to an origin, even of concurrent ones. Event loop.

Knows origins as text. Idle origins are forgotten.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

MAX_ORIGINS = 4096
MEMORY_SECONDS = 3600.0


class Pace:
    """The times at which the last request to each origin began or will begin. `clock` is monotonic, in seconds."""

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
        """Return how many seconds a new request to `origin` would wait."""
        last = self._last.get(origin)
        return 0.0 if last is None else max(last + interval_seconds - self._now(), 0.0)

    async def keep(self, origin: str, interval_seconds: float) -> None:
        """Reserve the next moment for `origin`, `interval_seconds` after the previous one, and wait for it."""
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
