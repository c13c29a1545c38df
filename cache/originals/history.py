"""History: the other bytes of a source besides the current ones. Runs on the event loop, files in threads.

Sets bytes aside, replaces one version by another, deletes history on request, and finds the users of a body. Does not
judge what a placeholder looks like.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cache.across.seams import StoreSeams
from cache.across.source_locks import Exclusion
from cache.base.entry import Entry, Former
from cache.base.errors import SourceBlocked, StoreFull, Superseded
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.base.page_cache import PageCache
from cache.base.threads import StoreThreads
from cache.originals.entryfiles import EntryFiles
from cache.originals.incoming import Incoming
from cache.originals.keeper import Arrived, Gone, Keeper, Purged

Choice = Callable[[Entry], frozenset[str]]
"""Selects the digests of an entry's history to delete."""


@dataclass(frozen=True, slots=True)
class StoreParts:
    """The parts that `Originals` shares with its helpers."""

    layout: Layout
    threads: StoreThreads
    seams: StoreSeams
    keeper: Keeper
    entries: EntryFiles
    exclusion: Exclusion
    blocked: Callable[[str], bool]
    room: Callable[[int], bool]


class History:
    """The versions of sources. Each change writes the entry durably before it deletes a body."""

    def __init__(self, parts: StoreParts) -> None:
        self._parts = parts
        self._page_cache = PageCache(parts.layout.root)

    async def set_aside(self, url: str, other: Former, incoming: Incoming, *, stamp: int) -> None:
        """Keep a body of a source as history. The kept original stays current.

        Raises:
            NotKept: StoreFull, StoreUnwritable, SourceBlocked, or Superseded if the source was purged or changed.
        """
        parts, key = self._parts, source_key(url)
        await incoming.sync()
        async with parts.exclusion.source(key, (other.body_sha256,)):
            if await parts.threads.read(parts.blocked, url):
                raise SourceBlocked(f"{url} was blocked by a purge")
            if parts.seams.stamps.stamp(url) != stamp:
                raise Superseded(f"{url} was purged or changed meanwhile")
            if not parts.room(incoming.size):
                raise StoreFull("min_free or originals_max_bytes is reached")
            arrived = incoming.arrived()
            try:
                change = await parts.threads.write(parts.keeper.set_aside, key, other, arrived)
            finally:
                incoming.follow(parts.layout.body(incoming.sha256))
            await parts.threads.read(parts.seams.counts.add, change)

    async def promote(self, url: str, sha256: str, *, note: str = "") -> Entry | None:
        """Make bytes of the history the current ones. The former ones become history, with `note`.

        Return the new entry, or None if the source is not kept, its history does not contain these bytes, or their body
        is gone.

        Raises:
            StoreFull, StoreUnwritable: the disk refused; nothing has changed.
            Superseded: the source was purged or changed meanwhile.
        """
        parts, key = self._parts, source_key(url)
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(parts.exclusion.source(key))
            entry = await parts.threads.read(parts.entries.entry, key)
            # Setting the current bytes aside also changes the list of their users.
            present = (entry.body_sha256,) if entry else ()
            await held.enter_async_context(parts.exclusion.bodies((sha256, *present)))
            former = (
                next((item for item in entry.history if item.body_sha256 == sha256), None) if entry else None
            )
            if former is None or await self._size_of(sha256) != former.body_size:
                # Another process may have done just that and died before its fsync.
                await parts.threads.write(parts.keeper.confirmed, key)
                return None
            try:
                promoted, change = await parts.threads.write(
                    parts.keeper.revise, key, lambda known: known.promoting(sha256, note=note)
                )
            finally:
                parts.seams.stamps.bump(url)
            await parts.threads.read(parts.seams.counts.add, change)
        return promoted

    async def purge(self, url: str, choose: Choice, *, would_go: Gone | None = None) -> Purged:
        """Delete the versions that `choose` selects, never the current one. On return this holds in every process.

        With `would_go`, only report what would be deleted after the versions that it remembers.

        Raises:
            StoreUnwritable: the disk refused.
        """
        parts, key = self._parts, source_key(url)
        async with parts.exclusion.source(key):
            entry = await parts.threads.read(parts.entries.entry, key)
            chosen = choose(entry) - {entry.body_sha256} if entry else frozenset()
            named = (
                tuple(item.body_sha256 for item in entry.history if item.body_sha256 in chosen)
                if entry
                else ()
            )
            if not named:
                if would_go is None:
                    # Another process may have done just that and died before its fsync.
                    await parts.threads.write(parts.keeper.confirmed, key)
                return Purged(found=False)
            async with parts.exclusion.bodies(named):
                if would_go is not None:
                    return await parts.threads.read(parts.keeper.trim_preview, key, named, would_go)
                purged, change = await parts.threads.write(parts.keeper.trim, key, named)
                await parts.threads.read(parts.seams.counts.add, change)
        return purged

    async def restore(
        self, theirs: Entry, arrived: Mapping[str, Arrived], *, may_displace: bool
    ) -> tuple[Entry, Entry | None]:
        """Add an entry from elsewhere, whose bodies are fsynced aside; return the new entry and the one before it.

        Raises:
            NotKept: SourceBlocked, StoreFull, StoreUnwritable; Superseded if its current body is not available.
        """
        parts = self._parts
        async with parts.exclusion.source(theirs.key, theirs.digests):
            if await parts.threads.read(parts.blocked, theirs.source):
                raise SourceBlocked(f"{theirs.source} was blocked by a purge")
            new = [item for item in arrived.values() if await self._size_of(item.sha256) != item.size]
            if new and not parts.room(sum(item.size for item in new)):
                raise StoreFull("min_free or originals_max_bytes is reached")
            now, before, change = await parts.threads.write(
                parts.keeper.restore, theirs, arrived, may_displace=may_displace
            )
            if before is not None and before.body_sha256 != now.body_sha256:
                parts.seams.stamps.bump(now.source)
            await parts.threads.read(parts.seams.counts.add, change)
        return now, before

    async def _size_of(self, sha256: str) -> int | None:
        state = await self._parts.threads.read(self._parts.seams.bodies.state, sha256)
        return None if state is None else state.size

    def is_shared(self, sha256: str) -> bool:
        """Return whether more than one entry may name a body. Blocking."""
        return self._parts.keeper.users.is_shared(sha256)

    async def users_of(self, sha256: str, *, most: int) -> list[Entry]:
        """Return entries that name a body as their current or a former one, `most` at most.

        They come from the index, so some may be missing. This suffices for judging a body, but not for deleting it.
        """
        return await self._parts.threads.read(self._parts.keeper.users.find, sha256, most)

    async def who_set_aside(self, sha256: str, *, most: int) -> list[Entry]:
        """Return entries whose history notes that these bytes were set aside, as far as `users_of` finds them.

        Nearly every new body has no list of users. If the kernel's memory shows that, no job of a thread is needed.
        """
        if self._page_cache.is_absent(os.fsencode(self._parts.layout.ref(sha256))):
            return []
        return await self._parts.threads.read(self._parts.keeper.users.who_set_aside, sha256, most)
