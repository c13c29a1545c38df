"""Slots: limits how many requests this process sends to one origin at the same time. Event loop.

Knows origins as text. Idle origins are forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.errors import QueueFull

MAX_WAITING = 256
"""How many fetches may wait for one origin, so that a stalled origin does not collect visitors without limit."""

MAX_QUEUE = 1024
"""How many fetches may wait in total, unless the configuration says otherwise."""


@dataclass(slots=True)
class _Slots:
    free: asyncio.Semaphore
    users: int = 0


class OriginTurns:
    """Turns at origins in the order of arrival, at most `limit` at once for each origin."""

    def __init__(self, limit: int, *, queue: int = MAX_QUEUE) -> None:
        self.limit = limit
        """The limit for each origin. A change applies to origins that are idle."""
        self.queue = queue
        """How many fetches may wait or run in total. May be changed."""
        self._slots: dict[str, _Slots] = {}
        self._users = 0

    @asynccontextmanager
    async def turn(self, origin: str, *, patient: bool = False) -> AsyncIterator[None]:
        """Wait for a turn at `origin` and hold it for the block.

        Raises:
            QueueFull: `MAX_WAITING` fetches already wait there, or `queue` in total, and this one is not `patient`.
        """
        if not patient and self._users >= self.queue:
            raise QueueFull
        slots = self._slots.setdefault(origin, _Slots(asyncio.Semaphore(self.limit)))
        if not patient and slots.users >= self.limit + MAX_WAITING:
            raise QueueFull("Too many pictures of this origin are waiting; try again soon.")
        slots.users += 1
        self._users += not patient
        try:
            async with slots.free:
                yield
        finally:
            slots.users -= 1
            self._users -= not patient
            if not slots.users and self._slots.get(origin) is slots:
                del self._slots[origin]

    def __len__(self) -> int:
        return len(self._slots)
