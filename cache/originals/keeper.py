"""The keeper: the order in which bodies, lists of users and entries come and go. Blocking: runs in the store's threads.

The order is the promise of the product: what was said to be kept survives kill -9 and power loss, and a crash at any
point leaves at worst a body that no entry names. Whether they are files is known to those who keep the blobs
(`cache.across.seams`). Refuses to know locks and tasks: the caller excludes others from the source and from the bodies
concerned. A change that comes in between all the same is `Superseded`, and is not tried again.
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
"""Of bodies with several users, by digest: the entries that a dry run has passed as if they were gone."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A finished, fsynced body that lies aside."""

    path: LocalFile
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Done:
    """What a commit did: what to add to the count, whether the source has other bytes now, where the body lies."""

    change: Counts
    bytes_changed: bool
    body_moved: bool


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did, or would do: `body_deleted` and `body_sha256` speak of the present body.

    `bodies` are those deleted; `versions` those that the entry does not name any more, others may.
    """

    found: bool
    body_deleted: bool = False
    body_sha256: str | None = None
    freed_bytes: int = 0
    bodies: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Placed:
    """What placing a body did. is_new: no entry can name it yet, for no blob lay here and the source never had it."""

    change: Counts
    is_new: bool
    was_moved: bool


class Keeper:
    """Keep and purge.

    Keep: the body is already fsynced aside. 1. It is put in its place, durably. A body of the same bytes that is there
    already is used instead, if size and digest agree; otherwise it is replaced. 2. The entry is noted as a user of the
    body. 3. The entry is written, durably. When step 2 or 3 fails, a body that was new goes back aside: nothing was
    kept.

    Purge: 1. The entry is deleted, durably. 2. Each body it named that no other entry names is
    deleted, then its list of users.
    """

    def __init__(self, seams: StoreSeams, entries: EntryFiles, bodies: Bodies) -> None:
        self._entry_blobs = seams.entries
        self._body_blobs = seams.bodies
        self._entries = entries
        self._bodies = bodies
        self.users = BodyUsers(entries, seams.users)

    # Reading

    def confirmed(self, key: str) -> Entry | None:
        """Return an entry once its name is sure to outlast power loss; its bodies were made to last before it.

        Raises:
            StoreFull, StoreUnwritable: the disk reported an error.
        """
        found = self._entries.entry(key)
        with _refusals():
            self._entry_blobs.settle(key)
        return found

    # Keeping

    def keep(self, entry: Entry, arrived: Arrived) -> Done:
        """Keep an original whose body arrived.

        Raises:
            Superseded: it was recovered from elsewhere, and the source has bytes of its own by now.
            StoreFull, StoreUnwritable: nothing was kept; the body lies aside as before.
        """
        with _refusals():
            known = self._entries.previous(entry.source)
            previous = known.entry
            if entry.recovered is not None and previous is not None:
                if self._stands(previous, entry):
                    raise Superseded(f"{entry.source} is kept")
                if previous.body_sha256 == entry.body_sha256:
                    # The lost bytes themselves: what the origin said of them still holds.
                    entry = previous
            change, body_moved = self._taken_in(arrived, entry.replacing(previous), known)
        return Done(change, previous is not None and previous.body_sha256 != entry.body_sha256, body_moved)

    def update(self, entry: Entry) -> Done:
        """Replace what is said about an original whose bytes stay.

        Raises:
            Superseded: the source was purged, or has other bytes or no body by now.
            StoreFull, StoreUnwritable: what was said before still stands.
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
        """Keep a body as history of a source whose present bytes stay; return the change of counts.

        Raises:
            Superseded: the source was purged, or these bytes are its present ones.
            StoreFull, StoreUnwritable: nothing was kept; the body lies aside as before.
        """
        with _refusals():
            known = self._entries.known(key)
            if known.entry is None or known.entry.body_sha256 == other.body_sha256:
                raise Superseded("the source was purged or changed")
            return self._taken_in(arrived, known.entry.having(other), known)[0]

    def restore(
        self, theirs: Entry, arrived: Mapping[str, Arrived], *, may_displace: bool
    ) -> tuple[Entry, Entry | None, Counts]:
        """Bring in an entry with its bodies; return it as it is now, what was there before, the change of counts.

        Bodies that neither came along nor are here are left out of its history.

        Raises:
            Superseded: its present body is one of those.
            StoreFull, StoreUnwritable: nothing was kept but bodies that no entry names.
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
            # Of ours, the users are noted already, and their locks are not held.
            for digest in (digest for digest in now.digests if digest in theirs.sizes):
                placed = self._place_body(arrived[digest], before) if digest in arrived else None
                self.users.add(digest, now, body_is_new=placed is not None and placed.is_new)
                change += placed.change if placed is not None else Counts()
            change += self._write_entry(now, known)
        return now, before, change

    def revise(self, key: str, change: Callable[[Entry], Entry]) -> tuple[Entry, Counts]:
        """Write an entry anew; return it and the change of counts. It must name no body it did not name before.

        Raises:
            Superseded: the source was purged.
            OSError: the disk refused.
        """
        known = self._entries.known(key)
        if known.entry is None:
            raise Superseded("the source was purged")
        revised = change(known.entry)
        return revised, self._write_entry(revised, known)

    def _taken_in(self, arrived: Arrived, entry: Entry, known: KnownEntry) -> tuple[Counts, bool]:
        """Put a body in its place, then its user into the list, then the entry; put it back when the disk refuses.

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
        """Whether what is kept is whole, and not what was recovered."""
        if kept.body_sha256 == recovered.body_sha256:
            return False
        return self._bodies.is_whole(kept.body_sha256)

    def _place_body(self, arrived: Arrived, before: Entry | None) -> _Placed:
        """Put a body in its place, unless it is there; `before` is what the source had."""
        sha256, there = arrived.sha256, self._body_blobs.state(arrived.sha256)
        # A damaged or lost body may have other users although its list is lost as well.
        is_new = there is None and (before is None or sha256 not in before.digests)
        if there is not None and there.size == arrived.size and self._bodies.is_whole(sha256):
            # The process that put it there may have died before the disk knew.
            self._body_blobs.adopt(sha256)
            return _Placed(Counts(), is_new, was_moved=False)
        if there is not None:
            log.warning("the body %s is damaged and is replaced", self._body_blobs.where(sha256))
        self._body_blobs.write(sha256, arrived.path, known=there)
        added = arrived.size - (there.size if there is not None else 0)
        return _Placed(Counts(added, bodies=int(added == arrived.size)), is_new, was_moved=True)

    def _put_back(self, arrived: Arrived, placed: _Placed, *, key: str) -> None:
        # A body that replaced a damaged one stays: other entries may use it. So does one whose entry is in
        # its place already, when only the last fsync failed.
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
        """Return what `purge` would do after those that `gone` remembers; it remembers this one."""
        bodies = self._entries.named_bodies(key)
        return _purged(self._entry_blobs.state(key) is not None, bodies, self._would_free(key, bodies, gone))

    def trim(self, key: str, bodies: tuple[str, ...]) -> tuple[Purged, Counts]:
        """Take `bodies` out of the history of an entry, then delete those that no other entry names."""
        with _refusals():
            _, change = self.revise(key, lambda known: known.without(bodies))
            unused = [sha256 for sha256 in bodies if not self.users.is_needed(sha256, key)]
            freed = {sha256: self._delete_body(sha256) for sha256 in unused}
        change += Counts(-sum(freed.values()), -sum(map(bool, freed.values())))
        return Purged(
            found=True, freed_bytes=sum(freed.values()), bodies=tuple(freed), versions=bodies
        ), change

    def trim_preview(self, key: str, bodies: tuple[str, ...], gone: Gone) -> Purged:
        """Return what `trim` would do after those that `gone` remembers; it remembers this one."""
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
        """Delete a body that no entry named a moment ago; return its size, None when an entry names it by now.

        The caller has read every entry after the body was there, and excludes others from the body.
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
        # Its key was held by two: by us as long as a lease lasted, and by whoever came after it.
        raise Superseded(str(error)) from error
