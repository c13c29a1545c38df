"""The store's own threads: a bounded pool that nothing else uses.

The loop's default executor also resolves names, and a dozen slow dead names once delayed the read of a small file by
seconds. At most four calls that wait for the disk (fsync) run at a time, so that reads always find a free thread. A
disk that does not answer occupies these places for ever. Further calls then fail after a short wait.
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
"""How long a call may wait for the disk before the disk counts as hanging."""

LOOK_SECONDS = 0.5
"""How long a call waits for a place while hanging calls occupy all of them, and how often it checks."""

_POLL_SECONDS = 0.002

P = ParamSpec("P")
R = TypeVar("R")


class _Places:
    """Places with two queues, the urgent one first, each in the order of arrival."""

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
        """Return a future that is done when it has a place."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._urgent if urgent else self._others).append(place)
        return place

    def leave(self, place: asyncio.Future[None]) -> None:
        """Return the place of a waiter from `queue`, or stop its waiting."""
        if place.done() and not place.cancelled():
            self.free()
        else:
            place.cancel()

    def free(self) -> None:
        """Give a place to the next waiter that has not given up."""
        for waiting in (self._urgent, self._others):
            while waiting:
                place = waiting.popleft()
                if not place.done():
                    place.set_result(None)
                    return
        self._free += 1


class StoreThreads:
    """Runs blocking calls beside the event loop."""

    def __init__(self, name: str) -> None:
        self.executor = ThreadPool(READERS + WRITERS, name)
        self._places = _Places(WRITERS)
        self._begun: dict[int, float] = {}
        self._number = 0
        self._later: set[asyncio.Task[Any]] = set()

    @property
    def hangs(self) -> bool:
        """Whether a call has waited for the disk for longer than a working disk takes."""
        return any(self._are_late())

    async def read(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that does not wait for the disk to write."""
        return await self.executor.run(lambda: call(*args, **kwargs))

    async def write(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that changes files, up to its end, even if the caller is cancelled meanwhile.

        The caller holds locks around it. A thread cannot be stopped, so releasing them early would break the exclusion.

        Raises:
            StoreHangs: hanging calls occupy all places.
        """
        # Other tasks wait for the locks that the caller holds, so it precedes work that holds none.
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
        """Run a call on a file that only the caller uses, and stop waiting for it if the disk hangs.

        `late` gets the result of the call if nobody waits for it any more. It runs in a thread.

        Raises:
            StoreHangs: the call did not end in time and may end later, or there was no place for it.
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
        """Wait for work that ends in `write`. If the disk hangs, the work continues by itself, with its locks.

        Raises:
            StoreHangs: it did not end in time and may end later.
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
        """Run a call on files that only the caller uses. If the disk hangs, the call ends when the disk answers
        again."""
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
        """Let a task continue that nobody waits for. `close` waits for it."""
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        task.add_done_callback(_looked_at)

    async def close(self) -> None:
        """Wait for all running work."""
        while self._later:
            await asyncio.wait(self._later)
        self.executor.shutdown(wait=False)
        # Not in a thread: the interpreter would wait for that one even if the disk hangs and this is cancelled.
        while self.executor.is_running:  # noqa: ASYNC110 - threads offer no event to wait for
            await asyncio.sleep(_POLL_SECONDS)

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
        """Run a call in the place that was taken. The place is free again when the call has ended."""
        self._number += 1
        number = self._number
        self._begun[number] = time.monotonic()
        try:
            running = self.executor.run(call)
        except BaseException:
            # No thread can be made, or the pool was shut down.
            self._begun.pop(number)
            self._places.free()
            raise

        def ended(_running: asyncio.Future[R]) -> None:
            self._begun.pop(number, None)
            self._places.free()

        running.add_done_callback(ended)
        return running


def _looked_at(done: asyncio.Future[Any]) -> None:
    # Retrieve the exception, because asyncio would otherwise complain about it.
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
