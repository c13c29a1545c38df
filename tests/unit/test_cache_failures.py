"""Remembered failures: shared by processes, bounded, and worth nothing when they are gone."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from keeping import finished, run_program

from cache.across.failures import MAX_PRIVATE, RECORD_BYTES, SLOTS, Failures, RememberedFailure
from cache.base.threads import StoreThreads

GONE = RememberedFailure("gone", 410, 3, 1_700_000_000.25, 1_700_003_600.5)


@pytest.fixture
async def threads() -> AsyncIterator[StoreThreads]:
    found = StoreThreads("test")
    yield found
    await found.close()


@pytest.fixture
def failures(tmp_path: Path, threads: StoreThreads) -> Failures:
    return Failures(tmp_path / "failures", threads)


async def test_failure_comes_back_as_it_was(failures: Failures) -> None:
    await failures.put("http://h/a.png", GONE)
    assert await failures.get("http://h/a.png") == GONE
    assert await failures.get("http://h/b.png") is None
    await failures.forget("http://h/a.png")
    assert await failures.get("http://h/a.png") is None


async def test_failure_is_seen_by_another_process(failures: Failures, tmp_path: Path) -> None:
    await failures.put("key", GONE)
    program = """
import asyncio, sys
from pathlib import Path
from cache.across.failures import RememberedFailure, Failures
from cache.base.threads import StoreThreads
async def main():
    threads = StoreThreads("test")
    failures = Failures(Path(sys.argv[1]), threads)
    print((await failures.get("key")).kind)
    await failures.put("other", RememberedFailure("dns", 0, 1, 1.0, 2.0))
    await threads.close()
asyncio.run(main())
"""
    assert (await finished(run_program(program, tmp_path / "failures"))).strip() == "gone"
    assert await failures.get("other") == RememberedFailure("dns", 0, 1, 1.0, 2.0)


async def test_file_stays_within_its_size(failures: Failures, tmp_path: Path) -> None:
    for number in range(2000):
        await failures.put(f"http://h/{number}.png", GONE)
    assert (tmp_path / "failures").stat().st_size <= SLOTS * RECORD_BYTES


async def test_torn_record_is_none(failures: Failures, tmp_path: Path) -> None:
    """A reader may come in the middle of a write, and a disk may lie."""
    await failures.put("key", GONE)
    path = tmp_path / "failures"
    whole = path.read_bytes()
    at = len(whole) - RECORD_BYTES
    for cut in range(16, RECORD_BYTES):
        torn = bytearray(whole)
        torn[at + cut] ^= 0x55
        path.write_bytes(torn)
        assert await failures.get("key") is None
    path.write_bytes(whole[:-1])
    assert await failures.get("key") is None


async def test_deleted_file_is_forgetting(failures: Failures, tmp_path: Path) -> None:
    await failures.put("key", GONE)
    (tmp_path / "failures").unlink()
    assert await failures.get("key") is None
    await failures.put("key", GONE)
    assert await failures.get("key") == GONE


async def test_store_that_cannot_be_written_remembers_in_this_process(threads: StoreThreads) -> None:
    failures = Failures(Path("/nowhere/at/all/failures"), threads)
    for number in range(MAX_PRIVATE + 10):
        failures._write(number.to_bytes(16, "big"), GONE)
    assert len(failures._private) == MAX_PRIVATE
    await failures.put("key", GONE)
    assert await failures.get("key") == GONE
    await failures.forget("key")
    assert await failures.get("key") is None


async def test_odd_texts_and_numbers_are_taken(failures: Failures) -> None:
    await failures.put("http://h/\udcff", RememberedFailure("k" * 99, 70_000, 99_999, 1.0, 2.0))
    found = await failures.get("http://h/\udcff")
    assert found == RememberedFailure("k" * 24, 70_000 & 0xFFFF, 0xFFFF, 1.0, 2.0)


async def test_failures_are_counted_by_kind_while_they_are_believed(failures: Failures) -> None:
    late = dataclasses.replace(GONE, kind="dns", at=GONE.at + 50, until=GONE.until + 100)
    await failures.put("a", GONE)
    await failures.put("b", GONE)
    await failures.put("c", late)
    assert await failures.counts(now=GONE.at) == {"dns": 1, "gone": 2}
    assert await failures.counts(now=GONE.until) == {"dns": 1}
    assert await failures.counts(now=late.until) == {}


async def test_failures_of_a_time_are_forgotten_and_others_stay(failures: Failures) -> None:
    late = dataclasses.replace(GONE, at=GONE.at + 50)
    await failures.put("a", GONE)
    await failures.put("b", late)
    assert await failures.forget_where(lambda item: item.at < late.at) == 1
    assert await failures.get("a") is None
    assert await failures.get("b") == late
    assert await failures.forget_where(lambda item: item.at < late.at) == 0


async def test_file_of_failures_that_is_broken_counts_nothing(failures: Failures, tmp_path: Path) -> None:
    assert await failures.counts(now=0) == {}
    (tmp_path / "failures").write_bytes(b"\x01" * (RECORD_BYTES * 3 + 5))
    assert await failures.counts(now=0) == {}
    assert await failures.forget_where(lambda _: True) == 0


async def test_several_keys_are_looked_up_at_once_in_their_order(failures: Failures) -> None:
    """This works before anything was ever remembered."""
    assert await failures.get_all(["a", "b"]) == [None, None]
    await failures.put("b", GONE)
    assert await failures.get_all(["a", "b"]) == [None, GONE]


async def test_file_of_failures_that_cannot_be_asked_is_as_good_as_none(
    tmp_path: Path, threads: StoreThreads
) -> None:
    """Failures that this process remembers by itself are still returned."""
    (tmp_path / "folder").write_bytes(b"")
    failures = Failures(tmp_path / "folder" / "failures", threads)
    await failures.put("a", GONE)
    assert await failures.get_all(["a", "b"]) == [GONE, None]


async def test_failure_read_without_a_thread_is_the_same(failures: Failures, tmp_path: Path) -> None:
    """Where the kernel has the file in memory, or knows that there is none."""
    assert (await failures.get_all(["a", "b"])) == [None, None]
    await failures.put("a", GONE)
    assert await failures.get_all(["a", "b"]) == [GONE, None]
    is_at_hand, found = failures.at_hand("a")
    assert found == (GONE if is_at_hand else None)
    assert failures.read("a") == GONE
    (tmp_path / "failures").write_bytes(b"")
    assert await failures.get_all(["a", "b"]) == [None, None]


async def test_failure_that_no_file_takes_is_read_without_a_thread_too(
    threads: StoreThreads, tmp_path: Path
) -> None:
    """This process alone remembers it."""
    failures = Failures(tmp_path / "no folder" / "failures", threads)
    await failures.put("a", GONE)
    assert await failures.get_all(["a", "b"]) == [GONE, None]
