"""Originals: the durable tier together with its upkeep. Runs on the event loop, files in threads.

`cache.originals.keeping` keeps, reads and purges originals. This module adds counting, comparing with digests, copying,
scrubbing, and checks of the disk's room and permissions.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from pathlib import Path

from cache.across.file_blobs import FileBlobs
from cache.across.file_locks import KeyLocks
from cache.across.seams import Version
from cache.across.usage import Counts
from cache.base.durable import Durable, abandoned
from cache.base.errors import CacheError, StoreRefused, StoreUnreadable
from cache.base.layout import Layout
from cache.base.opening import LocalFile
from cache.base.rights import is_readable, is_writable, unreadable, unwritable
from cache.catalogue import totals
from cache.catalogue.catalogue import Catalogue
from cache.catalogue.database import NoCatalogueError, TooManyError
from cache.catalogue.keepingup import CatalogueService
from cache.originals.incoming import Incoming
from cache.originals.keeper import Gone, Purged
from cache.originals.keeping import OriginalFiles
from cache.originals.roomleft import MIN_FREE_FILES, KeepingLimits, free_files
from cache.upkeep.backup import Backup, BackupReport, copy_of
from cache.upkeep.census import Census, Note, StoreStat, count_shard
from cache.upkeep.scrub import ENTRY, Damage, Scrub
from cache.upkeep.verify import Progress, StoreFault, Verification, VerifyReport

__all__ = [
    "MIN_FREE_FILES",
    "Gone",
    "Incoming",
    "Originals",
    "Purged",
    "StoreStat",
    "VerifyReport",
    "free_files",
]

log = logging.getLogger(__name__)

LATELY_SECONDS = 300.0
"""How long the disk counts as failing after it refused an original, if none was kept since."""


STAT_SECONDS = 120.0
"""How long the catalogue may take to add everything up."""


class Originals(OriginalFiles):
    """The originals kept in a folder, and operations on all of them."""

    def __init__(
        self, layout: Layout, limits: KeepingLimits, *, now: Callable[[], float], look: bool = False
    ) -> None:
        entries = FileBlobs(layout.entry, Durable(layout.incoming, layout.modes))
        notes = Catalogue(layout, entries, lambda: self.generations, look=look)
        super().__init__(layout, limits, now=now, notes=notes, look=look)
        self.catalogue = CatalogueService(notes, self._threads, self.locks)
        self.articles.finder = self.catalogue
        self._counting: asyncio.Task[None] | None = None
        self.scrub = Scrub(layout, self._durable, self._threads, self.locks)

    async def close(self) -> None:
        """Wait for pending writes, then release everything."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait((self._counting,))
        await super().close()

    async def stat(self, progress: Progress | None = None, note: Note | None = None) -> StoreStat:
        """Count everything that is kept by reading every file, and correct the running count.

        `note` is called with every entry, in a thread of the store.
        """
        async with self._exclusion.held("count"):
            before = self._usage.read()
            census = await self._counted(progress, note)
            blocked = await self._threads.read(self._blocks.count)
            stat, counts = census.result(blocked=blocked)
            await self._threads.read(self._usage.settle, counts, before=before)
        return stat

    async def stat_from_catalogue(self, progress: Progress | None = None) -> StoreStat | None:
        """Return the figures of `stat` from the catalogue and the list of bodies, without reading entries.

        Return None if the catalogue does not know everything. The running count stays as it is.
        """
        if not await self.catalogue.is_settled():
            return None
        try:
            known = await self.catalogue.ask(totals.sums, seconds=STAT_SECONDS)
            named = await self.catalogue.ask(lambda it: set(totals.named_bodies(it)), seconds=STAT_SECONDS)
        except (NoCatalogueError, TooManyError):
            return None
        if known.unreadable:
            return None  # the bodies of an unreadable entry are found only in its text
        sizes, orphans = Counts(), Counts()
        shards = await self._threads.read(self._seams.bodies.shards)
        for number, shard in enumerate(shards, start=1):
            present, nameless = await self._threads.read(self._sizes, shard, named)
            sizes, orphans = sizes + present, orphans + nameless
            if progress:
                progress(number, len(shards))
        return StoreStat(
            entries=known.pictures,
            bodies=sizes.bodies,
            entry_bytes=known.entry_bytes,
            body_bytes=sizes.bytes,
            shared_bytes=known.present_bytes - known.distinct_bytes,
            damaged=known.damaged,
            blocked=known.blocked,
            recovered=known.recovered,
            former=known.versions,
            former_bytes=known.former_bytes,
            set_aside=known.set_aside,
            orphans=orphans.bodies,
            orphan_bytes=orphans.bytes,
        )

    async def purge_orphans(
        self, progress: Progress | None = None, *, dry_run: bool = False
    ) -> tuple[int, int]:
        """Delete bodies that no entry names; return their number and their bytes.

        A crash leaves such bodies, and so does the end of the longest history. Nobody was told that they are kept.

        Raises:
            StoreUnreadable: an entry could not be read, so nothing was deleted.
            StoreUnwritable: the disk refused.
        """
        census = await self._counted(progress, None)
        if dry_run:
            stat, _ = census.result()
            return stat.orphans, stat.orphan_bytes
        if not census.is_sure:
            raise StoreUnreadable("entries cannot be read, so bodies without an entry cannot be found")
        count = freed = 0
        for sha256 in census.orphans:
            async with self._exclusion.bodies((sha256,)):
                size = await self._threads.write(self._keeper.delete_orphan, sha256)
            if size is not None:
                await self._threads.read(self._usage.add, Counts(-size, bodies=-1))
                count, freed = count + 1, freed + size
        return count, freed

    async def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Compare everything kept with its digest without changing anything."""
        verification = await self._threads.read(Verification, self._layout)
        for number, step in enumerate(verification.steps(), start=1):
            await self._threads.read(step)
            if progress:
                progress(number, max(number, verification.total))
        return verification.report

    async def backup(self, target: Path, progress: Progress | None = None) -> BackupReport:
        """Update the copy of this store in `target`, or create it; see `backup.py`.

        Raises:
            StoreRefused: `target` holds something else, or one of the two stores lies in the other; or this store is
                empty and its copy would be emptied; or another backup to `target` is running.
            StoreUnreadable, OSError: `target` cannot be used, or the disk refused. Everything copied so far is valid.
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

    async def forget_failures_from(self, since: float | None, before: float | None) -> None:
        """Forget the remembered failures that happened from `since` on and before `before` (Unix seconds), of all
        sources."""
        first, end = since or 0.0, math.inf if before is None else before
        await self.failures.forget_where(lambda failure: first <= failure.at < end)
        self.catalogue.notes.note_forgotten(since=first, before=end, at=self._now())
        await self.catalogue.flush()

    async def still_wrong(self, report: VerifyReport) -> list[StoreFault]:
        """Return the damage that remains of what a verification found; only that is checked again."""
        verification = await self._threads.read(Verification, self._layout, report)
        return [item for item in report.wrong if await self._threads.read(verification.is_still_wrong, item)]

    # The disk

    def reconfigure(self, *, min_free_bytes: int, max_bytes: int | None) -> None:
        """Use new limits from now on."""
        self._room.limits = KeepingLimits(min_free_bytes, max_bytes)

    def kept_bytes(self) -> int:
        """Return the running count of kept bytes; `usage.py` says how accurate it is."""
        return self._usage.read().bytes

    def kept(self) -> Counts:
        """Return the running counts of bytes, bodies and entries."""
        return self._usage.read()

    def free_bytes(self) -> int:
        """Return the free bytes of the disk; 0 if they cannot be determined."""
        return self._room.free_bytes()

    def free_files(self) -> int | None:
        """Return how many more files the disk can hold; None if it has no limit, or this cannot be determined."""
        return free_files(self._layout.root)

    def room_for(self, size: int) -> bool:
        """Return whether a new original of `size` bytes would be kept."""
        return self._room.has_place_for(size)

    @property
    def hangs(self) -> bool:
        """Whether the disk has not answered for longer than a working disk takes."""
        return self._threads.hangs

    def lately_refused(self) -> str:
        """Return why the last original was not kept, if that was a few minutes ago; empty if it was kept."""
        reason, at = self._refusal
        return reason if reason and self._now() - at < LATELY_SECONDS else ""

    def unreadable(self) -> list[str]:
        """Return the names of the folders that this process cannot read. Blocking."""
        return unreadable(self._layout)

    def unwritable(self) -> list[str]:
        """Return the names of the folders in which this process can create nothing. Blocking."""
        return unwritable(self._layout)

    def readable(self) -> bool:
        """Return whether kept originals can be read, as far as a quick check shows."""
        return is_readable(self._layout)

    def writable(self) -> bool:
        """Return whether a file can be created in the store."""
        return is_writable(self._layout)

    async def remove_leftovers(self, *, dry_run: bool = False) -> list[LocalFile]:
        """Remove temporary files whose owner is gone; return them."""
        removed = await self._threads.write(abandoned, self._layout.incoming, remove=not dry_run)
        return list(map(LocalFile, removed))

    # Inside

    async def _begin(self, *, look: bool) -> None:
        if not look and not await self._threads.read(self._count_is_right):
            self._counting = asyncio.create_task(self._count_anew())

    async def _finish(self) -> None:
        await self.catalogue.close()

    def _note(self, name: str, identity: Version, *, is_entry: bool) -> None:
        damage = Damage(name, ENTRY, identity, name) if is_entry else Damage(name, "damaged", identity)
        self.scrub.note(damage)

    async def _counted(self, progress: Progress | None, note: Note | None) -> Census:
        census = Census(self._seams, note)
        bodies = await self._threads.read(self._seams.bodies.shards)
        entries = await self._threads.read(self._seams.entries.shards)
        steps = [*((census.take_bodies, shard) for shard in bodies)]
        steps += [*((census.take_entries, shard) for shard in entries)]
        for number, (step, shard) in enumerate(steps, start=1):
            await self._threads.read(step, shard)
            if progress:
                progress(number, len(steps))
        return census

    def _sizes(self, shard: str, named: set[bytes]) -> tuple[Counts, Counts]:
        """Return the bodies of a shard, and those that no entry names."""
        present = nameless = Counts()
        for name, size in self._seams.bodies.list(shard):
            present += Counts(size, bodies=1)
            if bytes.fromhex(name) not in named:
                nameless += Counts(size, bodies=1)
        return present, nameless

    def _count_is_right(self) -> bool:
        if not self._usage.trusted() and not self._shards():
            self._usage.settle(Counts(), before=self._usage.read())
        return self._usage.trusted()

    def _shards(self) -> list[str]:
        return sorted({*self._seams.entries.shards(), *self._seams.bodies.shards()})

    async def _count_anew(self) -> None:
        # Originals kept during the count may be counted twice: the result may be too high, but never too low.
        try:
            async with self.locks.hold("count"):
                if self._usage.trusted():
                    return
                before, counts = self._usage.read(), Counts()
                for shard in await self._threads.read(self._shards):
                    counts += await self._threads.read(count_shard, self._seams, shard)
                await self._threads.read(self._usage.settle, counts, before=before)
        except (CacheError, OSError) as error:
            log.warning("the kept originals could not be counted: %s", error)
