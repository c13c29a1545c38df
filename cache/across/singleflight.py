"""Single flight: one computation for each key, across the tasks of a process and the processes of a machine.

Knows keys and coroutines, but not what they compute. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import contextvars
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
    """Runs work once for all callers that want it at the same time.

    1. The first caller for a key starts a task, and all others in this process wait for the same task. It belongs to
       none of them: cancelling one waiter does not affect the others, and work without waiters still completes.
    2. The task takes the key's lock, which excludes other processes. Then it peeks, because another process may have
       done the work meanwhile, and works only if that was not so. A caller that `looked` before need not peek if the
       lock was free. Doing the work twice on rare occasions costs less than always peeking.
    3. Every waiter gets the result, or its own copy of the exception with the traceback of the work. A waiter that
       accepts an early announcement gets it while the work continues. A caller that arrives after the announcement
       waits for the end and begins anew, because its answer must not be older than its question. Without a lock file
       (read-only disk), processes share no work.
    """

    def __init__(self, locks: KeyExclusion) -> None:
        self._locks = locks
        self._flights: dict[str, _Flight] = {}
        self._closed = False

    @property
    def in_flight(self) -> int:
        """The number of keys in progress."""
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
        """Return the result of `peek`, else of `work`; or the announcement, if `accept` accepts it.

        Raises:
            FlightClosed: `close` was called, and no new work begins.
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

    def leader(self, key: str) -> contextvars.Context | None:
        """Return the context of the caller that started the work on `key`, or None if nobody did."""
        flight = self._flights.get(key)
        return None if flight is None else flight.leader

    def announce(self, key: str, value: object) -> None:
        """Announce the result of the work on `key` before its end, for callers that accept it."""
        flight = self._flights.get(key)
        if flight is not None and not flight.announced.done():
            flight.announced.set_result(value)

    async def landed(self, key: str) -> None:
        """Wait for the end of the work on `key` if it has announced its result, so that its effects are visible."""
        while (flight := self._flights.get(key)) is not None and flight.announced.done():
            await first_done(flight.task)
            self._landed(key, flight.task)

    async def close(self, timeout_seconds: float = 30.0) -> None:
        """Begin no new work, wait for running work, and cancel what takes longer than the timeout."""
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
        # Read the exception even if nobody waits any more. Otherwise asyncio would report it as never retrieved.
        if not task.cancelled():
            task.exception()


class _Flight:
    """One computation in progress, and the context of the caller that started it."""

    __slots__ = ("announced", "leader", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.leader = contextvars.copy_context()
        self.announced: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


def _outcome(task: asyncio.Task[T]) -> T:
    if task.cancelled():
        # Do not raise CancelledError: the waiter itself was not cancelled.
        raise FlightClosed
    error = task.exception()
    if error is None:
        return task.result()
    raise _own(error)


def _own(error: BaseException) -> BaseException:
    # An exception that many waiters raise would accumulate all of their tracebacks.
    try:
        mine = copy.copy(error)
    except Exception:  # noqa: BLE001 - foreign exceptions may refuse to be copied in any way they like
        return error
    if type(mine) is not type(error):
        return error
    mine.__cause__, mine.__context__ = error.__cause__, error.__context__
    return mine.with_traceback(error.__traceback__)
