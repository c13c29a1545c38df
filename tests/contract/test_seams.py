"""What the processes of a store share: one contract for every implementation of `cache.across.seams`.

Each implementation is opened twice, as two processes or nodes do. A new one adds a class of `Nodes` and a line in
`IMPLEMENTATIONS`; the one in memory shows that nothing but the protocols is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from cache.across.failures import Failures, RememberedFailure
from cache.across.file_locks import KeyLocks
from cache.across.generations import Generations
from cache.across.seams import FailureMemory, KeyExclusion, RunningCounts, Stamps
from cache.across.singleflight import SingleFlight
from cache.across.source_locks import Exclusion
from cache.across.usage import Counts, Usage
from cache.base.threads import StoreThreads

GONE = RememberedFailure("gone", 410, 3, 1_700_000_000.25, 1_700_003_600.5)
LATER = RememberedFailure("timeout", 0, 1, 1_700_000_100.0, 1_700_000_200.0)
ONE = Counts(bytes=10, bodies=1, entries=1)


class Nodes(Protocol):
    """Opens what nodes share; each call is another node."""

    def exclusion(self) -> KeyExclusion: ...

    def stamps(self) -> Stamps: ...

    def failures(self) -> FailureMemory: ...

    def counts(self) -> RunningCounts: ...

    async def close(self) -> None: ...


class FileNodes:
    """Files of one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = StoreThreads("nodes")

    def exclusion(self) -> KeyExclusion:
        return KeyLocks(self._folder / "locks")

    def stamps(self) -> Stamps:
        return Generations(self._folder / "generations")

    def failures(self) -> FailureMemory:
        return Failures(self._folder / "failures", self._threads)

    def counts(self) -> RunningCounts:
        return Usage(self._folder / "usage")

    async def close(self) -> None:
        await self._threads.close()


@dataclass(frozen=True, slots=True)
class MemoryHeld:
    """A lock that is held."""

    lock: asyncio.Lock
    waited: bool

    def release(self) -> None:
        self.lock.release()


class MemoryNodes:
    """A store in memory; every node sees the same dictionaries."""

    def __init__(self, _folder: Path) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stamps: defaultdict[str, int] = defaultdict(int)
        self._failures: dict[str, RememberedFailure] = {}
        self._counts = MemoryCounts()

    def exclusion(self) -> KeyExclusion:
        return MemoryExclusion(self._locks)

    def stamps(self) -> Stamps:
        return MemoryStamps(self._stamps)

    def failures(self) -> FailureMemory:
        return MemoryFailures(self._failures)

    def counts(self) -> RunningCounts:
        return self._counts

    async def close(self) -> None:
        return


@dataclass(slots=True)
class MemoryExclusion:
    locks: defaultdict[str, asyncio.Lock]

    async def acquire(self, key: str) -> MemoryHeld:
        lock = self.locks[key]
        waited = lock.locked()
        await lock.acquire()
        return MemoryHeld(lock, waited)

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[bool]:
        held = await self.acquire(key)
        try:
            yield held.waited
        finally:
            held.release()

    @contextlib.asynccontextmanager
    async def held_if_free(self, key: str) -> AsyncIterator[bool]:
        if self.locks[key].locked():
            yield False
            return
        async with self.locks[key]:
            yield True


@dataclass(slots=True)
class MemoryStamps:
    numbers: defaultdict[str, int]
    epoch: int = 1

    def stamp(self, url: str) -> int:
        return self.numbers[url]

    def bump(self, url: str) -> None:
        self.numbers[url] += 1


@dataclass(slots=True)
class MemoryFailures:
    known: dict[str, RememberedFailure]

    async def get(self, key: str) -> RememberedFailure | None:
        return self.known.get(key)

    async def get_all(self, keys: Sequence[str]) -> list[RememberedFailure | None]:
        return [self.known.get(key) for key in keys]

    async def put(self, key: str, failure: RememberedFailure) -> None:
        self.known[key] = failure

    async def forget(self, key: str) -> None:
        self.known.pop(key, None)


@dataclass(slots=True)
class MemoryCounts:
    now: Counts = field(default_factory=Counts)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> Counts:
        return self.now

    def add(self, change: Counts) -> None:
        with self.busy:
            self.now += change

    def settle(self, counted: Counts, *, before: Counts) -> None:
        with self.busy:
            self.now = counted + (self.now - before)


IMPLEMENTATIONS: tuple[Callable[[Path], Nodes], ...] = (FileNodes, MemoryNodes)


@pytest.fixture(params=IMPLEMENTATIONS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Nodes]:
    opened: Nodes = request.param(tmp_path)
    yield opened
    await opened.close()


# Exclusion


async def test_key_has_one_holder_among_all_nodes(nodes: Nodes) -> None:
    """Whoever comes later waits, and is told that somebody was there."""
    first, second = nodes.exclusion(), nodes.exclusion()
    held = await first.acquire("key")
    assert not held.waited
    waiting = asyncio.ensure_future(second.acquire("key"))
    await asyncio.sleep(0)
    async with second.held_if_free("key") as is_mine:
        assert not is_mine
    async with second.hold("another key") as waited:
        assert not waited
    assert not waiting.done()
    held.release()
    other = await waiting
    assert other.waited
    other.release()
    async with first.held_if_free("key") as is_mine:
        assert is_mine


async def test_key_is_free_after_its_holder_failed_or_was_cancelled(nodes: Nodes) -> None:
    first, second = nodes.exclusion(), nodes.exclusion()
    with contextlib.suppress(ZeroDivisionError):
        async with first.hold("key"):
            raise ZeroDivisionError
    held = await first.acquire("key")
    given_up = asyncio.ensure_future(second.acquire("key"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait((given_up,))
    held.release()
    async with second.hold("key"):
        pass


async def test_changes_of_a_source_and_its_bodies_exclude_each_other(nodes: Nodes) -> None:
    """A source is held before its bodies, and these in one order: nobody waits in a circle."""
    first, second = Exclusion(nodes.exclusion()), Exclusion(nodes.exclusion())
    inside, most = 0, 0

    async def changed(exclusion: Exclusion, source: str, bodies: tuple[str, ...]) -> None:
        nonlocal inside, most
        async with exclusion.source(source, bodies):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(
        *(changed(first, f"one {n}", ("a", "b")) for n in range(5)),
        *(changed(second, f"two {n}", ("b", "a")) for n in range(5)),
    )
    assert (inside, most) == (0, 1)


async def test_work_on_a_key_is_done_once_by_all_nodes(nodes: Nodes) -> None:
    """The second node finds what the first has made."""
    made: list[str] = []

    async def peek() -> str | None:
        return made[0] if made else None

    async def work() -> str:
        await asyncio.sleep(0)
        made.append("thing")
        return "thing"

    flights = [SingleFlight(nodes.exclusion()) for _ in range(2)]
    assert await asyncio.gather(*(flight.run("key", peek=peek, work=work) for flight in flights)) == [
        "thing",
        "thing",
    ]
    assert made == ["thing"]


# Stamps


async def test_bump_of_a_source_is_seen_by_every_node_at_once(nodes: Nodes) -> None:
    """Each time another number; the epoch stays, since not all stamps have changed."""
    first, second = nodes.stamps(), nodes.stamps()
    seen = [first.stamp("http://h/a")]
    epochs = first.epoch, second.epoch
    assert second.stamp("http://h/a") == seen[0]
    for node in (first, second, first):
        node.bump("http://h/a")
        assert first.stamp("http://h/a") == second.stamp("http://h/a")
        seen.append(first.stamp("http://h/a"))
    assert len(set(seen)) == len(seen)
    assert (first.epoch, second.epoch) == epochs


# Failure memory


async def test_failure_put_by_a_node_is_known_to_all(nodes: Nodes) -> None:
    """The last one of a key counts, until it is forgotten."""
    first, second = nodes.failures(), nodes.failures()
    assert await first.get_all(["a", "b"]) == [None, None]
    await first.put("a", GONE)
    assert await second.get("a") == GONE
    await second.put("a", LATER)
    assert await first.get_all(["b", "a"]) == [None, LATER]
    await first.forget("a")
    await first.forget("never put")
    assert await second.get("a") is None


# Counts


async def test_counts_of_all_nodes_add_up(nodes: Nodes) -> None:
    """Also when they count at the same time."""
    every = [nodes.counts() for _ in range(4)]

    def counted(node: RunningCounts) -> None:
        for _ in range(50):
            node.add(ONE)

    await asyncio.gather(*(asyncio.to_thread(counted, node) for node in every))
    assert all(node.read() == Counts(bytes=2000, bodies=200, entries=200) for node in every)


async def test_count_that_is_put_right_keeps_what_was_added_meanwhile(nodes: Nodes) -> None:
    first, second = nodes.counts(), nodes.counts()
    first.add(ONE)
    before = first.read()
    second.add(ONE)
    first.settle(Counts(bytes=100, bodies=5, entries=5), before=before)
    assert second.read() == Counts(bytes=110, bodies=6, entries=6)
