"""Seams: protocols for the state that the processes of a store share. Pure.

Today they are implemented by files of one machine: `FileBlobs`, `Refs`, `KeyLocks`, `Generations`, `Failures` and
`Usage`, which `FileSeams` connects. Several nodes need the same over a network (docs/decisions/0034-seams.md). Each
rule below is a test of `tests/contract/test_seams.py`, which every new implementation must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from cache.across.failures import RememberedFailure
from cache.across.usage import Counts

Kind = Literal["entry", "article", "block", "origin"]
KINDS: tuple[Kind, ...] = ("entry", "article", "block")
"""The kinds of things that files of a store describe: an original, the sources of an article, a blocked source. The
stamp of an origin has no file of its own."""

Version = tuple[int | str, ...]
"""Distinguishes the states of a blob; only comparing it is meaningful. Equal versions mean equal bytes. Examples are
inode, size and modification time of a file, or the ETag of an object. It survives JSON."""


@dataclass(frozen=True, slots=True)
class BlobState:
    """The present state of a blob. size: in bytes."""

    size: int
    version: Version


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a blob, and the state in which they were read."""

    data: bytes
    state: BlobState


class OpenBlob(Protocol):
    """An open blob, in the state in which it was opened."""

    @property
    def state(self) -> BlobState:
        """The state whose bytes `read` returns."""

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer at the end, none after it.

        Raises:
            OSError: they cannot be read, or the blob has changed and the opened state is lost.
        """


class Blobs(Protocol):
    """Blobs: whole byte strings under names, which are SHA-256 digests in hexadecimal. Blocking.

    A body is stored under its digest, and an entry under the key of its source. Nobody sees half of a blob, and a
    change that has returned survives kill -9 and power loss.

    A writer states in which state it knows the blob, and is refused if the blob has another one. It also holds the key
    of what it changes (`KeyExclusion`). Files compare first and change afterwards. This is a single step for the holder
    of a lock that only the kernel can take away. A lock with a lease can end unnoticed, so a store of several nodes
    must compare and change in one step (`If-None-Match: *`, `If-Match`). Nothing here tries again after `BlobChanged`;
    the caller does, or gives up.

    Every method raises OSError if the store cannot be reached or refuses.
    """

    def where(self, name: str) -> str:
        """Return the place of a blob for people who read a log."""

    def state(self, name: str) -> BlobState | None:
        """Return the state of a blob, or None if there is none."""

    def read(self, name: str, max_bytes: int = -1) -> Blob:
        """Return a blob, or its first `max_bytes` bytes unless that is negative.

        Raises:
            FileNotFoundError: there is none.
        """

    def opened(self, name: str) -> AbstractContextManager[OpenBlob]:
        """Open a blob for the duration of a block, to read ranges of it.

        Raises:
            FileNotFoundError: there is none.
        """

    def write(self, name: str, content: bytes | Path, *, known: BlobState | None) -> None:
        """Create a blob if `known` is None, else replace the known one.

        A Path is a finished, fsynced file in the store's own folder for incoming bodies. The store takes it without a
        second copy if possible, and the file may be gone afterwards.

        Raises:
            BlobChanged: there is a blob already, or it has another state, or it is gone. Nothing was changed.
        """

    def take_back(self, name: str, aside: Path) -> None:
        """Undo a `write` of the file `aside` that created a blob, so that the file is aside again. Need not be
        durable."""

    def delete(self, name: str, *, known: BlobState | None) -> bool:
        """Delete the known blob; return whether it existed. On return it is durably gone, even if it was gone before.

        Raises:
            BlobChanged: it has another state. Nothing was changed.
        """

    def settle(self, name: str) -> None:
        """Make the present state of a blob durable, even if its writer died before it did so."""

    def adopt(self, name: str) -> None:
        """Use the existing blob instead of writing the same bytes. On return it is as durable as after `write`."""

    def shards(self) -> Sequence[str]:
        """Return the first two digits of all names, sorted, so that they can be listed piece by piece.

        Digits with which no name begins may be included.
        """

    def irregular(self) -> Iterator[str]:
        """Yield the names under which something other than a blob lies. It cannot be read, and may hold anything."""

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield the names that begin with `prefix`, in order, with their sizes.

        The caller may read and change blobs meanwhile. A blob that appears or disappears may be included or not.
        """


class UserLists(Protocol):
    """Lists of users: the keys of the entries that use each body. Blocking.

    This is an index. It may name too many users and may be lost, completely or in part, but a list that calls itself
    complete names every user. `add` is durable on return, unless losing it would leave no list at all. The caller holds
    the key of the body.
    """

    def is_complete(self, sha256: str) -> bool:
        """Return whether there is a list that names every user."""

    def aside(self, sha256: str) -> bool | None:
        """Return whether users may have set the body aside; None if there is no list, or the list does not say."""

    def covers(self, sha256: str, key: str) -> bool:
        """Return whether the list is complete and names `key`."""

    def keys(self, sha256: str) -> Iterator[str]:
        """Yield the keys in the list, sorted.

        Raises:
            ListUnreadable: there is no list, or it cannot be read.
        """

    def others(self, sha256: str, key: str) -> Iterator[str]:
        """Yield all keys except `key`, beginning with those after it.

        Raises:
            ListUnreadable: there is no list, or it cannot be read.
        """

    def add(
        self, sha256: str, key: str, *, body_is_new: bool, aside: bool, judge: Callable[[], bool]
    ) -> None:
        """Record a user. A new list for a body that is not new is not complete, because others may use the body."""

    def mark_aside(self, sha256: str) -> None:
        """Record that a user sets the body aside."""

    def replace(self, sha256: str, keys: Iterable[str], *, complete: bool, aside: bool | None = None) -> None:
        """Replace the list."""

    def remove(self, sha256: str) -> None:
        """Delete the list. It must not reappear for a later body of the same bytes."""


class Held(Protocol):
    """A key that is held until `release`."""

    @property
    def waited(self) -> bool:
        """Whether somebody held the key before, so that there may be news."""

    def release(self) -> None:
        """Release the key."""


class KeyExclusion(Protocol):
    """Exclusion: at most one holder of a key, among all tasks, processes and nodes. Event loop.

    A holder that dies loses its keys. Nobody waits for ever: a key that is not released raises `StoreBusy`. OSError
    means that nothing can be locked at all.
    """

    async def acquire(self, key: str) -> Held:
        """Wait until the key is free, and take it. A holder must not take the same key twice."""

    def hold(self, key: str) -> AbstractAsyncContextManager[bool]:
        """Hold the key for the duration of a block; yield `Held.waited`."""

    def held_if_free(self, key: str) -> AbstractAsyncContextManager[bool]:
        """Hold the key for the duration of a block and yield True, or yield False at once if somebody holds it."""


class Stamps(Protocol):
    """Stamps: a number for each source that changes when the source is purged or changed.

    Reading never waits, because every hit in memory reads. After `bump` returns, no process reads the earlier number,
    and a number never comes back. Two sources may share a stamp, and a bump of one then changes both.
    """

    @property
    def epoch(self) -> int:
        """How often all stamps changed together, regardless of changes to sources."""

    def stamp(self, url: str) -> int:
        """Return the present stamp of a source."""

    def stamp_of_key(self, key: str) -> int:
        """Return the present stamp of the source, or of the origin, with this key."""

    def bump(self, url: str) -> None:
        """Give a source another stamp.

        Raises:
            StoreUnreadable: other processes could not be told.
        """


class FailureMemory(Protocol):
    """Failure memory: the last failure under a key, recorded by any process. Event loop.

    It may forget at any time, which costs a question to an origin. It never returns a failure under another key.
    Nothing raises: a failure that cannot be shared is remembered by the process that recorded it, and others may know
    an earlier one.
    """

    async def get(self, key: str) -> RememberedFailure | None:
        """Return the last failure under the key."""

    async def get_all(self, keys: Sequence[str]) -> list[RememberedFailure | None]:
        """Return the last failure under each key, in the order of the keys."""

    async def put(self, key: str, failure: RememberedFailure) -> None:
        """Remember a failure."""

    async def forget(self, key: str) -> None:
        """Forget the failure under the key."""


class ChangeNotes(Protocol):
    """Change notes: the files that a derived index must read again. Blocking, microseconds.

    Nothing raises: an index that missed a change finds it when it compares itself with the files.
    """

    def changing(self, kind: Kind, key: str) -> AbstractContextManager[None]:
        """Return a block that creates, replaces or deletes the file of a digest, or changes a stamp."""


class RunningCounts(Protocol):
    """Counts: how much is kept, added up by all processes. Blocking.

    Concurrent additions of several processes are never lost. A store that refuses, or is not released in time, costs
    the change of the count, never the commit; `settle` corrects the count.
    """

    def read(self) -> Counts:
        """Return the present count."""

    def add(self, change: Counts) -> None:
        """Add to the count."""

    def settle(self, counted: Counts, *, before: Counts) -> None:
        """Replace the count by `counted`, and keep the changes made since it was `before`."""


class StoreSeams(Protocol):
    """The state that the nodes of a store share, as opened by one of them. A new kind of store is one class like
    this."""

    @property
    def entries(self) -> Blobs:
        """Entries, under the keys of their sources."""

    @property
    def bodies(self) -> Blobs:
        """Bodies, under their digests."""

    @property
    def users(self) -> UserLists:
        """The users of each body."""

    @property
    def exclusion(self) -> KeyExclusion:
        """The locks of sources and bodies."""

    @property
    def stamps(self) -> Stamps:
        """The stamps of sources, which change with a purge or a change."""

    @property
    def failures(self) -> FailureMemory:
        """The failures of sources."""

    @property
    def overloads(self) -> FailureMemory:
        """The pictures that took too much."""

    @property
    def counts(self) -> RunningCounts:
        """The amount that is kept."""

    def close(self) -> None:
        """Release what this node holds. The threads that used it must have ended."""
