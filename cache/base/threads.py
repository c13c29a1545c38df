"""The store's own threads: a bounded executor that nothing else uses.

The loop's default executor also resolves names; a dozen slow dead names made a small file read take seconds.
Work that waits for the disk (fsync) is let in four at a time, so that reads always find a free thread. A disk that does
not answer holds these places for ever: then nobody waits for one for long.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from cache.base.errors import StoreHangs
from cache.base.threadpool import ThreadPool, first_done

READERS = 4
WRITERS = 4

HUNG_SECONDS = 10.0
"""How long a call may wait for the disk before the disk is said to hang."""

LOOK_SECONDS = 0.5
"""How long a call waits for a place when all are held by calls that hang, and how often it looks."""

P = ParamSpec("P")
R = TypeVar("R")


class _Places:
    """Places that are taken in two queues, the urgent one first; each in the order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a free place; return whether there was one."""
        if not self._free:
            return False
        self._free -= 1
        return True

    def queue(self, *, urgent: bool) -> asyncio.Future[None]:
        """Return what is done when it has a place."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others).append(place)
        return place

    def leave(self, place: asyncio.Future[None]) -> None:
        """Give a place of `queue` back, or stop waiting for it."""
        if place.done() and not place.cancelled():
            self.free()
        else:
            place.cancel()

    def free(self) -> None:
        """Give a place to the next that still waits for one."""
        for waiting in (self._urgent, self._others):
            while waiting:
                place = waiting.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1


class StoreThreads:
    """Run blocking calls beside the event loop."""

    def __init__(self, name: str) -> None:
        self.executor = ThreadPool(READERS + WRITERS, name)
        self._places = _Places(WRITERS)
        self._begun: dict[int, float] = {}
        self._number = 0
        self._later: set[asyncio.Task[Any]] = set()

    @property
    def hangs(self) -> bool:
        """Whether a call has waited for the disk for longer than a disk takes."""
        return any(self._are_late())

    async def read(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that does not wait for the disk to write."""
        return await self.executor.run(lambda: call(*args, **kwargs))

    async def write(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that changes files, to its end: also when the caller is cancelled meanwhile.

        The caller holds locks around it; a thread cannot be stopped, so letting go early would break them.

        Raises:
            StoreHangs: all places are held by calls that hang.
        """
        # Others wait for the locks that the caller holds, so it goes before work that holds none.
        await self._take_place(urgent=True)
        running = self._begin(lambda: call(*args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await _ended(running)
            raise

    async def try_write(
        self, call: Callable[[], R], *, late: Callable[[R], object] = lambda _result: None
    ) -> R:
        """Run a call on a file of the caller alone, and stop waiting for it when the disk hangs.

        `late` is given what the call returns when nobody waits for it any more; it runs in a thread.

        Raises:
            StoreHangs: it did not end in time, and may end later; or there is no place for it.
        """
        await self._take_place(urgent=False)
        running = self._begin(call)
        try:
            is_done = await first_done(running, seconds=HUNG_SECONDS)
        except asyncio.CancelledError:
            await _ended(running)
            await self._undone(running, late)
            raise
        if not is_done:
            self.keep(asyncio.create_task(self._undone(running, late)))
            raise StoreHangs
        return running.result()

    async def unless_hung(self, work: asyncio.Task[R]) -> R:
        """Wait for work that ends in `write`; it goes on by itself, with its locks, when the disk hangs.

        Raises:
            StoreHangs: it did not end in time, and may end later.
        """
        try:
            while not await first_done(work, seconds=HUNG_SECONDS):
                if self.hangs:
                    self.keep(work)
                    raise StoreHangs
        except asyncio.CancelledError:
            work.cancel()
            await _ended(work)
            raise
        return work.result()

    async def write_later(self, call: Callable[[], object]) -> None:
        """Run a call on files of the caller alone; where the disk hangs, it ends when the disk does not any more."""
        try:
            await self._take_place(urgent=False)
        except StoreHangs:
            self.keep(asyncio.create_task(self._write_at_last(call)))
            return
        running = self._begin(call)
        try:
            await first_done(running, seconds=HUNG_SECONDS)
        except asyncio.CancelledError:
            await _ended(running)
            raise
        if running.done():
            running.result()
        else:
            running.add_done_callback(_looked_at)

    def keep(self, task: asyncio.Task[R]) -> None:
        """Let a task that nobody waits for go on; `close` waits for it."""
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        task.add_done_callback(_looked_at)

    async def close(self) -> None:
        """Wait for what runs."""
        while self._later:
            await asyncio.wait(self._later)
        await asyncio.to_thread(self.executor.shutdown)

    def _are_late(self) -> list[bool]:
        now = time.monotonic()
        return [now - begun > HUNG_SECONDS for begun in self._begun.values()]

    async def _take_place(self, *, urgent: bool) -> None:
        if self._places.take():
            return
        place = self._places.queue(urgent=urgent)
        try:
            await self._came(place)
        except BaseException:
            self._places.leave(place)
            raise

    async def _came(self, place: asyncio.Future[None]) -> None:
        while not await first_done(place, seconds=LOOK_SECONDS):
            late = self._are_late()
            if len(late) == WRITERS and all(late):
                raise StoreHangs

    async def _undone(self, running: asyncio.Future[R], late: Callable[[R], object]) -> None:
        await first_done(running)
        if not running.cancelled() and running.exception() is None:
            await self.read(late, running.result())

    async def _write_at_last(self, call: Callable[[], object]) -> None:
        if not self._places.take():
            await self._places.queue(urgent=False)
        await asyncio.shield(self._begin(call))

    def _begin(self, call: Callable[[], R]) -> asyncio.Future[R]:
        """Run a call in the place that was taken; the place is free again when the call has ended."""
        self._number += 1
        number = self._number
        self._begun[number] = time.monotonic()
        running = self.executor.run(call)

        def ended(_running: asyncio.Future[R]) -> None:
            self._begun.pop(number, None)
            self._places.free()

        running.add_done_callback(ended)
        return running


def _looked_at(done: asyncio.Future[Any]) -> None:
    # asyncio would complain of an exception that nobody retrieves.
    if not done.cancelled():
        done.exception()


async def _ended(running: asyncio.Future[R]) -> None:
    while not running.done():
        try:
            await first_done(running)
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()
