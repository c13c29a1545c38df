"""A lane: one shelf in its own thread, and the operations that wait for it. Runs on the event loop.

SQLite connections belong to threads, so a shelf needs one. Does not know what the operations do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar, cast

from cache.base.threadpool import ThreadPool, first_done
from cache.variants.shelf import Shelf, ShelfFault

R = TypeVar("R")
_Wanted = tuple[Callable[[Any], object], "asyncio.Future[object]"]
_Done = tuple["asyncio.Future[object]", object, BaseException | None]

BATCH = 32
"""How many operations run in one batch: half a millisecond of reads."""


class ShelfLane:
    """A thread with its own shelf.

    Operations that arrive while the thread works run in one batch afterwards. Under load, many operations then share
    one change of threads, which costs five times as much as reading a variant.
    """

    def __init__(self, shelf: Shelf, name: str) -> None:
        self._shelf = shelf
        self._waiting: deque[_Wanted] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPool(1, name)

    async def use(self, operation: Callable[[Any], R], *, otherwise: R) -> R:
        """Run an operation; return `otherwise` when the shelf cannot."""
        try:
            return cast("R", await self._begun(operation))
        except ShelfFault:
            return otherwise

    async def use_soon(
        self, operation: Callable[[Any], R], *, otherwise: R, seconds: float, max_queued: int
    ) -> R:
        """Run an operation that a visitor waits for, but not for longer than `seconds`.

        Return `otherwise` when the shelf cannot, when it takes longer, and when `max_queued` others are waiting.
        """
        if len(self._waiting) >= max_queued:
            return otherwise
        running = self._begun(operation)
        await first_done(running, seconds=seconds)
        return cast("R", running.result()) if running.done() and running.exception() is None else otherwise

    def _begun(self, operation: Callable[[Any], object]) -> asyncio.Future[object]:
        result: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        # Retrieve the exception even when nobody waits any more; otherwise asyncio would report it.
        result.add_done_callback(_seen)
        self._waiting.append((operation, result))
        if self._idle.is_set():
            self._idle.clear()
            self._begin_batch()
        return result

    def _begin_batch(self) -> None:
        self._thread.run(self._work).add_done_callback(self._deliver)

    def _work(self) -> list[_Done]:
        done: list[_Done] = []
        while self._waiting and len(done) < BATCH:
            operation, result = self._waiting.popleft()
            try:
                done.append((result, self._shelf.use(operation), None))
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
                done.append((result, None, error))
        return done

    def _deliver(self, batch: asyncio.Future[list[_Done]]) -> None:
        if self._waiting:
            self._begin_batch()
        else:
            self._idle.set()
        for result, value, error in batch.result():
            if result.done():
                continue
            if error is None:
                result.set_result(value)
            else:
                result.set_exception(error)

    async def close(self) -> None:
        """Run the waiting operations, close the shelf in its own thread, then end the thread."""
        await self._idle.wait()
        await self._thread.run(self._shelf.close)
        self._thread.shutdown()


def _seen(result: asyncio.Future[object]) -> None:
    if not result.cancelled():
        result.exception()
