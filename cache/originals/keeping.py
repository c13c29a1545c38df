"""Keeping: the durable tier. Plain files; nothing is ever evicted. Runs on the event loop, files in threads.

Knows entries, bodies, and who may change them when. Does not know where they come from, whether they are fresh, or what
they show. `cache.durable_tier` counts, compares and copies them, and asks the disk. Safe beside other processes on the
same folder, and beside a restart at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Self

from cache.across.elsewhere import Elsewhere
from cache.across.failures import RememberedFailure
from cache.across.file_seams import FileSeams
from cache.across.noted_blobs import NoNotes
from cache.across.seams import ChangeNotes, Kind, Version
from cache.across.source_locks import Exclusion
from cache.base.durable import PRIVATE, Durable, Modes, refusal
from cache.base.entry import Entry
from cache.base.errors import (
    NotKept,
    SourceBlocked,
    StoreFull,
    StoreHangs,
    StoreUnwritable,
    Superseded,
)
from cache.base.keys import source_key
from cache.base.layout import Layout, mark_again, prepare
from cache.base.opening import LocalFile
from cache.base.page_cache import PageCache
from cache.base.shards import SHARDS
from cache.base.spelling import former_spelling
from cache.base.threads import StoreThreads
from cache.originals.articles import ArticleIndex
from cache.originals.blocklist import Blocks
from cache.originals.bodies import Bodies, BodyFiles, Condition
from cache.originals.entryfiles import EntryFiles
from cache.originals.history import History, StoreParts
from cache.originals.incoming import Incoming
from cache.originals.keeper import Done, Gone, Keeper, Purged
from cache.originals.landing import Landing
from cache.originals.refs import Refs
from cache.originals.roomleft import KeepingLimits, StoreRoom

log = logging.getLogger(__name__)


class OriginalFiles:
    """The originals kept in a folder.

    Commit:
    1. The body is fsynced aside, unless the store has these bytes.
    2. The source and then the body's digest are locked against every other process.
    3. If the source is blocked, was purged meanwhile, or there is no room, nothing is kept.
    4. Body, list of users and entry are put at their places in that order (see `Keeper`).
    5. If the source has other bytes than before, its generation changes after the entry is at its place. A reader that
       reads the stamp first and the entry afterwards is therefore never wrong.

    A purge takes the same locks, performs the steps in reverse order, and always changes the generation.
    """

    elsewhere: Elsewhere | None = None
    """The folder for bodies that this disk refuses, so that they can be served. The caller that set it closes it. None:
    the system's temporary folder."""

    def __init__(
        self,
        layout: Layout,
        limits: KeepingLimits,
        *,
        now: Callable[[], float],
        notes: ChangeNotes | None = None,
        look: bool = False,
    ) -> None:
        self._notes = notes = notes or NoNotes()
        self._durable = durable = Durable(layout.incoming, layout.modes)
        self._layout = layout
        self._now = now
        self._threads = StoreThreads("originals")
        self._seams = seams = FileSeams(
            layout, durable, Refs(layout, durable), self._threads, notes=notes, make=not look
        )
        self._blocks = Blocks(layout, durable, notes)
        self._usage = seams.counts
        self._room = StoreRoom(layout.root, limits, self._usage)
        self._refusal = ("", 0.0)
        self._page_cache = PageCache(layout.root)
        self.locks = seams.exclusion
        self.generations = seams.stamps
        self.files = BodyFiles(layout, self._threads)
        self._exclusion = Exclusion(self.locks)
        self.articles = ArticleIndex(layout, durable, self._threads, self._exclusion, notes)
        self.failures = seams.failures
        self.overloads = seams.overloads
        self._bodies = Bodies(seams.bodies, self._note_damage)
        self._entries = EntryFiles(seams.entries, seams.bodies)
        self._keeper = Keeper(seams, self._entries, self._bodies)
        self.history = History(
            StoreParts(
                layout,
                self._threads,
                seams,
                self._keeper,
                self._entries,
                self._exclusion,
                self._blocks.contains,
                self._room.admits,
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
    ) -> Self:
        """Open the store in a folder; create it if there is none.

        `tidy` removes temporary files of processes that are gone. With `look`, nothing is created, removed or
        corrected, unless a method is called that does so.

        Raises:
            StoreRefused: the folder holds code or foreign files.
            StoreUnreadable: it cannot be examined or created.
        """
        layout = await asyncio.to_thread(prepare, folder, tidy=tidy, look=look, modes=modes)
        store = cls(layout, KeepingLimits(min_free_bytes, max_bytes), now=now, look=look)
        await store._begin(look=look)
        return store

    async def _begin(self, *, look: bool) -> None:
        """Run once after the store was opened."""

    async def make_shards(self) -> None:
        """Create the folders that commits write to, so that commits need not. If the disk refuses, commits create
        them."""
        try:
            await self._threads.write(self._make_shards)
        except (OSError, StoreHangs) as error:
            log.warning("the folders of the store cannot be made beforehand: %s", error)

    async def close(self) -> None:
        """Wait for pending writes, then release everything."""
        await self._threads.close()
        await self._finish()
        self._seams.close()

    async def _finish(self) -> None:
        """Run once after the last write, while the stamps are still shared."""

    # Reading

    async def get(self, url: str) -> Entry | None:
        """Return the entry of a source, or None if there is none or it is damaged (which is logged)."""
        await self._moved(url)
        return await self._threads.read(self._entry, url)

    async def is_unreadable(self, url: str) -> bool:
        """Return whether the entry of a source is there and cannot be read."""
        return await self._threads.read(self._entries.is_unreadable, source_key(url))

    async def confirm(self, url: str) -> Entry | None:
        """Return the entry of a source once it is durable; None as for `get`.

        A readable entry may have been written by a process that died before its last fsync.

        Raises:
            StoreFull, StoreUnwritable: the disk reported an error.
        """
        await self._moved(url)
        return await self._threads.write(self._keeper.confirmed, source_key(url))

    async def look_up(self, url: str) -> tuple[bool, Entry | None]:
        """Return `is_blocked` and `get` of a source, at the cost of one.

        Raises:
            StoreUnreadable: it cannot be determined whether the source is blocked.
        """
        await self._moved(url)
        return await self._threads.read(self._looked_up, url)

    async def look_up_with_failure(
        self, url: str, failure_key: str | None
    ) -> tuple[bool, Entry | None, RememberedFailure | None]:
        """Return `is_blocked` and `get` of a source, and the failure under `failure_key`, at the cost of one.

        Raises:
            StoreUnreadable: it cannot be determined whether the source is blocked.
        """
        await self._moved(url)
        return await self._threads.read(
            lambda: (self._blocks.contains(url), *self._got_with_failure(url, failure_key))
        )

    async def get_and_failure(
        self, url: str, failure_key: str | None
    ) -> tuple[Entry | None, RememberedFailure | None]:
        """Return `get` of a source and the failure under `failure_key`, at the cost of one.

        No job of a thread is needed if the kernel's memory shows that there is no entry, as it does for a while after a
        look-up.
        """
        await self._moved(url)
        if former_spelling(url) is None and self._page_cache.is_absent(
            os.fsencode(self._layout.entry(source_key(url)))
        ):
            is_at_hand, failure = self.failures.at_hand(failure_key) if failure_key else (True, None)
            if is_at_hand:
                return None, failure
        return await self._threads.read(self._got_with_failure, url, failure_key)

    def body_path(self, sha256: str) -> LocalFile:
        """Return the path of the body with this digest, whether it exists or not; for those who look after the
        folder."""
        return LocalFile(self._layout.body(sha256))

    async def has_body(self, sha256: str, size: int) -> bool:
        """Return whether a body of this digest and size is kept.

        Raises:
            OSError: this cannot be determined.
        """
        state = await self._threads.read(self._seams.bodies.state, sha256)
        return state is not None and state.size == size

    async def read_body(self, sha256: str) -> bytes:
        """Return a whole body.

        Raises:
            OSError: it does not exist or cannot be read.
        """
        return await self.files.read(sha256)

    async def condition(self, sha256: str) -> Condition:
        """Return the condition of a body; `bodies.py` says when its digest is compared.

        Raises:
            OSError: it does not exist or cannot be read.
        """
        return await self._threads.read(self._bodies.condition, sha256)

    async def salvage(self, url: str) -> Entry | None:
        """Return what can be recovered of the damaged entry of a source, or None if that is nothing."""
        return await self._threads.read(self._salvaged, url)

    async def entries(self) -> AsyncIterator[Entry]:
        """Yield every readable entry, in the order of their keys."""
        for shard in await self._threads.read(self._seams.entries.shards):
            for entry in await self._threads.read(self._entries_of, shard):
                yield entry

    async def blocks(self) -> list[tuple[str, str]]:
        """Return every blocked source with the reason, sorted."""
        return await self._threads.read(self._blocks.everything)

    async def is_blocked(self, url: str) -> bool:
        """Return whether a purge has blocked the source.

        Raises:
            StoreUnreadable: this cannot be determined.
        """
        return await self._threads.read(self._blocks.contains, url)

    async def block_reason(self, url: str) -> str:
        """Return why a source is blocked; empty if it is not, or if that is not recorded."""
        return await self._threads.read(self._blocks.reason_of, url)

    # Keeping

    def land(self) -> Landing:
        """Return a body to be written by a thread: `with store.land() as landing`."""
        return Landing(self._layout)

    def receive(self) -> Incoming:
        """Return a body to be received: `async with store.receive() as incoming`."""
        return Incoming(self._layout, self._threads, self.elsewhere)

    async def commit(self, entry: Entry, incoming: Incoming | None, *, stamp: int | None = None) -> None:
        """Keep an original. On return it survives kill -9 and power loss.

        Without `incoming`, only the facts about the same bytes are replaced. With `stamp`, read before the fetch began,
        an original that was purged or changed since is not kept.

        Raises:
            NotKept: StoreFull, StoreUnwritable, SourceBlocked or Superseded. Everything kept before is untouched. After
                StoreHangs the original may be kept later.
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
            try:
                bytes_changed = await self._threads.write(self._commit, entry, incoming, stamp)
            except BaseException as error:
                # If this is cancelled, the thread continues to its end. If it fails, the body may be at its final
                # place.
                followed = incoming is not None and incoming.follow(self._layout.body(entry.body_sha256))
                if followed or isinstance(error, asyncio.CancelledError):
                    self.generations.bump(entry.source)
                raise
            if bytes_changed:
                self.generations.bump(entry.source)

    async def purge(self, url: str) -> Purged:
        """Delete everything kept of a source. On return this holds in every process.

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
                # The catalogue looks again after the bump, which makes it forget the failure of the source.
                async with self._noted("entry", key):
                    try:
                        purged, change = await self._threads.write(self._keeper.purge, key, bodies)
                    finally:
                        self.generations.bump(url)
                await self._threads.read(self._usage.add, change)
        return purged

    async def forget_failures_of(self, origin: str) -> None:
        """Forget the remembered failures of all sources of an origin. On return this holds in every process.

        Raises:
            StoreUnreadable: other processes could not be told.
        """
        async with self._noted("origin", source_key(origin)):
            self.generations.bump(origin)

    async def purge_preview(self, url: str, gone: Gone | None = None) -> Purged:
        """Return what `purge` would do. With the same `gone`, several calls show what purges one after the other would
        do."""
        former = former_spelling(url)
        if former is not None and await self._threads.read(self._entries.entry, source_key(url)) is None:
            url = former
        return await self._threads.read(self._keeper.preview, source_key(url), {} if gone is None else gone)

    async def block(self, url: str, reason: str) -> None:
        """Never keep this source again. Its kept bytes stay until they are purged."""
        async with self._exclusion.source(source_key(url)):
            try:
                await self._threads.write(self._blocks.add, url, reason, now=self._now())
            finally:
                self.generations.bump(url)

    async def unblock(self, url: str) -> bool:
        """Remove a block; return whether there was one."""
        async with self._exclusion.source(source_key(url)):
            return await self._threads.write(self._blocks.remove, url)

    # Inside

    @contextlib.asynccontextmanager
    async def _noted(self, kind: Kind, key: str) -> AsyncIterator[None]:
        """Note what the block changes for the catalogue."""
        changing = self._notes.changing(kind, key)
        try:
            await self._threads.write(changing.__enter__)
            yield
        finally:
            await self._threads.read(changing.__exit__, None, None, None)

    def _make_shards(self) -> None:
        for room in (self._layout.bodies, self._layout.refs, self._layout.entries):
            self._durable.ensure_folders(room, SHARDS)

    def _entry(self, url: str) -> Entry | None:
        """Return the entry of a source, or the one under its former spelling if that could not be moved."""
        entry = self._entries.entry(source_key(url))
        former = former_spelling(url)
        if entry is None and former is not None:
            found = self._entries.entry(source_key(former))
            entry = found.respelled() if found else None
        return entry

    async def _moved(self, url: str) -> None:
        """Move everything kept under the former spelling of a source to the present one, including users and history.

        1. Exclude all other processes.
        2. Write the entry under the present spelling. Its bodies stay at their places.
        3. Delete the former entry. An interrupted move is repeated, and a failed one is tried again.
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

    def _note(self, name: str, identity: Version, *, is_entry: bool) -> None:
        """Report a damaged file to the durable tier, which remembers it. Blocking."""

    def _note_damage(self, sha256: str, condition: Condition) -> None:
        self._note(sha256, condition.identity, is_entry=False)

    def _salvaged(self, url: str) -> Entry | None:
        found = self._entries.salvaged(url)
        if found is not None:
            state = self._seams.entries.state(found.key)
            self._note(found.key, state.version if state else (), is_entry=True)
        return found

    def _got_with_failure(
        self, url: str, failure_key: str | None
    ) -> tuple[Entry | None, RememberedFailure | None]:
        failure = self.failures.read(failure_key) if failure_key else None
        return self._entry(url), failure

    def _looked_up(self, url: str) -> tuple[bool, Entry | None]:
        return self._blocks.contains(url), self._entry(url)

    def _commit(self, entry: Entry, incoming: Incoming | None, stamp: int | None) -> bool:
        """Keep an original, in a single thread from the check to the count; return whether different bytes were
        kept."""
        if incoming is not None and (reason := self._room.lack(incoming.size)):
            raise StoreFull(reason)
        self._require_welcome(entry.source, stamp)
        done = self._keeper.update(entry) if incoming is None else self._kept(entry, incoming)
        self._usage.add(done.change)
        return done.bytes_changed

    def _kept(self, entry: Entry, incoming: Incoming) -> Done:
        try:
            mark_again(self._layout)
        except OSError as error:
            raise refusal(error) from error
        done = self._keeper.keep(entry, incoming.arrived())
        if done.body_moved:
            incoming.settle(self._layout.body(entry.body_sha256))
        return done

    def _require_welcome(self, url: str, stamp: int | None) -> None:
        if self._blocks.contains(url):
            raise SourceBlocked(f"{url} was blocked by a purge")
        if stamp is not None and self.generations.stamp(url) != stamp:
            raise Superseded(f"{url} was purged or changed meanwhile")

    def _entries_of(self, shard: str) -> list[Entry]:
        found = (self._entries.entry(key) for key, _ in self._seams.entries.list(shard))
        return [entry for entry in found if entry is not None]


def _require_agreement(entry: Entry, incoming: Incoming) -> None:
    if (entry.body_sha256, entry.body_size) != (incoming.sha256, incoming.size):
        raise ValueError("the entry is not that of the body")
