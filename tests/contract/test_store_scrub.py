"""The scrub is slow, runs in one process, resumes, finds damage, and forgets damage that was repaired."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from keeping import NOW, finished, keep, run_program

from cache.base.shards import sized_files
from cache.durable_tier import Originals
from cache.upkeep.scrub import LEAST_PASS_SECONDS, PIECE_BYTES, Clock, Scrub, ScrubPace

RATE = 1_000_000


class Time:
    """A clock that only moves when somebody sleeps, and ends the scrub once `enough` is true."""

    def __init__(self, enough: Callable[[], bool] = lambda: False) -> None:
        self.seconds = NOW
        self.enough = enough

    def now(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)
        if self.enough():
            raise asyncio.CancelledError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Originals]:
    opened = await Originals.open(tmp_path / "store")
    yield opened
    await opened.close()


def scrubber(store: Originals, time: Time) -> Scrub:
    clock = Clock(now=time.now, sleep=time.sleep, monotonic=time.now)
    return Scrub(store._layout, store._durable, store._threads, store.locks, clock)


async def one_pass(store: Originals, *, rate: int = RATE) -> tuple[Scrub, Time, int]:
    """Scrub until a whole pass has ended; return also how many bytes it read."""
    read: list[int] = []
    time = Time()
    scrub = scrubber(store, time)
    before = scrub.state().finished_at
    time.enough = lambda: scrub.state().finished_at != before
    with contextlib.suppress(asyncio.CancelledError):
        await scrub.run(lambda: rate, read.append)
    return scrub, time, sum(read)


async def test_pass_reads_everything_at_the_stated_rate(store: Originals) -> None:
    bodies = [b"%d" % number * 400_000 for number in range(3)]
    for number, body in enumerate(bodies):
        await keep(store, f"http://h/{number}.png", body)
    scrub, time, read = await one_pass(store)
    assert read == sum(map(len, bodies))
    seconds = time.seconds - NOW
    assert read / RATE <= seconds < read / RATE + 61
    state = scrub.state()
    assert (state.bodies, state.bytes, state.damage) == (3, read, ())


def test_pace_lets_no_debt_of_idle_time_be_caught_up() -> None:
    pace = ScrubPace()
    assert pace.rest_seconds(500, rate=1000, now=10.0) == 0.5
    assert pace.rest_seconds(500, rate=1000, now=10.0) == 1.0
    assert pace.rest_seconds(500, rate=1000, now=100.0) == 0.5


async def test_damage_is_reported_until_it_is_repaired_or_purged(store: Originals, tmp_path: Path) -> None:
    changed = await keep(store, "http://h/a.png", b"a" * 1000)
    gone = await keep(store, "http://h/b.png", b"b" * 1000)
    await keep(store, "http://h/c.png", b"c" * 1000)
    store.body_path(changed.body_sha256).write_bytes(b"?" * 1000)
    store.body_path(gone.body_sha256).unlink()
    scrub, _, _ = await one_pass(store)
    assert {(item.sha256, item.kind) for item in scrub.state().damage} == {
        (changed.body_sha256, "damaged"),
        (gone.body_sha256, "missing"),
    }
    await keep(store, "http://h/a.png", b"a" * 1000)
    assert [item.sha256 for item in scrub.state().damage] == [gone.body_sha256]
    await store.purge("http://h/b.png")
    assert scrub.state().damage == ()


async def test_cut_body_is_one_damage(store: Originals) -> None:
    """A cut body has the wrong digest and the wrong size, and counts once."""
    for number in range(8):
        entry = await keep(store, f"http://h/{number}.png", b"%d" % number * 1000)
        store.body_path(entry.body_sha256).write_bytes(b"%d" % number * 10)
    scrub, _, _ = await one_pass(store)
    assert len(scrub.state().damage) == 8


async def test_scrub_goes_on_where_it_was(store: Originals) -> None:
    for number in range(20):
        await keep(store, f"http://h/{number}.png", b"%d" % number * 100)
    time = Time()
    scrub = scrubber(store, time)
    time.enough = lambda: scrub.state().done >= 100
    with contextlib.suppress(asyncio.CancelledError):
        await scrub.run(lambda: RATE)
    halfway = scrub.state()
    assert 0 < halfway.bodies < 20
    again, _, read = await one_pass(store)
    assert again.state().bodies == 20
    assert 0 < read < again.state().bytes


async def test_next_pass_waits_for_the_next_day(store: Originals) -> None:
    await keep(store, "http://h/a.png", b"a" * 1000)
    _, time, _ = await one_pass(store)
    scrub = scrubber(store, time)
    begun = scrub.state().begun_at
    time.enough = lambda: scrub.state().begun_at != begun
    with contextlib.suppress(asyncio.CancelledError):
        await scrub.run(lambda: RATE)
    assert time.seconds - begun >= LEAST_PASS_SECONDS


async def test_pass_over_an_empty_store_is_one_step_and_the_next_one_waits_for_the_next_day(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New originals are not read again at once, and the scrub does not list a folder for each picture."""
    listed: list[object] = []

    def noted(folder: object) -> list[object]:
        listed.append(folder)
        return []

    monkeypatch.setattr("cache.upkeep.scrub.sized_files", noted)
    scrub, time, read = await one_pass(store)
    assert (scrub.state().done, read, listed) == (0, 0, [])
    await keep(store, "http://h/a.png", b"a" * 1000)
    begun = time.seconds
    time.enough = lambda: time.seconds > begun + LEAST_PASS_SECONDS / 2
    with contextlib.suppress(asyncio.CancelledError):
        await scrubber(store, time).run(lambda: RATE)
    assert listed == []


def folders_listed(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Return the folders whose files the scrub lists from now on; it fills while they are listed."""
    listed: set[Path] = set()

    def sized_and_noted(folder: Path) -> list[tuple[str, int]]:
        listed.add(folder)
        return sized_files(folder)

    monkeypatch.setattr("cache.upkeep.scrub.sized_files", sized_and_noted)
    return listed


async def test_pass_over_a_small_store_looks_only_into_the_folders_that_are_there(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of three pictures has nine folders at most, and the scrub lists no others."""
    for number in range(3):
        await keep(store, f"http://h/{number}.png", b"%d" % number * 1000)
    listed = folders_listed(monkeypatch)
    _, _, read = await one_pass(store)
    assert read == 3000
    assert len({folder.name for folder in listed}) <= 6


async def test_rooms_that_cannot_be_listed_are_no_finished_pass(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault is reported, and the next attempt begins at the same place."""
    await keep(store, "http://h/a.png", b"a" * 1000)

    def refused(_folder: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("cache.upkeep.scrub.os.scandir", refused)
    scrub = scrubber(store, Time())
    with pytest.raises(PermissionError):
        await scrub.run(lambda: RATE)
    assert scrub.state().finished_at == 0


async def test_rate_of_zero_reads_nothing(store: Originals) -> None:
    await keep(store, "http://h/a.png", b"a" * 1000)
    time = Time()
    time.enough = lambda: time.seconds > NOW + 1000
    read: list[int] = []
    with contextlib.suppress(asyncio.CancelledError):
        await scrubber(store, time).run(lambda: 0, read.append)
    assert read == []


HOLDER = """
import asyncio, sys
from pathlib import Path
from cache.across.file_locks import KeyLocks

async def main():
    locks = KeyLocks(Path(sys.argv[1]))
    async with locks.held_if_free("scrub") as mine:
        print("mine" if mine else "taken", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def test_only_one_process_scrubs_a_store(store: Originals, tmp_path: Path) -> None:
    await keep(store, "http://h/a.png", b"a" * 1000)
    other = run_program(HOLDER, tmp_path / "store" / "locks")
    assert other.stdout
    assert await asyncio.to_thread(other.stdout.readline) == "mine\n"
    time = Time()
    time.enough = lambda: time.seconds > NOW + 1000
    read: list[int] = []
    with contextlib.suppress(asyncio.CancelledError):
        await scrubber(store, time).run(lambda: RATE, read.append)
    assert read == []
    await finished(other)
    assert (await one_pass(store))[2] == 1000
    async with store.locks.held_if_free("scrub") as first, store.locks.held_if_free("scrub") as second:
        assert (first, second) == (True, False)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"done": "x"}', b"\xff", b'{"done": 1e99}', json.dumps({"done": 3}).encode()]
)
async def test_rubbish_in_the_state_begins_the_scrub_anew(
    store: Originals, tmp_path: Path, text: bytes
) -> None:
    (tmp_path / "store" / "scrub").write_bytes(text)
    assert store.scrub.state().done == 0
    assert store.scrub.state().finished_at == 0


async def test_large_body_is_read_in_pieces(store: Originals) -> None:
    await keep(store, "http://h/a.png", b"a" * (PIECE_BYTES * 2 + 1))
    pieces: list[int] = []
    time = Time()
    scrub = scrubber(store, time)
    time.enough = lambda: scrub.state().finished_at > 0
    with contextlib.suppress(asyncio.CancelledError):
        await scrub.run(lambda: RATE, pieces.append)
    assert pieces == [PIECE_BYTES, PIECE_BYTES, 1]


async def test_store_that_was_deleted_is_not_brought_back(store: Originals, tmp_path: Path) -> None:
    """If its state cannot be written, the scrub waits a minute instead of repeating at once."""
    await keep(store, "http://h/a.png", b"a" * 1000)
    shutil.rmtree(tmp_path / "store")
    time = Time()
    steps: list[float] = []

    def enough() -> bool:
        steps.append(time.seconds)
        return time.seconds > NOW + 600

    time.enough = enough
    with contextlib.suppress(asyncio.CancelledError):
        await scrubber(store, time).run(lambda: RATE)
    assert len({round(moment / 30) for moment in steps}) <= 24
    assert len(steps) < 12 * 260
    left = [path.name for path in (tmp_path / "store").iterdir()] if (tmp_path / "store").exists() else []
    assert set(left) <= {"locks"}


async def test_pass_over_folders_with_nothing_in_them_is_one_step(
    store: Originals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service makes all folders when it starts; those without a file are not read one by one."""
    await store.make_shards()
    await keep(store, "http://h/a.png", b"a" * 1000)
    listed = folders_listed(monkeypatch)
    _, _, read = await one_pass(store)
    assert read == 1000
    assert len({folder.name for folder in listed}) <= 2
