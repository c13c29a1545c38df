"""Runs calls in threads and waits for them with little overhead. Event loop; the calls run in threads.

`concurrent.futures` creates a second future, three locks and five callbacks for each call, and its queue often wakes
two threads for one call. That costs more than most calls on files (docs/decisions/0035-thread-pool.md).
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_Call = Callable[[], Callable[[], None]]
"""Does its work and returns a function that reports the result. The thread is free again before it reports, so that the
next call finds it."""


class ThreadPool(Executor):
    """At most `threads` threads, created when they are needed. Calls begin in the order of arrival.

    `run` is for the event loop. `submit` is for libraries that need an executor. The threads end when the pool is shut
    down or garbage-collected. They do not keep a process alive.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._crew = _Crew(threads, name)
        self._end = weakref.finalize(self, self._crew.end)

    def run(self, call: Callable[[], R]) -> asyncio.Future[R]:
        """Run `call` in a thread; return a future of the running event loop.

        If the future is cancelled before the call has begun, the call never runs.

        Raises:
            RuntimeError: the pool was shut down.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()

        def work() -> Callable[[], None]:
            # Any thread may read the state of a future, but only the loop may change it.
            result, error = (None, None) if done.cancelled() else _outcome(call)
            return lambda: _tell(loop, done, result, error)

        self._crew.take(work)
        return done

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a call in a thread, as `concurrent.futures.Executor` describes."""
        done: Future[R] = Future()

        def work() -> Callable[[], None]:
            if not done.set_running_or_notify_cancel():
                return lambda: None
            result, error = _outcome(lambda: fn(*args, **kwargs))
            return lambda: _set(done, result, error)

        self._crew.take(work)
        return done

    @property
    def is_running(self) -> bool:
        """Whether any of the threads has not ended."""
        return self._crew.is_running

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls, and end the threads after the accepted ones.

        Raises:
            NotImplementedError: `cancel_futures` is not supported.
        """
        if cancel_futures:
            raise NotImplementedError("cancel their futures instead")
        self._end()
        if wait:
            self._crew.join()


class _Worker:
    """A thread, and the lock on which it waits when it is idle."""

    def __init__(self, call: _Call) -> None:
        self.call: _Call | None = call
        self.turn = threading.Lock()
        self.turn.acquire()


class _Crew:
    """The threads of a pool. They refer to this object and not to the pool, so that a pool without references ends."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []
        self._idle: list[_Worker] = []
        self._waiting: deque[_Call] = deque()
        self._ended = False
        # The garbage collector may call `end` at any moment, also while this thread holds the lock.
        self._lock = threading.RLock()

    def take(self, call: _Call) -> None:
        """Give a call to the thread that became idle last, whose memory is still cached, or else to a new one."""
        with self._lock:
            if self._ended:
                raise RuntimeError("the pool was shut down")
            if self._idle:
                worker = self._idle.pop()
                worker.call = call
                worker.turn.release()
            elif len(self._threads) == self._most or not self._is_added(call):
                self._waiting.append(call)

    def end(self) -> None:
        """Accept no more calls. The threads end when they have nothing to do."""
        with self._lock:
            self._ended = True
            while self._idle:
                self._idle.pop().turn.release()

    @property
    def is_running(self) -> bool:
        """Whether any of the threads has not ended."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait for the threads. Call `end` first."""
        for thread in self._threads:
            thread.join()

    def _is_added(self, call: _Call) -> bool:
        """Give a call to a new thread; return False if none can be made and there are others.

        Raises:
            RuntimeError: none can be made, and there is no other.
        """
        name = f"{self._name}_{len(self._threads)}"
        # The thread is stored in the worker, because it keeps its arguments until it ends.
        worker = _Worker(call)
        thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return False
        self._threads.append(thread)
        return True

    def _work(self, worker: _Worker) -> None:
        while (call := worker.call) is not None:
            worker.call = None
            tell = call()
            is_idle = self._is_idle(worker)
            tell()
            # Release the objects of the call now, not when the next call arrives.
            del call, tell
            if is_idle:
                worker.turn.acquire()

    def _is_idle(self, worker: _Worker) -> bool:
        """Give a worker its next call; return whether it has to wait for one. With neither, it ends."""
        with self._lock:
            if self._waiting:
                worker.call = self._waiting.popleft()
            elif not self._ended:
                self._idle.append(worker)
                return True
            return False


async def first_done(*futures: asyncio.Future[Any], seconds: float | None = None) -> bool:
    """Wait until one of `futures` is done or the time has passed; return whether one is done.

    It cancels none of them and raises none of their exceptions, like `asyncio.wait`, but in half the time: that
    function first creates tasks and sets for its arguments.
    """
    if _any_done(futures):
        return True
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(*_done: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    timer = None if seconds is None else loop.call_later(seconds, wake)
    for future in futures:
        future.add_done_callback(wake)
    try:
        await waiter
    finally:
        if timer is not None:
            timer.cancel()
        for future in futures:
            future.remove_done_callback(wake)
    return _any_done(futures)


def _any_done(futures: tuple[asyncio.Future[Any], ...]) -> bool:
    for future in futures:  # noqa: SIM110 - `any` over a generator takes three times as long
        if future.done():
            return True
    return False


def _outcome(call: Callable[[], R]) -> tuple[R | None, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        return None, error


def _tell(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], result: object, error: BaseException | None
) -> None:
    try:  # noqa: SIM105 - `suppress` costs as much as the call
        loop.call_soon_threadsafe(_settle, done, result, error)
    except RuntimeError:
        pass  # The loop was closed, so nobody waits any more.


def _settle(done: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if done.cancelled():
        return
    # A future cannot hold a StopIteration, which would end the waiting coroutine.
    if isinstance(error, StopIteration):
        error = RuntimeError("a call in a thread raised StopIteration")
    _set(done, result, error)


def _set(done: asyncio.Future[Any] | Future[Any], result: object, error: BaseException | None) -> None:
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
