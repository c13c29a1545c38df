"""The keeper: the order in which bodies, lists of users and entries appear and disappear.

This order ensures that an original reported as kept survives kill -9 and power loss, and that a crash at any point
leaves at most a body that no entry names. Only the implementations of blobs (`cache.across.seams`) know whether these
are files. Knows nothing of locks and tasks: the caller excludes others from the source and from the bodies concerned.
If another change happens in between nevertheless, `Superseded` is raised, and nothing is tried again. Blocking: runs in
the store's threads.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from cache.across.seams import StoreSeams
from cache.across.usage import Counts
from cache.base.durable import refusal
from cache.base.entry import Entry, Former
from cache.base.errors import BlobChanged, Superseded
from cache.base.merging import merged
from cache.base.opening import LocalFile
from cache.originals.bodies import Bodies
from cache.originals.entryfiles import EntryFiles, KnownEntry
from cache.originals.users import BodyUsers

log = logging.getLogger(__name__)

Gone = dict[str, set[str]]
"""For bodies with several users, by digest: the entries that a dry run has treated as deleted."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A finished body aside. write_out: make the disk write it, unless it has done so; raises OSError."""

    path: LocalFile
    sha256: str
    size: int
    write_out: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a commit: the change of the count, whether the source has other bytes now, where the body is."""

    change: Counts
    bytes_changed: bool
    body_moved: bool


@dataclass(frozen=True, slots=True)
class Purged:
    """The result of a purge or a dry run. `body_deleted` and `body_sha256` refer to the current body.

    `bodies` are those deleted. `versions` are those that the entry no longer names, although others may.
    """

    found: bool
    body_deleted: bool = False
    body_sha256: str | None = None
    freed_bytes: int = 0
    bodies: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Placed:
    """The result of placing a body. is_new: no entry can name it yet, because no blob was there and the source never
    had it."""

    change: Counts
    is_new: bool
    was_moved: bool


class Keeper:
    """Keeps and purges.

    Keep: the body is finished aside.
    1. It is fsynced, if it is not, and put at its place, durably. An existing body with the same bytes is used instead
       if size and digest agree; otherwise it is replaced.
    2. The entry is recorded as a user of the body.
    3. The entry is written, durably. If step 2 or 3 fails, a new body goes back aside, and nothing was kept.

    Purge:
    1. The entry is deleted, durably.
    2. Each of its bodies that no other entry names is deleted, then its list of users.
    """

    def __init__(self, seams: StoreSeams, entries: EntryFiles, bodies: Bodies) -> None:
        self._entry_blobs = seams.entries
        self._body_blobs = seams.bodies
        self._entries = entries
        self._bodies = bodies
        self.users = BodyUsers(entries, seams.users)

    # Reading

    def confirmed(self, key: str) -> Entry | None:
        """Return an entry once its name is durable. Its bodies were made durable before it.

        Raises:
            StoreFull, StoreUnwritable: the disk reported an error.
        """
        found = self._entries.entry(key)
        with _refusals():
            self._entry_blobs.settle(key)
        return found

    # Keeping

    def keep(self, entry: Entry, arrived: Arrived) -> Done:
        """Keep an original whose body has arrived.

        Raises:
            Superseded: it was recovered from elsewhere, and the source has its own bytes by now.
            StoreFull, StoreUnwritable: nothing was kept; the body is aside as before.
        """
        with _refusals():
            known = self._entries.previous(entry.source)
            previous = known.entry
            if entry.recovered is not None and previous is not None:
                if self._stands(previous, entry):
                    raise Superseded(f"{entry.source} is kept")
                if previous.body_sha256 == entry.body_sha256:
                    # These are the lost bytes themselves, so the origin's statements about them still apply.
                    entry = previous
            change, body_moved = self._taken_in(arrived, entry.replacing(previous), known)
        return Done(change, previous is not None and previous.body_sha256 != entry.body_sha256, body_moved)

    def update(self, entry: Entry) -> Done:
        """Replace the facts about an original whose bytes stay.

        Raises:
            Superseded: the source was purged, or has other bytes or no body by now.
            StoreFull, StoreUnwritable: the former facts still apply.
        """
        with _refusals():
            known = self._entries.known(entry.key)
            if known.entry is None or known.entry.body_sha256 != entry.body_sha256:
                raise Superseded(f"{entry.source} was purged or changed")
            if self._size_of(entry.body_sha256) != entry.body_size:
                raise Superseded(f"the body of {entry.source} is gone")
            change = self._write_entry(entry.replacing(known.entry), known)
        return Done(change, bytes_changed=False, body_moved=False)

    def set_aside(self, key: str, other: Former, arrived: Arrived) -> Counts:
        """Keep a body as history of a source whose current bytes stay; return the change of counts.

        Raises:
            Superseded: the source was purged, or these bytes are its current ones.
            StoreFull, StoreUnwritable: nothing was kept; the body is aside as before.
        """
        with _refusals():
            known = self._entries.known(key)
            if known.entry is None or known.entry.body_sha256 == other.body_sha256:
                raise Superseded("the source was purged or changed")
            return self._taken_in(arrived, known.entry.having(other), known)[0]

    def restore(
        self, theirs: Entry, arrived: Mapping[str, Arrived], *, may_displace: bool
    ) -> tuple[Entry, Entry | None, Counts]:
        """Add an entry with its bodies; return the new entry, the one before it, and the change of counts.

        Bodies that were neither delivered nor are here are left out of its history.

        Raises:
            Superseded: its current body is one of those.
            StoreFull, StoreUnwritable: nothing was kept except bodies that no entry names.
        """
        with _refusals():
            known = self._entries.known(theirs.key)
            before = known.entry
            absent = {
                digest
                for digest, size in theirs.sizes.items()
                if digest not in arrived and self._size_of(digest) != size
            }
            if theirs.body_sha256 in absent:
                raise Superseded(f"the body of {theirs.source} did not come along")
            now = merged(before, theirs.without(absent), may_displace=may_displace)
            change = Counts()
            if now == before:
                return now, before, change
            # The users of bodies that we had are recorded already, and their locks are not held.
            for digest in (digest for digest in now.digests if digest in theirs.sizes):
                placed = self._place_body(arrived[digest], before) if digest in arrived else None
                self.users.add(digest, now, body_is_new=placed is not None and placed.is_new)
                change += placed.change if placed is not None else Counts()
            change += self._write_entry(now, known)
        return now, before, change

    def revise(self, key: str, change: Callable[[Entry], Entry]) -> tuple[Entry, Counts]:
        """Rewrite an entry; return it and the change of counts. It must name no body that it did not name before.

        Raises:
            Superseded: the source was purged, or changed meanwhile.
            StoreFull, StoreUnwritable: the disk refused.
        """
        with _refusals():
            known = self._entries.known(key)
            if known.entry is None:
                raise Superseded("the source was purged")
            revised = change(known.entry)
            return revised, self._write_entry(revised, known)

    def _taken_in(self, arrived: Arrived, entry: Entry, known: KnownEntry) -> tuple[Counts, bool]:
        """Put a body at its place, add its user to the list, then write the entry. Put the body back if the disk
        refuses.

        Return the change of counts, and whether the body was moved.
        """
        placed = self._place_body(arrived, known.entry)
        try:
            self.users.add(arrived.sha256, entry, body_is_new=placed.is_new)
            change = self._write_entry(entry, known)
        except (OSError, BlobChanged):
            self._put_back(arrived, placed, key=entry.key)
            raise
        return change + placed.change, placed.was_moved

    def _stands(self, kept: Entry, recovered: Entry) -> bool:
        """Return whether the kept original is intact and not a recovered copy."""
        if kept.body_sha256 == recovered.body_sha256:
            return False
        return self._bodies.is_whole(kept.body_sha256)

    def _place_body(self, arrived: Arrived, before: Entry | None) -> _Placed:
        """Put a body at its place unless it is there. `before` is what the source had."""
        sha256, there = arrived.sha256, self._body_blobs.state(arrived.sha256)
        # A damaged or lost body may have other users even if its list is lost as well.
        is_new = there is None and (before is None or sha256 not in before.digests)
        if there is not None and there.size == arrived.size and self._bodies.is_whole(sha256):
            # The process that put it there may have died before its fsync.
            self._body_blobs.adopt(sha256)
            return _Placed(Counts(), is_new, was_moved=False)
        if there is not None:
            log.warning("the body %s is damaged and is replaced", self._body_blobs.where(sha256))
        arrived.write_out()
        self._body_blobs.write(sha256, arrived.path, known=there)
        added = arrived.size - (there.size if there is not None else 0)
        return _Placed(Counts(added, bodies=int(added == arrived.size)), is_new, was_moved=True)

    def _put_back(self, arrived: Arrived, placed: _Placed, *, key: str) -> None:
        # A body that replaced a damaged one stays, because other entries may use it. So does one whose entry is at its
        # place already, if only the last fsync failed.
        was_created = placed.was_moved and placed.change.bytes == arrived.size
        if was_created and not self._entries.names(key, arrived.sha256):
            self._body_blobs.take_back(arrived.sha256, arrived.path)

    def _write_entry(self, entry: Entry, known: KnownEntry) -> Counts:
        self.users.note_aside(entry, known.entry)
        text = entry.to_json()
        self._entry_blobs.write(entry.key, text, known=known.state)
        before = known.state.size if known.state is not None else 0
        return Counts(bytes=len(text) - before, entries=int(known.state is None))

    # Purging

    def purge(self, key: str, bodies: tuple[str, ...]) -> tuple[Purged, Counts]:
        """Delete an entry and those of its `bodies` that no other entry names; return also the change of counts."""
        with _refusals():
            state = self._entry_blobs.state(key)
            found = self._entry_blobs.delete(key, known=state)
            unused = [sha256 for sha256 in bodies if not self.users.is_needed(sha256, key)]
            freed = {sha256: self._delete_body(sha256) for sha256 in unused}
        size = state.size if state is not None else 0
        change = Counts(-size - sum(freed.values()), -sum(map(bool, freed.values())), -int(found))
        return _purged(found, bodies, freed), change

    def preview(self, key: str, gone: Gone) -> Purged:
        """Return what `purge` would do after the purges that `gone` remembers; add this one to `gone`."""
        bodies = self._entries.named_bodies(key)
        return _purged(self._entry_blobs.state(key) is not None, bodies, self._would_free(key, bodies, gone))

    def trim(self, key: str, bodies: tuple[str, ...]) -> tuple[Purged, Counts]:
        """Remove `bodies` from the history of an entry, then delete those that no other entry names."""
        with _refusals():
            _, change = self.revise(key, lambda known: known.without(bodies))
            unused = [sha256 for sha256 in bodies if not self.users.is_needed(sha256, key)]
            freed = {sha256: self._delete_body(sha256) for sha256 in unused}
        change += Counts(-sum(freed.values()), -sum(map(bool, freed.values())))
        return Purged(
            found=True, freed_bytes=sum(freed.values()), bodies=tuple(freed), versions=bodies
        ), change

    def trim_preview(self, key: str, bodies: tuple[str, ...], gone: Gone) -> Purged:
        """Return what `trim` would do after the ones that `gone` remembers; add this one to `gone`."""
        freed = self._would_free(key, bodies, gone)
        return Purged(found=True, freed_bytes=sum(freed.values()), bodies=tuple(freed), versions=bodies)

    def _would_free(self, key: str, bodies: tuple[str, ...], gone: Gone) -> dict[str, int]:
        """Return the sizes of those bodies that would have no user left."""
        freed = {}
        for sha256 in bodies:
            if self.users.is_needed(sha256, key, gone=gone.get(sha256, set()), remember=False):
                gone.setdefault(sha256, set()).add(key)
            else:
                freed[sha256] = self._size_of(sha256) or 0
        return freed

    def delete_orphan(self, sha256: str) -> int | None:
        """Delete a body that no entry named a moment ago; return its size, or None if an entry names it by now.

        The caller has read every entry while the body existed, and excludes others from the body.
        """
        with _refusals():
            if self.users.came_since(sha256):
                return None
            return self._delete_body(sha256)

    def _delete_body(self, sha256: str) -> int:
        state = self._body_blobs.state(sha256)
        self._body_blobs.delete(sha256, known=state)
        self.users.forget(sha256)
        return state.size if state is not None else 0

    def _size_of(self, sha256: str) -> int | None:
        state = self._body_blobs.state(sha256)
        return None if state is None else state.size


def _purged(found: bool, bodies: tuple[str, ...], freed: dict[str, int]) -> Purged:
    present = bodies[0] if bodies else None
    return Purged(found, present in freed, present, sum(freed.values()), tuple(freed))


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(error) from error
    except BlobChanged as error:
        # Two processes held its key: we, for as long as our lease lasted, and the one that took it afterwards.
        raise Superseded(str(error)) from error
