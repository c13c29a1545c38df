"""The pool of threads of the store, and waiting for futures."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from cache.base.threadpool import ThreadPool, first_done

THREADS = 3


@pytest.fixture
async def pool() -> AsyncIterator[ThreadPool]:
    made = ThreadPool(THREADS, "test")
    yield made
    made.shutdown()


class Body:
    """Something that a call holds."""


async def test_call_returns_its_result_or_its_exception(pool: ThreadPool) -> None:
    assert await pool.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0)
    with pytest.raises(SystemExit):
        await pool.run(lambda: exec("raise SystemExit"))  # noqa: S102 - the shortest raising call
    # Nothing of that ended the thread.
    assert await pool.run(threading.current_thread) is await pool.run(threading.current_thread)


async def test_call_that_raises_stop_iteration_is_a_runtime_error(pool: ThreadPool) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(lambda: next(iter(())))


async def test_calls_run_side_by_side_on_no_more_threads_than_allowed(pool: ThreadPool) -> None:
    together = threading.Barrier(THREADS)
    places = [pool.run(together.wait) for _ in range(THREADS)]
    assert sorted(await asyncio.gather(*places)) == list(range(THREADS))
    used = await asyncio.gather(*(pool.run(threading.current_thread) for _ in range(50)))
    assert 1 <= len(set(used)) <= THREADS


async def test_calls_beyond_the_threads_begin_in_the_order_of_arrival() -> None:
    pool, begun, gate = ThreadPool(1, "test"), list[int](), threading.Event()
    held = pool.run(gate.wait)
    calls = [pool.run(functools.partial(begun.append, number)) for number in range(20)]
    gate.set()
    await asyncio.gather(held, *calls)
    assert begun == list(range(20))
    pool.shutdown()


async def test_one_call_after_the_other_needs_one_thread(pool: ThreadPool) -> None:
    used = [await pool.run(threading.get_ident) for _ in range(20)]
    assert len(set(used)) == 1


async def test_call_that_is_cancelled_before_it_begins_does_not_begin() -> None:
    pool, begun, gate = ThreadPool(1, "test"), list[str](), threading.Event()
    held = pool.run(gate.wait)
    given_up = pool.run(lambda: begun.append("given up"))
    given_up.cancel()
    gate.set()
    await held
    await pool.run(lambda: begun.append("next"))
    assert begun == ["next"]
    pool.shutdown()


async def test_call_that_is_cancelled_while_it_runs_comes_to_its_end_unheard(pool: ThreadPool) -> None:
    began, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        began.set()
        gate.wait()
        ended.set()

    running = pool.run(call)
    await asyncio.to_thread(began.wait)
    running.cancel()
    gate.set()
    await asyncio.to_thread(ended.wait)
    assert await pool.run(lambda: "next") == "next"
    assert running.cancelled()


async def test_pool_keeps_nothing_of_a_call_that_has_ended(pool: ThreadPool) -> None:
    body = Body()
    held = weakref.ref(body)
    await pool.run(functools.partial(id, body))
    del body
    # The thread lets go of the call before it takes another one, or becomes idle.
    await pool.run(lambda: None)
    gc.collect()
    assert held() is None


async def test_pool_that_was_shut_down_finishes_what_it_took_and_takes_no_more() -> None:
    pool, gate = ThreadPool(1, "test"), threading.Event()
    first, second = pool.run(gate.wait), pool.run(lambda: "second")
    gate.set()
    await asyncio.to_thread(pool.shutdown)
    assert (await first, await second) == (True, "second")
    with pytest.raises(RuntimeError):
        pool.run(lambda: None)


async def test_pool_that_is_forgotten_ends_its_threads() -> None:
    pool = ThreadPool(1, "test")
    thread = await pool.run(threading.current_thread)
    del pool
    gc.collect()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_pool_is_an_executor_for_libraries(pool: ThreadPool) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(pool, divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(pool, divmod, 7, 0)


async def test_executor_passes_over_a_call_that_was_cancelled() -> None:
    pool, gate, begun = ThreadPool(1, "test"), threading.Event(), list[int]()
    held = pool.submit(gate.wait)
    given_up = pool.submit(begun.append, 1)
    assert given_up.cancel()
    gate.set()
    await asyncio.wrap_future(held)
    await pool.run(lambda: None)
    assert not begun
    pool.shutdown()


async def test_thread_that_cannot_be_made_is_an_error_and_the_next_call_tries_again(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.run(lambda: None)
    assert await pool.run(lambda: "made") == "made"


async def test_call_waits_for_a_thread_that_is_busy_when_no_other_can_be_made(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    gate = threading.Event()
    held = pool.run(gate.wait)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    second = pool.run(lambda: "second")
    gate.set()
    assert (await held, await second) == (True, "second")


async def test_waiting_ends_with_the_first_future_or_with_the_time() -> None:
    loop = asyncio.get_running_loop()
    never, soon = loop.create_future(), loop.create_future()
    loop.call_soon(soon.set_result, 1)
    assert await first_done(never, soon)
    assert await first_done(soon)
    assert not await first_done(never, seconds=0)
    assert not never.done()


async def test_waiting_for_a_future_that_fails_raises_nothing() -> None:
    loop = asyncio.get_running_loop()
    failing = loop.create_future()
    loop.call_soon(failing.set_exception, ValueError())
    assert await first_done(failing, seconds=10)
    assert isinstance(failing.exception(), ValueError)


async def test_waiting_that_is_cancelled_leaves_the_future_alone() -> None:
    future = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(first_done(future))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not future.done()
    future.set_result(None)
