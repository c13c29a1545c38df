"""Scrub: slowly reads every kept body from time to time and compares it with its digest. Event loop, files in threads.

Disks lose bits silently, and a mirror may hold the only copy. Damage should be known while the origin can still be
asked. A store has one scrubber, however many processes use it. The file `scrub` holds its position and its findings
for every process to read, and may be deleted at any time. Repairs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cache.across.file_blobs import identity_of
from cache.across.seams import KeyExclusion, Version
from cache.base.durable import Durable
from cache.base.errors import StoreHangs
from cache.base.keys import source_key
from cache.base.layout import FOLDERS, Layout, is_digest, size_of
from cache.base.opening import open_regular, read_regular, regular_status
from cache.base.shards import SHARDS, sized_files
from cache.base.threads import StoreThreads
from cache.originals.bodies import digest_of
from cache.upkeep.verify import Verification

log = logging.getLogger(__name__)

PIECE_BYTES = 256 * 1024
LEAST_PASS_SECONDS = 86400.0
"""Passes begin at least a day apart, so that a small store is not read continuously."""

IDLE_SECONDS = 60.0
MAX_REMEMBERED = 100
ENTRY = "entry"
"""The kind of damage to an entry. All other kinds are damage to bodies."""

MAX_STATE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged or missing body or entry.

    sha256: the name of the file. identity: its inode, size and modification time in ns; empty when it is missing.
    key: the key of the entry that lacks its body.
    """

    sha256: str
    kind: str
    identity: Version = ()
    key: str = ""

    @property
    def shard(self) -> str:
        """The folder in which the damage was found."""
        return (self.key or self.sha256)[:2]


@dataclass(frozen=True, slots=True)
class ScrubState:
    """The progress of the scrubber: folders done in this pass, when it began, when the last whole one ended (unix
    seconds, 0 for never), what it read in this pass, and what it found lately."""

    done: int = 0
    begun_at: float = 0.0
    finished_at: float = 0.0
    bodies: int = 0
    bytes: int = 0
    damage: tuple[Damage, ...] = ()


Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True)
class ScrubPace:
    """Computes pauses so that on average at most a given number of bytes is read per second."""

    free_at: float = 0.0

    def rest_seconds(self, size: int, *, rate: int, now: float) -> float:
        """Return the pause after reading `size` bytes at `now`."""
        self.free_at = max(self.free_at, now) + size / rate
        return self.free_at - now


@dataclass(slots=True)
class Clock:
    """The clock and the way to sleep. Tests replace both."""

    now: Callable[[], float] = time.time
    sleep: Sleep = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class _ShardFindings:
    """The findings of one folder."""

    bodies: int = 0
    bytes: int = 0
    damage: list[Damage] = field(default_factory=list)


class Scrub:
    """Checks one folder after the other, forever.

    1. Take the lock of the scrub. A process that does not get it tries again once a minute.
    2. Read the bodies of a folder in pieces with pauses in between, and check that the body of each entry exists.
    3. Check apparent damage once more, because a purge or a repair may have happened meanwhile.
    4. Write the state after each folder, so that a restart continues there. Skip empty and missing folders together: a
       pass over a new store is one job, and the next pass begins a day later.
    """

    def __init__(
        self,
        layout: Layout,
        durable: Durable,
        threads: StoreThreads,
        locks: KeyExclusion,
        clock: Clock | None = None,
    ) -> None:
        self._layout = layout
        self._durable = durable
        self._threads = threads
        self._locks = locks
        self._clock = clock or Clock()
        self._pace = ScrubPace()

    async def run(
        self, rate: Callable[[], int], on_bytes: Callable[[int], None] = lambda _size: None
    ) -> None:
        """Scrub at `rate()` bytes per second until cancelled; pause while it is 0. `on_bytes` gets the bytes read."""
        while True:
            async with self._locks.held_if_free("scrub") as mine:
                while mine and rate() > 0:
                    await self._step(rate, on_bytes)
            await self._clock.sleep(IDLE_SECONDS)

    def note(self, damage: Damage) -> None:
        """Record damage that was found elsewhere. Blocking."""
        state = self.state()
        if damage not in state.damage:
            self._write(replace(state, damage=_one_of_each(damage, *state.damage)))

    def state(self) -> ScrubState:
        """Return the state after the last folder, without damage that has been repaired or purged since. Blocking."""
        known = _read(self._path)
        return replace(known, damage=tuple(item for item in known.damage if self._is_there(item)))

    @property
    def _path(self) -> Path:
        return self._layout.root / "scrub"

    async def _step(self, rate: Callable[[], int], on_bytes: Callable[[int], None]) -> None:
        state = await self._threads.read(self.state)
        now = self._clock.now()
        if state.done == 0 and 0 <= now - state.begun_at < LEAST_PASS_SECONDS:
            await self._clock.sleep(IDLE_SECONDS)
            return
        if state.done == 0:
            await self._threads.read(self._mend_rooms)
        # Most folders of a small store are empty, or not there; one job passes over all of them at once.
        last = await self._threads.read(_first_in_use, self._layout, state.done)
        found = await self._checked(SHARDS[last], rate, on_bytes) if last >= 0 else _ShardFindings()
        # Other processes may have recorded damage while the folder was read.
        noted = await self._threads.read(self.state)
        passed = SHARDS[state.done : last + 1] if last >= 0 else SHARDS[state.done :]
        state = _after(
            replace(state, damage=noted.damage), passed, found, begun_at=now, now=self._clock.now()
        )
        try:
            written = await self._threads.write(self._write, state)
        except StoreHangs:
            written = False
        if not written:
            # The position was not saved, so without a pause the next step would immediately repeat this one.
            await self._clock.sleep(IDLE_SECONDS)

    async def _checked(
        self, shard: str, rate: Callable[[], int], on_bytes: Callable[[int], None]
    ) -> _ShardFindings:
        found = _ShardFindings()
        for name, _ in await self._threads.read(sized_files, self._layout.bodies / shard):
            if not is_digest(name):
                continue
            path = self._layout.bodies / shard / name
            size, digest = await self._digest(path, rate, on_bytes)
            found.bodies += 1
            found.bytes += size
            if digest != name and (damage := await self._threads.read(_confirmed, path)):
                log.error("the body %s is damaged; `imgmirror store verify` reports more", path)
                found.damage.append(damage)
        found.damage += await self._threads.read(self._missing, shard)
        await self._threads.read(self._mend, shard)
        # Charge a folder without bodies too, so that empty folders are not read without pauses.
        await self._rest(1, rate)
        return found

    async def _digest(
        self, path: Path, rate: Callable[[], int], on_bytes: Callable[[int], None]
    ) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        try:
            while read := await self._threads.read(_take_piece, path, size, digest):
                size += read
                on_bytes(read)
                await self._rest(read, rate)
        except OSError:
            return size, ""
        return size, digest.hexdigest()

    async def _rest(self, size: int, rate: Callable[[], int]) -> None:
        # If the rate becomes 0 meanwhile, finish this folder very slowly and do not begin the next one.
        pause = self._pace.rest_seconds(
            size, rate=max(rate(), PIECE_BYTES // 60), now=self._clock.monotonic()
        )
        await self._clock.sleep(pause)

    def _mend_rooms(self) -> None:
        """Give the folders of the store the mode that the configuration asks for."""
        root = self._layout.root
        for path in (root, self._layout.marker, *(root / name for name in FOLDERS)):
            self._layout.modes.mend(path)

    def _mend(self, shard: str) -> None:
        """Give the files and folders of one shard the mode that the configuration asks for."""
        mend, root = self._layout.modes.mend, self._layout.root
        for folder in (root / name / shard for name in FOLDERS):
            mend(folder)
            for name, _ in sized_files(folder):
                mend(folder / name)

    def _missing(self, shard: str) -> list[Damage]:
        verification = Verification(self._layout)
        verification.entries_of(shard)
        found = []
        for name, (first, *_) in verification.report.hurt.items():
            key = source_key(first)
            found.append(Damage(name, "missing", _identity(self._layout.body(name)), key))
        wrong = (Path(item.path) for item in verification.report.wrong if item.kind == "entry_unreadable")
        return found + [Damage(path.stem, ENTRY, _identity(path), path.stem) for path in wrong]

    def _is_there(self, item: Damage) -> bool:
        if not is_digest(item.sha256) or (item.key and not is_digest(item.key)):
            return False
        if item.key and size_of(self._layout.entry(item.key)) is None:
            return False  # purged since
        if item.kind == ENTRY:
            return _identity(self._layout.entry(item.key)) == item.identity
        return _identity(self._layout.body(item.sha256)) == item.identity

    def _write(self, state: ScrubState) -> bool:
        known = {
            "done": state.done,
            "begun_at": state.begun_at,
            "finished_at": state.finished_at,
            "bodies": state.bodies,
            "bytes": state.bytes,
            "damage": [[item.sha256, item.kind, list(item.identity), item.key] for item in state.damage],
        }
        if size_of(self._layout.marker) is None:
            return False  # the store was deleted while it was open; do not create a folder again
        try:
            self._durable.write_unsynced(self._path, json.dumps(known, indent=1).encode("ascii") + b"\n")
        except OSError as error:
            log.warning("the position of the scrub cannot be written: %s", error)
            return False
        return True


def _after(
    state: ScrubState, passed: Sequence[str], found: _ShardFindings, *, begun_at: float, now: float
) -> ScrubState:
    """Return the state after more folders. The first folders of a pass reset the counts."""
    is_first = state.done == 0
    done = (state.done + len(passed)) % len(SHARDS)
    kept = [item for item in state.damage if item.shard not in passed]
    return ScrubState(
        done=done,
        begun_at=begun_at if is_first else state.begun_at,
        finished_at=state.finished_at if done else now,
        bodies=found.bodies + (0 if is_first else state.bodies),
        bytes=found.bytes + (0 if is_first else state.bytes),
        damage=_one_of_each(*found.damage, *kept),
    )


def _first_in_use(layout: Layout, start: int) -> int:
    """Return the number of the first shard from `start` on in which any room has something; -1 when there is none."""
    rooms = [folder for room in FOLDERS if (folder := layout.root / room).exists()]
    shards = range(start, len(SHARDS))
    return next((n for n in shards if any(_holds(f"{room}/{SHARDS[n]}") for room in rooms)), -1)


def _holds(folder: str) -> bool:
    """Return whether a folder contains anything."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as items:
        return next(items, None) is not None
    return False


def _one_of_each(*damage: Damage) -> tuple[Damage, ...]:
    """Return one damage per file. A truncated body is found twice: by its digest, and by the size in its entry."""
    known: dict[str, Damage] = {}
    for item in damage:
        known.setdefault(item.sha256, item)
    return tuple(known.values())[:MAX_REMEMBERED]


def _take_piece(path: Path, offset: int, digest: hashlib._Hash) -> int:
    """Hash the next piece of a file; return its length in bytes."""
    # Opened for each piece: a descriptor must not be closed under a thread that still reads when we are cancelled.
    descriptor = open_regular(path)
    try:
        piece = os.pread(descriptor, PIECE_BYTES, offset)
    finally:
        os.close(descriptor)
    digest.update(piece)
    return len(piece)


def _confirmed(path: Path) -> Damage | None:
    """Check an apparently damaged body again; return None when it is intact or gone."""
    identity = _identity(path)
    try:
        return (
            None if not identity or digest_of(path) == path.name else Damage(path.name, "damaged", identity)
        )
    except FileNotFoundError:
        return None
    except OSError:
        return Damage(path.name, "unreadable", identity)


def _identity(path: Path) -> tuple[int, ...]:
    try:
        status = regular_status(path)
    except OSError:
        return ()
    return () if status is None else identity_of(status)


def _read(path: Path) -> ScrubState:
    try:
        known = json.loads(read_regular(path, MAX_STATE_BYTES))
        damage = tuple(_damage(item) for item in known["damage"])
        numbers = {name: _number(known[name]) for name in ("begun_at", "finished_at")}
        counts = {name: int(_number(known[name])) for name in ("bodies", "bytes")}
        done = int(_number(known["done"])) % len(SHARDS)
        return ScrubState(
            done, numbers["begun_at"], numbers["finished_at"], counts["bodies"], counts["bytes"], damage
        )
    except FileNotFoundError:
        return ScrubState()
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        log.warning("the position of the scrub cannot be read; it begins anew: %s", error)
        return ScrubState()


def _damage(item: Any) -> Damage:
    name, kind, identity, key = item
    return Damage(str(name), str(kind), tuple(map(int, identity)), str(key))


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1 << 62:
        raise ValueError("not a number")
    return value
