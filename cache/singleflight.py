"""Single flight: one computation per key, across the tasks of a process and the processes of a machine.

Knows keys and coroutines, not what they make. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from cache.errors import FlightClosed
from cache.locks import KeyLocks

log = logging.getLogger(__name__)

T = TypeVar("T")


class SingleFlight:
    """Run work once for all who want it at the same time.

    1. The first to ask for a key starts a task; all others of this process wait for the same task. It belongs
       to none of them: when a waiter is cancelled the others are not, and work without waiters still ends.
    2. The task takes the key's lock, which excludes the other processes, then peeks: while it waited,
       another process may have made the thing. Only if not, it works.
    3. Every waiter gets the result, or an exception of its own with the traceback of the work.
       Without a lock file (read-only disk) the work is done unshared between processes.
    """

    def __init__(self, locks: KeyLocks) -> None:
        self._locks = locks
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Number of keys being worked on."""
        return len(self._tasks)

    async def run(
        self, key: str, *, peek: Callable[[], Awaitable[T | None]], work: Callable[[], Awaitable[T]]
    ) -> T:
        """Return what `peek` finds or else `work` makes.

        Raises:
            FlightClosed: nothing new is begun after `close`.
        """
        task = cast("asyncio.Task[T] | None", self._tasks.get(key))
        if task is None:
            if self._closed:
                raise FlightClosed
            task = asyncio.create_task(self._alone(key, peek, work))
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        await asyncio.wait((task,))
        return _outcome(task)

    async def close(self, timeout_seconds: float = 30.0) -> None:
        """Begin nothing new, wait for what is running, and cancel what takes longer than the timeout."""
        self._closed = True
        running = tuple(self._tasks.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=timeout_seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("%d computations were given up at the end", len(late))
            await asyncio.wait(late)

    async def _alone(
        self, key: str, peek: Callable[[], Awaitable[T | None]], work: Callable[[], Awaitable[T]]
    ) -> T:
        hold = self._locks.hold(key)
        try:
            await hold.__aenter__()
        except OSError as error:
            log.warning("no exclusion between processes: %s", error)
            return await work()
        try:
            found = await peek()
            return found if found is not None else await work()
        finally:
            await hold.__aexit__(None, None, None)

    def _landed(self, key: str, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        # Looked at even when nobody waits any more: asyncio would complain of an exception never retrieved.
        if not task.cancelled():
            task.exception()


def _outcome(task: asyncio.Task[T]) -> T:
    if task.cancelled():
        # Not CancelledError: that would say to the waiter that it was cancelled itself.
        raise FlightClosed
    error = task.exception()
    if error is None:
        return task.result()
    raise _own(error)


def _own(error: BaseException) -> BaseException:
    # One exception raised by many waiters would grow by each of their tracebacks.
    try:
        mine = copy.copy(error)
    except Exception:  # noqa: BLE001 - foreign exceptions may refuse to be copied in any way they like
        return error
    if type(mine) is not type(error):
        return error
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    return mine.with_traceback(error.__traceback__)
