"""Places for work that waits for the disk: how many, who is next, and what happens when none comes free."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from cache.base import threads
from cache.base.errors import StoreHangs
from cache.base.threads import WRITERS, StoreThreads


class Disk:
    """Calls that do not end until they are let go."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.done: list[str] = []

    def call(self, name: str) -> str:
        self.answers.wait()
        self.done.append(name)
        return name


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def running(disk: Disk) -> AsyncIterator[StoreThreads]:
    found = StoreThreads("test")
    yield found
    disk.answers.set()
    await found.close()


async def begun(count: int, running: StoreThreads, disk: Disk) -> list[asyncio.Task[str]]:
    """Begin calls that hold places, and let them take them."""
    tasks = [asyncio.create_task(running.write(disk.call, f"first {number}")) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_places_are_free_again_when_no_thread_can_be_made(
    running: StoreThreads, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the disk would seem to hang for ever."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        for _ in range(WRITERS + 1):
            with pytest.raises(RuntimeError, match="new thread"):
                await running.write(disk.call, "refused")
    disk.answers.set()
    assert await running.write(disk.call, "next") == "next"
    assert not running._begun


async def test_closing_that_is_given_up_leaves_no_thread_that_the_interpreter_waits_for(disk: Disk) -> None:
    """A disk that hangs must not keep the process alive."""
    before = {thread for thread in threading.enumerate() if not thread.daemon}
    hanging = StoreThreads("test")
    await hanging.read(str)
    task = asyncio.create_task(hanging.read(disk.call, "hangs"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(hanging.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    assert {thread for thread in threading.enumerate() if not thread.daemon} == before
    disk.answers.set()
    assert await task == "hangs"


async def test_work_under_locks_goes_before_work_that_holds_none(running: StoreThreads, disk: Disk) -> None:
    """A task that waits for those locks must not wait for every newcomer too."""
    hanging = await begun(WRITERS - 1, running, disk)
    last = Disk()
    place = await begun(1, running, last)
    order: list[str] = []
    others = [asyncio.create_task(running.try_write(lambda: order.append("other"))) for _ in range(8)]
    await asyncio.sleep(0)
    commit = asyncio.create_task(running.write(order.append, "commit"))
    await asyncio.sleep(0)
    assert not order
    # One place comes free, so the calls run one after the other, in the order in which they get it.
    last.answers.set()
    await asyncio.gather(*place, *others, commit)
    assert order == ["commit"] + ["other"] * 8
    disk.answers.set()
    await asyncio.gather(*hanging)


async def test_call_without_a_place_is_refused_when_all_places_hang(
    running: StoreThreads, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only then: one hung call of four leaves the others their places."""
    monkeypatch.setattr(threads, "HUNG_SECONDS", 0.0)
    monkeypatch.setattr(threads, "LOOK_SECONDS", 0.001)
    first = await begun(1, running, disk)
    assert await running.write(lambda: "through") == "through"
    assert running.hangs
    first += await begun(WRITERS - 1, running, disk)
    for call in (running.write, running.try_write):
        with pytest.raises(StoreHangs):
            await call(lambda: "never")
    disk.answers.set()
    await asyncio.gather(*first)
    assert not running.hangs
    assert await running.write(lambda: "again") == "again"


async def test_call_on_own_file_is_left_to_itself_when_it_hangs(
    running: StoreThreads, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its late result is passed on, and its place becomes free."""
    monkeypatch.setattr(threads, "HUNG_SECONDS", 0.01)
    late: list[str] = []
    with pytest.raises(StoreHangs):
        await running.try_write(lambda: disk.call("slow"), late=late.append)
    disk.answers.set()
    await running.close()
    assert late == ["slow"]


async def test_work_with_locks_goes_on_by_itself_when_it_hangs(
    running: StoreThreads, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiting caller gets an error, and closing waits for the end."""
    monkeypatch.setattr(threads, "HUNG_SECONDS", 0.01)
    work = asyncio.create_task(running.write(disk.call, "commit"))
    with pytest.raises(StoreHangs):
        await running.unless_hung(work)
    assert not work.done()
    disk.answers.set()
    await running.close()
    assert disk.done == ["commit"]


async def test_cancelled_wait_for_a_place_frees_no_place_and_keeps_none(
    running: StoreThreads, disk: Disk
) -> None:
    """As many calls run at once afterwards as before."""
    first = await begun(WRITERS, running, disk)
    waiting = [asyncio.create_task(running.write(lambda: "never")) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    assert all(task.cancelled() for task in waiting)
    disk.answers.set()
    await asyncio.gather(*first)
    assert running._places._free == WRITERS
