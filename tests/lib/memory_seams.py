"""A store in memory behind the seams. It shows that only the protocols are needed.

Every node of one store sees the same dictionaries.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cache.across.failures import RememberedFailure
from cache.across.seams import Blob, BlobState
from cache.across.usage import Counts
from cache.base.errors import BlobChanged
from cache.base.keys import source_key
from cache.originals.refs import ListUnreadable


@dataclass(slots=True)
class MemoryOpen:
    """A blob as it was opened."""

    blob: Blob

    @property
    def state(self) -> BlobState:
        return self.blob.state

    def read(self, start: int, size: int) -> bytes:
        return self.blob.data[start : start + size]


@dataclass(slots=True)
class MemoryBlobs:
    """Compares and changes in one step, as an object store does."""

    held: dict[str, Blob] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    busy: threading.Lock = field(default_factory=threading.Lock)

    def where(self, name: str) -> str:
        return f"memory:{name}"

    def state(self, name: str) -> BlobState | None:
        blob = self.held.get(name)
        return None if blob is None else blob.state

    def read(self, name: str, max_bytes: int = -1) -> Blob:
        if name not in self.held:
            raise FileNotFoundError(name)
        blob = self.held[name]
        return blob if max_bytes < 0 else Blob(blob.data[:max_bytes], blob.state)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[MemoryOpen]:
        yield MemoryOpen(self.read(name))

    def write(self, name: str, content: bytes | Path, *, known: BlobState | None) -> None:
        data = content if isinstance(content, bytes) else content.read_bytes()
        with self.busy:
            self._require(name, known)
            self.held[name] = Blob(data, BlobState(len(data), (next(self.numbers),)))

    def take_back(self, name: str, aside: Path) -> None:
        self.held.pop(name, None)

    def delete(self, name: str, *, known: BlobState | None) -> bool:
        with self.busy:
            self._require(name, known)
            return self.held.pop(name, None) is not None

    def settle(self, name: str) -> None:
        return

    def adopt(self, name: str) -> None:
        return

    def shards(self) -> Sequence[str]:
        return sorted({name[:2] for name in self.held})

    def irregular(self) -> Iterator[str]:
        return iter(())

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        yield from sorted(
            (name, blob.state.size) for name, blob in self.held.items() if name.startswith(prefix)
        )

    def _require(self, name: str, known: BlobState | None) -> None:
        if self.state(name) != known:
            raise BlobChanged(name)


@dataclass(slots=True)
class MemoryList:
    """Who uses one body."""

    keys: set[str]
    is_complete: bool
    aside: bool | None


@dataclass(slots=True)
class MemoryLists:
    lists: dict[str, MemoryList] = field(default_factory=dict)

    def is_complete(self, sha256: str) -> bool:
        return sha256 in self.lists and self.lists[sha256].is_complete

    def aside(self, sha256: str) -> bool | None:
        return self.lists[sha256].aside if sha256 in self.lists else None

    def covers(self, sha256: str, key: str) -> bool:
        return self.is_complete(sha256) and key in self.lists[sha256].keys

    def keys(self, sha256: str) -> Iterator[str]:
        if sha256 not in self.lists:
            raise ListUnreadable(sha256)
        yield from sorted(self.lists[sha256].keys)

    def others(self, sha256: str, key: str) -> Iterator[str]:
        keys = list(self.keys(sha256))
        yield from [other for other in keys if other > key] + [other for other in keys if other < key]

    def add(
        self, sha256: str, key: str, *, body_is_new: bool, aside: bool, judge: Callable[[], bool]
    ) -> None:
        known = self.lists.setdefault(sha256, MemoryList(set(), body_is_new, aside))
        known.keys.add(key)
        known.aside = aside or (judge() if known.aside is None else known.aside)

    def mark_aside(self, sha256: str) -> None:
        if sha256 in self.lists:
            self.lists[sha256].aside = True

    def replace(self, sha256: str, keys: Iterable[str], *, complete: bool, aside: bool | None = None) -> None:
        self.lists[sha256] = MemoryList(set(keys), complete, aside)

    def remove(self, sha256: str) -> None:
        self.lists.pop(sha256, None)


@dataclass(frozen=True, slots=True)
class MemoryHeld:
    """A lock that is held."""

    lock: asyncio.Lock
    waited: bool

    def release(self) -> None:
        self.lock.release()


@dataclass(slots=True)
class MemoryExclusion:
    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

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
    numbers: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    epoch: int = 1

    def stamp(self, url: str) -> int:
        return self.numbers[source_key(url)]

    def stamp_of_key(self, key: str) -> int:
        return self.numbers[key]

    def bump(self, url: str) -> None:
        self.numbers[source_key(url)] += 1


@dataclass(slots=True)
class MemoryFailures:
    known: dict[str, RememberedFailure] = field(default_factory=dict)

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


@dataclass(frozen=True, slots=True)
class MemorySeams:
    """One store; every node of it is this object."""

    entries: MemoryBlobs = field(default_factory=MemoryBlobs)
    bodies: MemoryBlobs = field(default_factory=MemoryBlobs)
    users: MemoryLists = field(default_factory=MemoryLists)
    exclusion: MemoryExclusion = field(default_factory=MemoryExclusion)
    stamps: MemoryStamps = field(default_factory=MemoryStamps)
    failures: MemoryFailures = field(default_factory=MemoryFailures)
    overloads: MemoryFailures = field(default_factory=MemoryFailures)
    counts: MemoryCounts = field(default_factory=MemoryCounts)

    def close(self) -> None:
        """Every node is the same object, so nothing is released."""
