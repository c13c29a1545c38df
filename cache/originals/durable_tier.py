"""Originals: the durable tier. Plain files, nothing is ever evicted. Runs on the event loop, files in threads.

Knows entries, bodies, and who may change them when. Refuses to know where they come from, whether they are fresh
and what they show. Safe beside other processes on the same folder, and beside a restart at any instant.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiofiles

from cache.across.failures import Failure, Failures
from cache.across.file_locks import KeyLocks
from cache.across.generations import Generations
from cache.across.source_locks import Exclusion
from cache.base.durable import PRIVATE, Durable, Modes, abandoned, create_aside, refusal
from cache.base.entry import Entry
from cache.base.errors import (
    CacheError,
    NotKept,
    SourceBlocked,
    StoreFull,
    StoreRefused,
    StoreUnreadable,
    StoreUnwritable,
    Superseded,
)
from cache.base.keys import source_key
from cache.base.layout import Layout, is_digest, is_folder_readable, mark_again, prepare, size_of
from cache.base.opening import open_regular, regular_status
from cache.base.rights import unreadable, unwritable
from cache.base.spelling import former_spelling
from cache.base.threads import StoreThreads
from cache.originals.articles import ArticleIndex
from cache.originals.blocklist import Blocks
from cache.originals.bodies import Bodies, Condition, identity_of
from cache.originals.elsewhere import Elsewhere
from cache.originals.entryfiles import EntryFiles
from cache.originals.history import History, StoreParts
from cache.originals.incoming import Incoming
from cache.originals.keeper import Arrived, Done, Gone, Keeper, Purged
from cache.originals.landing import Landing
from cache.originals.usage import Counts, Usage
from cache.upkeep.backup import Backup, BackupReport, copy_of
from cache.upkeep.census import Census, Note, StoreStat, count_shard, shards_of
from cache.upkeep.scrub import ENTRY, Damage, Scrub
from cache.upkeep.verify import Finding, Progress, Verification, VerifyReport

__all__ = ["Gone", "Incoming", "Originals", "Purged", "StoreStat", "VerifyReport"]

log = logging.getLogger(__name__)

LATELY_SECONDS = 300.0
"""How long a disk that did not take an original is said to be at fault, when nothing was kept since."""

MIN_FREE_FILES = 32
"""What one commit may need: a body, an entry, a list of users in sixteen parts, a folder for each, and copies aside."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop keeping new originals."""

    min_free_bytes: int
    max_bytes: int | None


class Originals:
    """The originals kept in a folder.

    Commit: 1. The body is fsynced aside. 2. The source, then the body's digest are locked against every other
    process. 3. Blocked, purged meanwhile or no room: nothing is kept. 4. Body, list of users and entry come into
    place in that order (see `Keeper`). 5. When the source has other bytes than before, its generation changes,
    after the entry is there: who reads the stamp first and the entry then is never wrong.

    Purge: the same locks, the reverse order, and always a new generation.
    """

    elsewhere: Elsewhere | None = None
    """Where bodies go that this disk does not take, so that they can be served; the caller that set it closes it.
    None: the system's temporary folder."""

    def __init__(
        self, layout: Layout, limits: Limits, *, now: Callable[[], float], look: bool = False
    ) -> None:
        durable = Durable(layout.incoming, layout.modes)
        self._layout = layout
        self._limits = limits
        self._now = now
        self._threads = StoreThreads("originals")
        self._blocks = Blocks(layout, durable)
        self._usage = Usage(layout.root / "usage")
        self._counting: asyncio.Task[None] | None = None
        self._refusal = ("", 0.0)
        self.locks = KeyLocks(layout.root / "locks")
        self.generations = Generations(
            layout.root / "generations", aside=layout.incoming, make=not look, modes=layout.modes
        )
        self.articles = ArticleIndex(layout, durable, self._threads)
        self.failures = Failures(layout.root / "failures", self._threads, layout.modes)
        self.overloads = Failures(layout.root / "overloads", self._threads, layout.modes)
        self._exclusion = Exclusion(self.locks)
        self.scrub = Scrub(layout, durable, self._threads, self.locks)
        self._bodies = Bodies(layout, self._note_damage)
        self._entries = EntryFiles(layout)
        self._keeper = Keeper(layout, durable, self._entries, self._bodies)
        self.history = History(
            StoreParts(
                layout,
                self._threads,
                self._keeper,
                self._entries,
                self._exclusion,
                self._usage,
                self.generations,
                self._blocks.contains,
                self._has_room_for,
            )
        )

    @classmethod
    async def open(  # noqa: PLR0913 - limits, and what opening may do
        cls,
        folder: Path,
        *,
        min_free_bytes: int = 0,
        max_bytes: int | None = None,
        tidy: bool = True,
        look: bool = False,
        modes: Modes = PRIVATE,
        now: Callable[[], float] = time.time,
    ) -> Originals:
        """Open the store in a folder, making it when there is none.

        With `tidy`, temporary files of processes that are gone are removed. With `look`, nothing is made, removed or
        put right, unless a method is called that does.

        Raises:
            StoreRefused: the folder holds code or foreign files.
            StoreUnreadable: it cannot be looked at or made.
        """
        layout = await asyncio.to_thread(prepare, folder, tidy=tidy, look=look, modes=modes)
        store = cls(layout, Limits(min_free_bytes, max_bytes), now=now, look=look)
        if not look and not await store._threads.read(store._count_is_right):
            store._counting = asyncio.create_task(store._count_anew())
        return store

    async def close(self) -> None:
        """Wait for what is being written, then release everything."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait((self._counting,))
        await self._threads.close()
        self.generations.close()
        self.locks.close()

    # Reading

    async def get(self, url: str) -> Entry | None:
        """Return the entry of a source; None when there is none, or it is damaged (which is logged)."""
        await self._moved(url)
        return await self._threads.read(self._entry, url)

    async def confirm(self, url: str) -> Entry | None:
        """Return the entry of a source once it is sure to survive kill -9 and power loss; None as `get`.

        An entry that can be read may be that of a process which died before its last fsync.

        Raises:
            StoreFull, StoreUnwritable: the disk reported an error.
        """
        await self._moved(url)
        return await self._threads.write(self._keeper.confirmed, source_key(url))

    async def look_up(self, url: str) -> tuple[bool, Entry | None]:
        """Return `is_blocked` and `get` of a source, at the price of one.

        Raises:
            StoreUnreadable: nobody can tell whether it is blocked.
        """
        await self._moved(url)
        return await self._threads.read(self._looked_up, url)

    async def look_up_with_failure(
        self, url: str, failure_key: str | None
    ) -> tuple[bool, Entry | None, Failure | None]:
        """Return `is_blocked` and `get` of a source, and what is remembered under `failure_key`, at the price of one.

        Raises:
            StoreUnreadable: nobody can tell whether it is blocked.
        """
        await self._moved(url)
        return await self._threads.read(
            lambda: (self._blocks.contains(url), *self._got_with_failure(url, failure_key))
        )

    async def get_and_failure(self, url: str, failure_key: str | None) -> tuple[Entry | None, Failure | None]:
        """Return `get` of a source and what is remembered under `failure_key`, at the price of one."""
        await self._moved(url)
        return await self._threads.read(self._got_with_failure, url, failure_key)

    def body_path(self, sha256: str) -> Path:
        """Return where the body with this digest lies, if it is kept."""
        return self._layout.body(sha256)

    async def read_body(self, sha256: str) -> bytes:
        """Return a whole body.

        Raises:
            OSError: it is not there or cannot be read.
        """
        async with aiofiles.open(
            self._layout.body(sha256), "rb", opener=_opened, executor=self._threads.executor
        ) as reader:
            return await reader.read()

    async def condition(self, sha256: str) -> Condition:
        """Return whether a body is as it was kept; see `bodies.py` for when its digest is compared.

        Raises:
            OSError: it is not there or cannot be read.
        """
        return await self._threads.read(self._bodies.condition, sha256)

    async def salvage(self, url: str) -> Entry | None:
        """Return what can still be told of the damaged entry of a source; None when that is nothing."""
        return await self._threads.read(self._salvaged, url)

    async def entries(self) -> AsyncIterator[Entry]:
        """Yield every readable entry, in the order of their keys."""
        for shard in await self._threads.read(shards_of, self._layout.entries):
            for entry in await self._threads.read(self._entries_of, shard):
                yield entry

    async def blocks(self) -> list[tuple[str, str]]:
        """Return every blocked source with the reason, sorted."""
        return await self._threads.read(self._blocks.everything)

    async def is_blocked(self, url: str) -> bool:
        """Whether a purge said that the source is never to be kept again.

        Raises:
            StoreUnreadable: nobody can tell.
        """
        return await self._threads.read(self._blocks.contains, url)

    # Keeping

    def land(self) -> Landing:
        """Return a body to be written by a thread; use it as `with store.land() as landing`."""
        return Landing(self._layout)

    def receive(self) -> Incoming:
        """Return a body to be received; use it as `async with store.receive() as incoming`."""
        return Incoming(self._layout, self._threads, self.elsewhere)

    async def commit(self, entry: Entry, incoming: Incoming | None, *, stamp: int | None = None) -> None:
        """Keep an original; it survives kill -9 and power loss when this returns.

        Without `incoming`, only what is said about the same bytes is replaced. With `stamp`, read before the
        fetch began, an original that was purged or changed since is not kept.

        Raises:
            NotKept: StoreFull, StoreUnwritable, SourceBlocked or Superseded. What was kept before still stands.
                After StoreHangs it may be kept later.
        """
        committing = asyncio.create_task(self._committed(entry, incoming, stamp))
        if incoming is not None:
            incoming.outlive(committing)
        try:
            await self._threads.unless_hung(committing)
        except (StoreFull, StoreUnwritable) as error:
            self._refusal = str(error), self._now()
            raise
        self._refusal = "", 0.0

    async def _committed(self, entry: Entry, incoming: Incoming | None, stamp: int | None) -> None:
        if incoming is not None:
            _require_agreement(entry, incoming)
            await incoming.sync()
        async with self._exclusion.source(entry.key, (entry.body_sha256,)):
            if incoming is not None and (reason := self._lack_of_room(incoming.size)):
                raise StoreFull(reason)
            try:
                bytes_changed = await self._threads.write(self._commit, entry, incoming, stamp)
            except BaseException as error:
                # When this is cancelled the thread comes to its end; when it fails, the body may lie in its place.
                followed = incoming is not None and incoming.follow(self._layout.body(entry.body_sha256))
                if followed or isinstance(error, asyncio.CancelledError):
                    self.generations.bump(entry.source)
                raise
            if bytes_changed:
                self.generations.bump(entry.source)

    async def purge(self, url: str) -> Purged:
        """Delete what is kept of a source; true in every process when this returns.

        Bodies that other entries name stay.

        Raises:
            StoreUnwritable: the disk refused.
        """
        await self._moved(url)
        return await self._purge(url)

    async def _purge(self, url: str) -> Purged:
        key = source_key(url)
        async with self._exclusion.source(key):
            bodies = await self._threads.read(self._entries.named_bodies, key)
            async with self._exclusion.bodies(bodies):
                try:
                    purged, change = await self._threads.write(self._keeper.purge, key, bodies)
                finally:
                    self.generations.bump(url)
                await self._threads.read(self._usage.add, change)
        return purged

    async def purge_preview(self, url: str, gone: Gone | None = None) -> Purged:
        """Return what `purge` would do; one `gone` for several is what they would do one after the other."""
        former = former_spelling(url)
        if former is not None and await self._threads.read(self._entries.entry, source_key(url)) is None:
            url = former
        return await self._threads.read(self._keeper.preview, source_key(url), {} if gone is None else gone)

    async def block(self, url: str, reason: str) -> None:
        """Never keep this source again; what is kept of it stays until it is purged."""
        async with self._exclusion.source(source_key(url)):
            try:
                await self._threads.write(self._blocks.add, url, reason, now=self._now())
            finally:
                self.generations.bump(url)

    async def unblock(self, url: str) -> bool:
        """Lift a block; return whether there was one."""
        async with self._exclusion.source(source_key(url)):
            return await self._threads.write(self._blocks.remove, url)

    # Looking after

    def reconfigure(self, *, min_free_bytes: int, max_bytes: int | None) -> None:
        """Take new limits from now on."""
        self._limits = Limits(min_free_bytes, max_bytes)

    def kept_bytes(self) -> int:
        """Return the running count of bytes kept; see `usage.py` for how right it is."""
        return self._usage.read().bytes

    def kept(self) -> Counts:
        """Return the running counts of bytes, bodies and entries."""
        return self._usage.read()

    def free_bytes(self) -> int:
        """Return the free bytes of the disk; 0 when it cannot be asked."""
        try:
            status = os.statvfs(self._layout.root)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize

    def free_files(self) -> int | None:
        """Return how many more files the disk takes; None where it has no limit, or cannot be asked."""
        return free_files(self._layout.root)

    def room_for(self, size: int) -> bool:
        """Whether a new original of `size` bytes would be kept."""
        return self.free_bytes() - size >= self._limits.min_free_bytes and not self._lack_of_room(size)

    @property
    def hangs(self) -> bool:
        """Whether the disk has not answered for longer than a disk takes."""
        return self._threads.hangs

    def lately_refused(self) -> str:
        """Return why the last original was not kept, when that was a few minutes ago; empty when it was."""
        reason, at = self._refusal
        return reason if reason and self._now() - at < LATELY_SECONDS else ""

    def unreadable(self) -> list[str]:
        """Return the names of the folders that this process cannot read. Blocking."""
        return unreadable(self._layout)

    def unwritable(self) -> list[str]:
        """Return the names of the folders in which this process can make nothing. Blocking."""
        return unwritable(self._layout)

    def readable(self) -> bool:
        """Whether kept originals can be read, as far as a quick look tells."""
        layout = self._layout
        return size_of(layout.marker) is not None and all(
            map(is_folder_readable, (layout.entries, layout.bodies))
        )

    def writable(self) -> bool:
        """Whether a file can be made in the store."""
        try:
            descriptor, path = create_aside(self._layout.incoming, suffix=".part", modes=self._layout.modes)
        except OSError:
            return False
        os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return True

    async def stat(self, progress: Progress | None = None, note: Note | None = None) -> StoreStat:
        """Count what is kept, looking at every file, and put the running count right.

        `note` is called with every entry, in a thread of the store.
        """
        async with self._exclusion.held("count"):
            before = self._usage.read()
            census = await self._counted(progress, note)
            stat, counts = census.result()
            await self._threads.read(self._usage.settle, counts, before=before)
        return stat

    async def purge_orphans(
        self, progress: Progress | None = None, *, dry_run: bool = False
    ) -> tuple[int, int]:
        """Delete bodies that no entry names; return how many and how many bytes they had.

        They are what a crash, or the end of the longest history, leaves; nobody was told that they are kept.

        Raises:
            StoreUnreadable: an entry could not be read, so nothing was deleted.
            StoreUnwritable: the disk refused.
        """
        census = await self._counted(progress, None)
        if dry_run:
            stat, _ = census.result()
            return stat.orphans, stat.orphan_bytes
        if not census.is_sure:
            raise StoreUnreadable("entries cannot be read, so nobody knows which bodies have no name")
        count = freed = 0
        for sha256 in census.orphans:
            async with self._exclusion.bodies((sha256,)):
                size = await self._threads.write(self._keeper.delete_orphan, sha256)
            if size is not None:
                await self._threads.read(self._usage.add, Counts(-size, bodies=-1))
                count, freed = count + 1, freed + size
        return count, freed

    async def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Compare everything kept with its digest; changes nothing."""
        verification = await self._threads.read(Verification, self._layout)
        for number, step in enumerate(verification.steps(), start=1):
            await self._threads.read(step)
            if progress:
                progress(number, max(number, verification.total))
        return verification.report

    async def backup(self, target: Path, progress: Progress | None = None) -> BackupReport:
        """Bring the copy of this store in `target` up to date, making it when there is none; see `backup.py`.

        Raises:
            StoreRefused: `target` holds something else, or lies in this store, or this store in it; or nothing is
                kept here and the copy would be emptied; or another backup to it is running.
            StoreUnreadable, OSError: it cannot be used, or the disk refused; what came so far is whole.
        """
        copy = await asyncio.to_thread(copy_of, self._layout, target)
        locks = KeyLocks(copy.root / "locks")
        try:
            async with locks.held_if_free("backup") as mine:
                if not mine:
                    raise StoreRefused(f"another backup to {target} is running")
                backup = Backup(self._layout, copy)
                steps = await self._threads.read(backup.steps)
                for number, step in enumerate(steps, start=1):
                    await self._threads.write(step)
                    if progress:
                        progress(number, len(steps))
        finally:
            locks.close()
        return backup.report

    async def still_wrong(self, report: VerifyReport) -> list[Finding]:
        """Return what is wrong still of what a verification found, looking again at that alone."""
        verification = await self._threads.read(Verification, self._layout, report)
        return [item for item in report.wrong if await self._threads.read(verification.is_still_wrong, item)]

    async def remove_leftovers(self, *, dry_run: bool = False) -> list[Path]:
        """Remove temporary files whose owner is gone; return them."""
        return await self._threads.write(abandoned, self._layout.incoming, remove=not dry_run)

    # Inside

    def _entry(self, url: str) -> Entry | None:
        """Return the entry of a source; that of its former spelling where it could not be moved."""
        entry = self._entries.entry(source_key(url))
        former = former_spelling(url)
        if entry is None and former is not None:
            found = self._entries.entry(source_key(former))
            entry = found.respelled() if found else None
        return entry

    async def _moved(self, url: str) -> None:
        """Move what is kept under the former spelling of a source to the present one, users and history included.

        1. Nobody else moves it. 2. The entry is written under the present spelling; its bodies stay where they are.
        3. The former entry is deleted. A move that ends between is done again; one that fails is tried again.
        """
        former = former_spelling(url)
        if former is None or await self._threads.read(self._entries.entry, source_key(former)) is None:
            return
        try:
            async with self._exclusion.held(f"former {source_key(former)}"):
                found = await self._threads.read(self._entries.entry, source_key(former))
                if found is not None:
                    await self.history.restore(found.respelled(), {}, may_displace=True)
                    await self._purge(former)
        except NotKept as error:
            log.warning("what is kept of %s stays under its former spelling: %s", url, error)

    async def _counted(self, progress: Progress | None, note: Note | None) -> Census:
        census = Census(self._layout, note)
        bodies = await self._threads.read(shards_of, self._layout.bodies)
        entries = await self._threads.read(shards_of, self._layout.entries)
        steps = [*((census.take_bodies, shard) for shard in bodies)]
        steps += [*((census.take_entries, shard) for shard in entries)]
        for number, (step, shard) in enumerate(steps, start=1):
            await self._threads.read(step, shard)
            if progress:
                progress(number, len(steps))
        return census

    def _got_with_failure(self, url: str, failure_key: str | None) -> tuple[Entry | None, Failure | None]:
        failure = self.failures.read(failure_key) if failure_key else None
        return self._entry(url), failure

    def _looked_up(self, url: str) -> tuple[bool, Entry | None]:
        return self._blocks.contains(url), self._entry(url)

    def _note_damage(self, sha256: str, condition: Condition) -> None:
        self.scrub.note(Damage(sha256, "damaged", condition.identity))

    def _salvaged(self, url: str) -> Entry | None:
        found = self._entries.salvaged(url)
        if found is not None:
            status = regular_status(self._layout.entry(found.key))
            self.scrub.note(Damage(found.key, ENTRY, identity_of(status) if status else (), found.key))
        return found

    def _commit(self, entry: Entry, incoming: Incoming | None, stamp: int | None) -> bool:
        """Keep an original, in one thread from the question to the count; return whether other bytes were kept."""
        self._require_welcome(entry.source, stamp)
        done = self._keeper.update(entry) if incoming is None else self._kept(entry, incoming)
        self._usage.add(done.change)
        return done.bytes_changed

    def _kept(self, entry: Entry, incoming: Incoming) -> Done:
        try:
            mark_again(self._layout)
        except OSError as error:
            raise refusal(error) from error
        done = self._keeper.keep(entry, Arrived(incoming.path, incoming.sha256, incoming.size))
        if done.body_moved:
            incoming.settle(self._layout.body(entry.body_sha256))
        return done

    def _has_room_for(self, size: int) -> bool:
        return not self._lack_of_room(size)

    def _lack_of_room(self, size: int) -> str:
        """Return why a body that lies on this disk already is not kept; empty when there is room."""
        files = self.free_files()
        if self.free_bytes() < self._limits.min_free_bytes:
            return "store.min_free is reached"
        if files is not None and files < MIN_FREE_FILES:
            return "the disk takes no more files: it is out of inodes"
        return "" if self._within_budget(size) else "store.originals_max_bytes is reached"

    def _within_budget(self, size: int) -> bool:
        return self._limits.max_bytes is None or self.kept_bytes() + size <= self._limits.max_bytes

    def _require_welcome(self, url: str, stamp: int | None) -> None:
        if self._blocks.contains(url):
            raise SourceBlocked(f"{url} was blocked by a purge")
        if stamp is not None and self.generations.stamp(url) != stamp:
            raise Superseded(f"{url} was purged or changed meanwhile")

    def _entries_of(self, shard: str) -> list[Entry]:
        names = (path.stem for path in sorted((self._layout.entries / shard).glob("*.json")))
        found = (self._entries.entry(key) for key in names if is_digest(key) and key[:2] == shard)
        return [entry for entry in found if entry is not None]

    def _count_is_right(self) -> bool:
        if not self._usage.trusted() and not shards_of(self._layout.entries, self._layout.bodies):
            self._usage.settle(Counts(), before=self._usage.read())
        return self._usage.trusted()

    async def _count_anew(self) -> None:
        # What is kept while this runs may be counted twice: too much, never too little.
        try:
            async with self.locks.hold("count"):
                if self._usage.trusted():
                    return
                before, counts = self._usage.read(), Counts()
                for shard in await self._threads.read(shards_of, self._layout.entries, self._layout.bodies):
                    counts += await self._threads.read(count_shard, self._layout, shard)
                await self._threads.read(self._usage.settle, counts, before=before)
        except (CacheError, OSError) as error:
            log.warning("what is kept could not be counted: %s", error)


def free_files(folder: Path) -> int | None:
    """Return how many more files the disk of a folder takes; None where it has no limit, or cannot be asked."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_favail if status.f_files else None


def _opened(path: str, flags: int) -> int:
    return open_regular(Path(path), flags)


def _require_agreement(entry: Entry, incoming: Incoming) -> None:
    if (entry.body_sha256, entry.body_size) != (incoming.sha256, incoming.size):
        raise ValueError("the entry is not that of the body")
