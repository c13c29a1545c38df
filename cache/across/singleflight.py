"""Single flight: one computation per key, across the tasks of a process and the processes of a machine.

Knows keys and coroutines, not what they make. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from cache.across.seams import KeyExclusion
from cache.base.errors import FlightClosed
from cache.base.threadpool import first_done

log = logging.getLogger(__name__)

T = TypeVar("T")


class SingleFlight:
    """Run work once for all who want it at the same time.

    1. The first to ask for a key starts a task; all others of this process wait for the same task. It belongs
       to none of them: when a waiter is cancelled the others are not, and work without waiters still ends.
    2. The task takes the key's lock, which excludes the other processes, then peeks: while it waited,
       another process may have made the thing. Only if not, it works. One that `looked` before and finds the lock
       free need not look again: to make a thing twice once in a blue moon is cheaper.
    3. Every waiter gets the result, or an exception of its own with the traceback of the work. A waiter that
       accepts what the work announced before its end gets that, and the work goes on. Whoever comes after the
       announcement waits for the end and begins anew: his answer must not be older than his question.
       Without a lock file (read-only disk) nothing is shared between processes.
    """

    def __init__(self, locks: KeyExclusion) -> None:
        self._locks = locks
        self._flights: dict[str, _Flight] = {}
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Number of keys being worked on."""
        return len(self._flights)

    async def run(
        self,
        key: str,
        *,
        peek: Callable[[], Awaitable[T | None]],
        work: Callable[[], Awaitable[T]],
        accept: Callable[[T], bool] | None = None,
        looked: bool = False,
    ) -> T:
        """Return what `peek` finds or else `work` makes; or what it announced, if `accept` says so.

        Raises:
            FlightClosed: nothing new is begun after `close`.
        """
        await self.landed(key)
        flight = self._flights.get(key)
        if flight is None:
            if self._closed:
                raise FlightClosed
            flight = self._flights[key] = _Flight(asyncio.create_task(self._alone(key, peek, work, looked)))
            flight.task.add_done_callback(lambda done: self._landed(key, done))
        if accept is not None:
            await first_done(flight.announced, flight.task)
            if flight.announced.done() and accept(flight.announced.result()):
                return cast("T", flight.announced.result())
        await first_done(flight.task)
        return cast("T", _outcome(flight.task))

    def announce(self, key: str, value: object) -> None:
        """Say what the work on `key` will come to, before its end; for those who accept it."""
        flight = self._flights.get(key)
        if flight is not None and not flight.announced.done():
            flight.announced.set_result(value)

    async def landed(self, key: str) -> None:
        """Wait for the work on `key` if it has announced what it comes to, so that all can see what it did."""
        while (flight := self._flights.get(key)) is not None and flight.announced.done():
            await first_done(flight.task)
            self._landed(key, flight.task)

    async def close(self, timeout_seconds: float = 30.0) -> None:
        """Begin nothing new, wait for what is running, and cancel what takes longer than the timeout."""
        self._closed = True
        running = tuple(flight.task for flight in self._flights.values())
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=timeout_seconds)
        for task in late:
            task.cancel()
        if late:
            log.warning("%d computations were given up at the end", len(late))
            await asyncio.wait(late)

    async def _alone(
        self,
        key: str,
        peek: Callable[[], Awaitable[T | None]],
        work: Callable[[], Awaitable[T]],
        looked: bool,
    ) -> T:
        try:
            held = await self._locks.acquire(key)
        except OSError as error:
            log.warning("no exclusion between processes: %s", error)
            held = None
        try:
            found = await peek() if not looked or (held is not None and held.waited) else None
            return found if found is not None else await work()
        finally:
            if held is not None:
                held.release()

    def _landed(self, key: str, task: asyncio.Task[Any]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight.task is task:
            del self._flights[key]
        # Looked at even when nobody waits any more: asyncio would complain of an exception never retrieved.
        if not task.cancelled():
            task.exception()


class _Flight:
    """One computation under way."""

    __slots__ = ("announced", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.announced: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


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
