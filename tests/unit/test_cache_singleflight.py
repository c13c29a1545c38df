"""Single flight: one computation per key."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from keeping import finished, run_program

from cache.across.file_locks import KeyLocks
from cache.across.singleflight import SingleFlight
from cache.base.errors import FlightClosed


class Work:
    """A computation that waits until it is let go, and counts."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.begun = 0
        self.done = 0
        self.go = asyncio.Event()
        self.started = asyncio.Semaphore(0)
        self._error = error

    async def __call__(self) -> str:
        self.begun += 1
        self.started.release()
        await self.go.wait()
        if self._error:
            raise self._error
        self.done += 1
        return f"result {self.done}"


async def nothing() -> None:
    return None


@pytest.fixture
def flight(tmp_path: Path) -> SingleFlight:
    """A flight with locks in a folder of its own."""
    return SingleFlight(KeyLocks(tmp_path / "locks"))


async def until_begun(work: Work, *, times: int = 1) -> None:
    """Wait until the work was begun this many times."""
    for _ in range(times):
        await work.started.acquire()


async def test_many_waiters_share_one_computation(flight: SingleFlight) -> None:
    """Everybody gets the result; it is made once."""
    work = Work()
    waiters = [asyncio.create_task(flight.run("a", peek=nothing, work=work)) for _ in range(50)]
    await until_begun(work)
    assert flight.in_flight == 1
    work.go.set()
    assert set(await asyncio.gather(*waiters)) == {"result 1"}
    assert (work.begun, flight.in_flight) == (1, 0)


async def test_different_keys_are_computed_side_by_side(flight: SingleFlight) -> None:
    """Exclusion is by key."""
    work = Work()
    waiters = [asyncio.create_task(flight.run(key, peek=nothing, work=work)) for key in "ab"]
    await until_begun(work, times=2)
    work.go.set()
    await asyncio.gather(*waiters)


async def test_what_is_found_by_peeking_is_not_computed(flight: SingleFlight) -> None:
    """Another process may have made it meanwhile."""

    async def found() -> str:
        return "found"

    work = Work()
    assert await flight.run("a", peek=found, work=work) == "found"
    assert work.begun == 0


async def test_cancelled_waiter_does_not_cancel_the_others(flight: SingleFlight) -> None:
    """A visitor who leaves takes nothing from those who stay, not even when he came first."""
    work = Work()
    first, second = (asyncio.create_task(flight.run("a", peek=nothing, work=work)) for _ in range(2))
    await until_begun(work)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.go.set()
    assert await second == "result 1"


async def test_work_without_waiters_still_ends(flight: SingleFlight) -> None:
    """Work that was begun is finished and kept, although nobody waits for it any more."""
    work = Work()
    only = asyncio.create_task(flight.run("a", peek=nothing, work=work))
    await until_begun(work)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    work.go.set()
    await flight.close(5)
    assert work.done == 1


async def test_error_reaches_every_waiter_as_his_own(flight: SingleFlight) -> None:
    """Each gets a copy: one exception raised many times would grow and be changed under others' hands."""
    cause = KeyError("why")
    error = ValueError("no")
    error.__cause__ = cause
    work = Work(error=error)
    waiters = [asyncio.create_task(flight.run("a", peek=nothing, work=work)) for _ in range(20)]
    await until_begun(work)
    work.go.set()
    errors = await asyncio.gather(*waiters, return_exceptions=True)
    assert {type(error) for error in errors} == {ValueError}
    assert len({id(error) for error in errors}) == 20
    lengths = {
        len(traceback.extract_tb(error.__traceback__)) for error in errors if isinstance(error, ValueError)
    }
    assert len(lengths) == 1
    assert all(isinstance(error, ValueError) and error.__cause__ is cause for error in errors)


class Stubborn(Exception):
    """An exception that cannot be copied."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one)


async def test_error_that_cannot_be_copied_is_raised_all_the_same(flight: SingleFlight) -> None:
    """Foreign exceptions may have constructors that `copy` cannot call."""
    work = Work(error=Stubborn(1, 2))
    work.go.set()
    with pytest.raises(Stubborn):
        await flight.run("a", peek=nothing, work=work)


async def test_failed_computation_is_begun_anew(flight: SingleFlight) -> None:
    """An error is not kept."""
    failing, work = Work(error=ValueError("no")), Work()
    failing.go.set()
    work.go.set()
    with pytest.raises(ValueError, match="no"):
        await flight.run("a", peek=nothing, work=failing)
    assert await flight.run("a", peek=nothing, work=work) == "result 1"


async def test_failure_that_nobody_waits_for_is_not_complained_of(
    flight: SingleFlight, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio's "exception was never retrieved" is not for the operator."""
    work = Work(error=ValueError())
    only = asyncio.create_task(flight.run("a", peek=nothing, work=work))
    await until_begun(work)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    with caplog.at_level(logging.ERROR):
        work.go.set()
        await flight.close(5)
    assert not caplog.records


async def test_close_gives_up_what_takes_too_long(flight: SingleFlight) -> None:
    """Waiters get the error of a shutdown. They were not cancelled themselves."""
    work = Work()
    waiter = asyncio.create_task(flight.run("a", peek=nothing, work=work))
    await until_begun(work)
    await flight.close(0.01)
    with pytest.raises(FlightClosed):
        await waiter
    with pytest.raises(FlightClosed):
        await flight.run("b", peek=nothing, work=work)


async def test_flight_without_locks_still_computes(tmp_path: Path) -> None:
    """On a read-only disk there is no exclusion between processes, but there is an answer."""
    (tmp_path / "file").touch()
    work = Work()
    work.go.set()
    assert (
        await SingleFlight(KeyLocks(tmp_path / "file" / "x")).run("a", peek=nothing, work=work) == "result 1"
    )


COMPUTER = """
import asyncio, sys
from pathlib import Path
from cache.across.file_locks import KeyLocks
from cache.across.singleflight import SingleFlight

async def main(folder):
    made, effects = folder / "made", folder / "effects"

    async def peek():
        return made.read_text() if made.exists() else None

    async def work():
        with effects.open("a") as journal:
            journal.write("worked\\n")
        await asyncio.sleep(0.05)
        made.write_text("it")
        return "it"

    flight = SingleFlight(KeyLocks(folder / "locks"))
    print("ready", flush=True)
    sys.stdin.readline()
    results = await asyncio.gather(*(flight.run("a", peek=peek, work=work) for _ in range(20)))
    print(sorted(set(results)))

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_two_processes_compute_once(tmp_path: Path) -> None:
    """Forty waiters in two processes: one side effect."""
    processes = [run_program(COMPUTER, tmp_path) for _ in range(2)]
    for process in processes:
        assert process.stdout
        assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = await asyncio.gather(*(finished(process) for process in processes))
    assert outputs == ["['it']\n"] * 2
    assert (tmp_path / "effects").read_text() == "worked\n"


class Announcing(Work):
    """A computation that announces its result before its end."""

    def __init__(self, flight: SingleFlight, key: str) -> None:
        super().__init__()
        self._announce: Callable[[], object] = lambda: flight.announce(key, f"early {self.begun}")

    async def __call__(self) -> str:
        self._announce()
        return await super().__call__()


async def test_announced_result_is_taken_by_those_who_accept_it(flight: SingleFlight) -> None:
    """They go on while the work goes on; the others wait for its end."""
    work = Announcing(flight, "a")
    early = asyncio.create_task(flight.run("a", peek=nothing, work=work, accept=lambda _: True))
    picky = asyncio.create_task(
        flight.run("a", peek=nothing, work=work, accept=lambda value: "never" in value)
    )
    patient = asyncio.create_task(flight.run("a", peek=nothing, work=work))
    assert await early == "early 0"
    assert flight.in_flight == 1
    assert not picky.done()
    assert not patient.done()
    work.go.set()
    assert await picky == await patient == "result 1"


async def test_whoever_comes_after_an_announcement_gets_an_answer_of_his_own(flight: SingleFlight) -> None:
    """An answer made before the question was asked may be too old."""
    work = Announcing(flight, "a")
    assert await flight.run("a", peek=nothing, work=work, accept=lambda _: True) == "early 0"
    late = asyncio.create_task(flight.run("a", peek=nothing, work=work, accept=lambda _: True))
    await until_begun(work)
    assert work.begun == 1
    work.go.set()
    assert await late == "early 1"
    await flight.landed("a")
    assert (work.begun, flight.in_flight) == (2, 0)
