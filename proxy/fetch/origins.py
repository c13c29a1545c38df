"""Politeness: how many requests one origin gets from this process at the same time. Event loop.

Knows origins as text only. What is idle is forgotten, so a thousand origins leave nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.errors import QueueFull

MAX_WAITING = 256
"""Fetches that may wait for one origin. An origin that stalls must not gather visitors without end."""


@dataclass(slots=True)
class _Slots:
    free: asyncio.Semaphore
    users: int = 0


class OriginTurns:
    """Turns at origins, first come, first served; at most `limit` at once for each."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """May be changed; holds for origins that are idle now."""
        self._slots: dict[str, _Slots] = {}

    @asynccontextmanager
    async def turn(self, origin: str, *, patient: bool = False) -> AsyncIterator[None]:
        """Wait for a turn at `origin` and hold it for the block.

        Raises:
            QueueFull: `MAX_WAITING` wait there already, and this one is not `patient`.
        """
        slots = self._slots.setdefault(origin, _Slots(asyncio.Semaphore(self.limit)))
        if not patient and slots.users >= self.limit + MAX_WAITING:
            raise QueueFull("Too many pictures of this origin are waiting; try again soon.")
        slots.users += 1
        try:
            async with slots.free:
                yield
        finally:
            slots.users -= 1
            if not slots.users and self._slots.get(origin) is slots:
                del self._slots[origin]

    def __len__(self) -> int:
        return len(self._slots)
