"""The store's own threads: a bounded executor that nothing else uses.

The loop's default executor also resolves names; a dozen slow dead names made a small file read take seconds.
Work that waits for the disk (fsync) is let in four at a time, so that reads always find a free thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

READERS = 4
WRITERS = 4

P = ParamSpec("P")
R = TypeVar("R")


class StoreThreads:
    """Run blocking calls beside the event loop."""

    def __init__(self, name: str) -> None:
        self.executor = ThreadPoolExecutor(READERS + WRITERS, thread_name_prefix=name)
        self._writers = asyncio.Semaphore(WRITERS)

    async def read(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that does not wait for the disk to write."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, lambda: call(*args, **kwargs))

    async def write(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call that changes files, to its end: also when the caller is cancelled meanwhile.

        The caller holds locks around it; a thread cannot be stopped, so letting go early would break them.
        """
        async with self._writers:
            running = asyncio.get_running_loop().run_in_executor(self.executor, lambda: call(*args, **kwargs))
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                await _ended(running)
                raise

    async def close(self) -> None:
        """Wait for what runs."""
        await asyncio.to_thread(self.executor.shutdown)


async def _ended(running: asyncio.Future[R]) -> None:
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError:
            continue
    if not running.cancelled():
        running.exception()
