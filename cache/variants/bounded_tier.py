"""Variants: the bounded tier, on diskcache. May be deleted at any time, even while serving.

Returns bytes or nothing: any fault of the disk, the database or a row is a miss, counted in `faults` and logged. Runs
on the event loop. Two threads use the database, one for reading and one for writing, so that a write never delays a
read. Does not know the meaning of the bytes.

Settings, and why:
    least-recently-used     requested variants stay. For that, diskcache would write to the database at every read. We
                            read with a policy that does not, and note the use of a key once an hour
    disk_min_file_size      from 1 KiB on, a variant has its own file: a hit reads it without a thread (`PageCache`),
                            and a web server in front can send it. Notes are in the database
    cull_limit 16           a write to a full store deletes up to 16 variants, so it shrinks faster than it grows
    sqlite_mmap_size 0      if somebody truncates a mapped database, the process is killed (SIGBUS)
    tag_index               deleting by tag (the digest of the original) does not read the whole table
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cache.base.durable import GROUP, PRIVATE, Modes
from cache.base.errors import StoreRefused
from cache.base.layout import refuse_code
from cache.base.opening import LocalFile
from cache.base.page_cache import KeptFile, PageCache
from cache.variants.lane import ShelfLane
from cache.variants.safe_disk import CHECK_BYTES, ValueFile, check_of
from cache.variants.shelf import DATABASE, Shelf, looked_into, make_folder

log = logging.getLogger(__name__)


FILE_BYTES = 1024
"""Variants from this size on have their own files. Smaller ones are in the database, after their check."""

AT_HAND_BYTES = 256 * 1024
"""The largest file that the event loop reads itself. Copying it from the page cache takes 30 microseconds."""

PATIENCE_SECONDS = 3.0
"""How long an answer waits for the database. diskcache itself may wait a minute to open one that is locked."""

MAX_QUEUED = 256
"""When more operations are waiting, storing or looking up is not worth the wait."""

TOUCH_SECONDS = 3600.0
MAX_TOUCHED = 32_768
MAX_TAGGED = 2000
LARGEST_SHARE = 8
"""The largest fraction of the budget for a single variant."""

_SETTINGS: dict[str, object] = {
    "cull_limit": 16,
    "disk_min_file_size": FILE_BYTES,
    # 8 MiB for each of the two connections. The kernel holds the database as well, once for all workers.
    "sqlite_cache_size": 2048,
    "sqlite_mmap_size": 0,
    "statistics": 0,
    "tag_index": 1,
}


@dataclass(frozen=True, slots=True)
class VariantsStat:
    """The content of the tier in figures."""

    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0
    faults: int = 0


@dataclass(frozen=True, slots=True)
class FoundVariant:
    """The bytes of a variant. file: the file that holds them; None when they are in the database."""

    body: bytes
    file: KeptFile | None = None


@dataclass(frozen=True, slots=True)
class VariantRow:
    """A stored variant or note, without its bytes. used_at: when its use was last recorded, Unix seconds."""

    key: str
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class VariantNote:
    """A short row beside variants. revise: returns its new value for its present one; None leaves it unchanged."""

    key: str
    revise: Callable[[bytes | None], bytes | None]


class Variants:
    """Rendered bytes by key, the least recently used forgotten first."""

    def __init__(
        self, folder: Path, *, max_bytes: int, modes: Modes = PRIVATE, now: Callable[[], float]
    ) -> None:
        limit = {**_SETTINGS, "size_limit": max_bytes}
        self.folder = LocalFile(folder.absolute())
        self.max_bytes = max_bytes
        self.modes = modes
        self.faults = 0
        self._page_cache = PageCache(folder)
        self._looks = False
        self._now = now
        self._touched: dict[int, float] = {}
        self._touching: set[asyncio.Task[None]] = set()
        self._reads = ShelfLane(self._shelf({**limit, "eviction_policy": "none"}), "variants-read")
        self._writes = ShelfLane(
            self._shelf({**limit, "eviction_policy": "least-recently-used"}), "variants-write"
        )

    @classmethod
    async def open(
        cls,
        folder: Path,
        *,
        max_bytes: int,
        look: bool = False,
        modes: Modes = PRIVATE,
        now: Callable[[], float] = time.time,
    ) -> Variants:
        """Open the tier in a folder; create the folder if necessary.

        A folder or database that cannot be used now is a fault, not an error; each use tries it again. With `look`,
        nothing is created, and `stat` changes no file, not even diskcache's settings in the database.

        Raises:
            StoreRefused: the folder holds code or foreign files.
        """
        variants = cls(folder, max_bytes=max_bytes, modes=modes, now=now)
        variants._looks = look
        if look:
            return variants
        await asyncio.to_thread(_prepare, folder, modes)
        for lane in (variants._writes, variants._reads):
            await lane.use(bool, otherwise=False)
        return variants

    async def close(self) -> None:
        """Wait for running operations and close the database."""
        if self._touching:
            await asyncio.wait(self._touching)
        for lane in (self._reads, self._writes):
            await lane.close()

    async def get(self, key: str) -> bytes | None:
        """Return the bytes of a variant, or None."""
        found = await self.find(key)
        return found.body if found else None

    async def find(self, key: str) -> FoundVariant | None:
        """Return the bytes of a variant and their file, or None."""
        found = await self._reads.use_soon(
            lambda cache: _found(key, cache.get(key, read=True)),
            otherwise=None,
            seconds=PATIENCE_SECONDS,
            max_queued=MAX_QUEUED,
        )
        if found is None:
            return None
        if isinstance(found, _Damaged):
            self._fault()
            log.warning("a damaged variant is forgotten: %s", key)
            await self.delete(key)
            return None
        self.note_use(key)
        return found

    def read_at_hand(self, file: KeptFile) -> bytes | None:
        """Return the bytes of a variant without waiting; None when that is impossible or the variant is gone."""
        if file.state.size > AT_HAND_BYTES:
            return None
        body = self._page_cache.read(file.path, file.state)
        if body is not None:
            self.note_use(file.key)
        return body

    def is_at_hand(self, file: KeptFile) -> bool:
        """Return whether a file can be sent as it is; False also when finding out would require waiting."""
        if not self._page_cache.holds(file.path, file.state):
            return False
        self.note_use(file.key)
        return True

    async def put(self, key: str, body: bytes, *, tag: str, note: VariantNote | None = None) -> bool:
        """Keep a variant, after `note`; return False when it is too large or cannot be stored."""
        is_small_enough = len(body) <= self.max_bytes // LARGEST_SHARE

        def stored(cache: Any) -> bool:
            # One transaction for both: locks and pages of the database are written once. diskcache deletes files that
            # this displaces before the end of it. After a crash in between, their rows are misses.
            with cache.transact():
                if note is not None:
                    _annotate(cache, note, tag)
                return is_small_enough and bool(cache.set(key, _as_stored(key, body), tag=tag))

        if not is_small_enough and note is None:
            return False
        return await self._writes.use_soon(
            stored, otherwise=False, seconds=PATIENCE_SECONDS, max_queued=MAX_QUEUED
        )

    async def delete(self, key: str) -> bool:
        """Delete a variant; return whether it existed."""
        return bool(await self._writes.use(lambda cache: cache.delete(key), otherwise=False))

    async def evict(self, tag: str) -> int:
        """Delete every variant with this tag; return their number."""
        return int(await self._writes.use(lambda cache: cache.evict(tag), otherwise=0))

    async def cull(self) -> int:
        """Delete the least recently used variants down to the budget; return their number."""
        return int(await self._writes.use(lambda cache: cache.cull(), otherwise=0))

    async def clear(self) -> int:
        """Delete all variants; return their number."""
        return int(await self._writes.use(lambda cache: cache.clear(), otherwise=0))

    async def tagged(self, tag: str) -> list[VariantRow]:
        """Return what is stored with a tag, in no order, `MAX_TAGGED` at most; nothing if it cannot be read."""
        return await asyncio.to_thread(_tagged, self.folder, tag)

    async def stat(self) -> VariantsStat:
        """Return figures about the tier; zeros when it cannot be read."""
        if self._looks:
            count, size = await asyncio.to_thread(_counted, self.folder)
        else:
            count, size = await self._reads.use(lambda cache: (len(cache), cache.volume()), otherwise=(0, 0))
        return VariantsStat(count, size, self.max_bytes, self.faults)

    def _shelf(self, settings: dict[str, object]) -> Shelf:
        return Shelf(self.folder, settings, modes=self.modes, on_fault=self._fault)

    def _fault(self) -> None:
        self.faults += 1

    def note_use(self, key: str) -> None:
        """Note soon that a variant was requested, at most once an hour."""
        now = self._now()
        # Use the hash of the key: keys are long, and a collision only costs a time that is not recorded.
        mark = hash(key)
        if abs(now - self._touched.get(mark, -TOUCH_SECONDS)) < TOUCH_SECONDS:
            return
        if len(self._touched) >= MAX_TOUCHED:
            self._touched.clear()
        self._touched[mark] = now
        task = asyncio.create_task(self._touch(key))
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _touch(self, key: str) -> None:
        # Reading through the writing lane makes diskcache record the time.
        await self._writes.use(lambda cache: cache.get(key) is not None, otherwise=False)


def _counted(folder: Path) -> tuple[int, int]:
    """Return what diskcache's `len` and `volume` would, read from the database without opening it for more."""
    try:
        with looked_into(folder) as connection:
            known = dict(connection.execute("SELECT key, value FROM Settings WHERE key IN ('count', 'size')"))
            ((pages,),) = connection.execute("PRAGMA page_count")
            ((page_bytes,),) = connection.execute("PRAGMA page_size")
            return int(known["count"]), pages * page_bytes + int(known["size"])
    except (sqlite3.Error, LookupError, ValueError, TypeError) as error:
        log.debug("the variants in %s cannot be counted: %s", folder, error)
        return 0, 0


def _tagged(folder: Path, tag: str) -> list[VariantRow]:
    """Return the rows with a tag, read without opening the database for more. Blocking."""
    query = "SELECT key, size, length(value), access_time FROM Cache WHERE tag = ? LIMIT ?"
    try:
        with looked_into(folder) as connection:
            rows = connection.execute(query, (tag, MAX_TAGGED)).fetchall()
    except sqlite3.Error as error:
        log.debug("the variants of %s cannot be listed: %s", tag, error)
        return []
    # A small value lies in the row, after its check.
    return [
        VariantRow(str(key), int(size or max(0, (inside or 0) - CHECK_BYTES)), float(used_at or 0))
        for key, size, inside, used_at in rows
    ]


class _Damaged:
    """A marker for bytes that differ from those stored."""


def _found(key: str, stored: object) -> FoundVariant | _Damaged | None:
    """Return the value of a row after comparing it with its check. Blocking."""
    if stored is None:
        return None
    if isinstance(stored, ValueFile) and stored.check:
        if stored.check != check_of(key, stored.body).hex():
            return _Damaged()
        if (
            len(stored.body) < FILE_BYTES + CHECK_BYTES
            and (small := _without_check(key, stored.body)) is not None
        ):
            # Too small for a file by itself, large enough for one with its check.
            return FoundVariant(small)
        return FoundVariant(stored.body, KeptFile(key, os.fsencode(stored.path), stored.state))
    if isinstance(stored, ValueFile):
        # diskcache chose the name: the check lies before the bytes.
        stored = stored.body
    if not isinstance(stored, bytes):
        return _Damaged()
    body = _without_check(key, stored)
    return _Damaged() if body is None else FoundVariant(body)


def _annotate(cache: Any, note: VariantNote, tag: str) -> None:
    """Update a note, if `revise` returns a new value. Blocking."""
    found = _found(note.key, cache.get(note.key, read=True))
    revised = note.revise(found.body if isinstance(found, FoundVariant) else None)
    if revised is not None:
        cache.set(note.key, _as_stored(note.key, revised), tag=tag)


def _as_stored(key: str, body: bytes) -> bytes:
    """Return the value of a row. A small one begins with its check; for a larger one, the name of its file contains
    it."""
    return body if len(body) >= FILE_BYTES else check_of(key, body) + body


def _without_check(key: str, stored: bytes) -> bytes | None:
    """Return the bytes after their check, or None when the check does not match."""
    body = stored[CHECK_BYTES:]
    return body if stored[:CHECK_BYTES] == check_of(key, body) else None


def _prepare(folder: Path, modes: Modes) -> None:
    refuse_code(folder)
    if os.path.expandvars(folder) != str(folder):
        # diskcache would put the value of the variable in its place.
        raise StoreRefused(f"{folder} has the name of a variable in it")
    with contextlib.suppress(FileNotFoundError):
        names = {path.name for path in folder.iterdir()}
        if names and not names & {"CACHEDIR.TAG", DATABASE} and names != {"lost+found"}:
            raise StoreRefused(f"{folder} is not empty and was not made for variants")
    try:
        make_folder(folder, modes)
        if modes is GROUP or stat.S_IMODE(folder.stat().st_mode) & 0o077:
            modes.mend(folder)
    except OSError as error:
        log.warning("variants cannot be stored in %s: %s", folder, error)
