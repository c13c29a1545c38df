"""Seams: what the processes of a store share, as protocols. Pure.

Today files of one machine are behind them: `FileBlobs`, `Refs`, `KeyLocks`, `Generations`, `Failures` and `Usage`, put
together by `FileSeams`. Several nodes need the same behind a network (docs/decisions/0034-seams.md). Each law below is
a test of `tests/contract/test_seams.py`, which a new implementation has to pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache.across.failures import RememberedFailure
from cache.across.usage import Counts

Version = tuple[int | str, ...]
"""Tells one state of a blob from another, and is only compared. Equal versions mean equal bytes: inode, size and
modification time of a file, the ETag of an object. It survives JSON."""


@dataclass(frozen=True, slots=True)
class BlobState:
    """What a blob is now. size: in bytes."""

    size: int
    version: Version


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a blob, and the state they were read in."""

    data: bytes
    state: BlobState


class OpenBlob(Protocol):
    """A blob in the state in which it was opened."""

    @property
    def state(self) -> BlobState:
        """The state whose bytes `read` returns."""

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer at the end, none behind it.

        Raises:
            OSError: they cannot be read, or the blob has another state by now and this one is lost.
        """


class Blobs(Protocol):
    """Blobs: whole byte strings under names, which are SHA-256 digests in hexadecimal. Blocking.

    A body lies under its digest, an entry under the key of its source. Nobody sees half of a blob, and a change that
    has returned survives kill -9 and power loss.

    A writer says in which state it knows the blob, and is refused when the blob has another. It also holds the key
    of what it changes (`KeyExclusion`). Files compare first and change then, which is one step for the holder of a
    lock that only the kernel takes away. A lock with a lease can end unnoticed, so a store of several nodes has to
    compare and change in one step (`If-None-Match: *`, `If-Match`). Nothing here tries again after `BlobChanged`;
    the caller does, or gives up.

    Every method raises OSError when the store cannot be reached or refuses.
    """

    def where(self, name: str) -> str:
        """Return where a blob lies, for people who read a log."""

    def state(self, name: str) -> BlobState | None:
        """Return the state of a blob; None when there is none."""

    def read(self, name: str, max_bytes: int = -1) -> Blob:
        """Return a blob, at most its first `max_bytes` bytes where that is not negative.

        Raises:
            FileNotFoundError: there is none.
        """

    def opened(self, name: str) -> AbstractContextManager[OpenBlob]:
        """Open a blob for a block, to read ranges of it.

        Raises:
            FileNotFoundError: there is none.
        """

    def write(self, name: str, content: bytes | Path, *, known: BlobState | None) -> None:
        """Create a blob when `known` is None, else replace the one that is known.

        A Path is a finished, fsynced file aside in the store's own folder for arrivals. The store takes it without a
        second copy where it can; afterwards it may be gone.

        Raises:
            BlobChanged: there is one already, or it has another state or is gone. Nothing was changed.
        """

    def take_back(self, name: str, aside: Path) -> None:
        """Undo `write` of the file `aside` that created a blob: the file lies aside again. Need not be durable."""

    def delete(self, name: str, *, known: BlobState | None) -> bool:
        """Delete the blob that is known; return whether it was there. One that is gone is gone for good then.

        Raises:
            BlobChanged: it has another state. Nothing was changed.
        """

    def settle(self, name: str) -> None:
        """Make what can be read of a blob now survive power loss, also when its writer died before that."""

    def adopt(self, name: str) -> None:
        """Use the blob that is there instead of writing the same bytes: what `write` promises is true of it then."""

    def shards(self) -> Sequence[str]:
        """Return the first two digits of the names there are, sorted, to list them piece by piece.

        Digits with which no name begins may be among them.
        """

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Yield the names that begin with `prefix` in their order, with the sizes.

        The caller reads and changes blobs meanwhile. One that comes or goes may be among them or not.
        """


class UserLists(Protocol):
    """Lists of users: the keys of the entries that use each body. Blocking.

    An index: it may name too many, and may be lost in whole or in part, but a list that calls itself complete names
    every user. `add` is durable before it returns, unless losing it would leave no list at all. The caller holds the
    key of the body.
    """

    def is_complete(self, sha256: str) -> bool:
        """Whether there is a list that names every user."""

    def aside(self, sha256: str) -> bool | None:
        """Return whether users may have set the body aside; None when there is no list, or it does not say."""

    def covers(self, sha256: str, key: str) -> bool:
        """Whether the list is complete and names `key`."""

    def keys(self, sha256: str) -> Iterator[str]:
        """Yield the keys that the list names, sorted.

        Raises:
            ListUnreadable: there is no list, or it cannot be read.
        """

    def others(self, sha256: str, key: str) -> Iterator[str]:
        """Yield the keys but `key`, those after it first.

        Raises:
            ListUnreadable: there is no list, or it cannot be read.
        """

    def add(
        self, sha256: str, key: str, *, body_is_new: bool, aside: bool, judge: Callable[[], bool]
    ) -> None:
        """Note a user. A list that is begun for a body that is not new is not complete: others may use it."""

    def mark_aside(self, sha256: str) -> None:
        """Note that a user sets the body aside."""

    def replace(self, sha256: str, keys: Iterable[str], *, complete: bool, aside: bool | None = None) -> None:
        """Write the list anew."""

    def remove(self, sha256: str) -> None:
        """Delete the list; it does not come back for a later body of the same bytes."""


class Held(Protocol):
    """A key that is held until `release`."""

    @property
    def waited(self) -> bool:
        """Whether somebody held the key before: what they did may be news."""

    def release(self) -> None:
        """Let the next holder in."""


class KeyExclusion(Protocol):
    """Exclusion: at most one holder of a key, among all tasks, processes and nodes. Event loop.

    A holder that dies loses its keys. Nobody waits for ever: a key that is not released raises `StoreBusy`. OSError
    says that nothing can be locked at all.
    """

    async def acquire(self, key: str) -> Held:
        """Wait until the key is free, and take it. The same holder must not take it twice."""

    def hold(self, key: str) -> AbstractAsyncContextManager[bool]:
        """Hold the key for a block; yields `Held.waited`."""

    def held_if_free(self, key: str) -> AbstractAsyncContextManager[bool]:
        """Hold the key for a block and yield True, or yield False at once when somebody has it."""


class Stamps(Protocol):
    """Stamps: a number for each source that changes when the source is purged or changed.

    Reading never waits, since every hit in memory does it. After `bump` returns, no process reads the earlier number,
    and a number never comes back. Two sources may share one: a bump of one then changes both.
    """

    @property
    def epoch(self) -> int:
        """How often all stamps changed together, whatever their sources did."""

    def stamp(self, url: str) -> int:
        """Return the present number of a source."""

    def bump(self, url: str) -> None:
        """Give a source another number.

        Raises:
            StoreUnreadable: other processes could not be told.
        """


class FailureMemory(Protocol):
    """Failure memory: the last failure under a key, as any process has put it. Event loop.

    It may forget at any time, which costs a question to an origin, and it never returns a failure under another key.
    Nothing raises: what cannot be shared is remembered by the process that put it, and others may know an earlier one.
    """

    async def get(self, key: str) -> RememberedFailure | None:
        """Return what was last put under the key."""

    async def get_all(self, keys: Sequence[str]) -> list[RememberedFailure | None]:
        """Return what was last put under each key, in the order of the keys."""

    async def put(self, key: str, failure: RememberedFailure) -> None:
        """Remember a failure."""

    async def forget(self, key: str) -> None:
        """Remember nothing under the key."""


class RunningCounts(Protocol):
    """Counts: how much is kept, as all processes add it up. Blocking.

    No change is lost because processes add at the same time. A store that refuses, or is not released in time, costs
    the change, never the commit; `settle` puts the count right.
    """

    def read(self) -> Counts:
        """Return the present count."""

    def add(self, change: Counts) -> None:
        """Add to the count."""

    def settle(self, counted: Counts, *, before: Counts) -> None:
        """Replace the count by `counted`, and keep what was added since it was `before`."""


class StoreSeams(Protocol):
    """All that the nodes of a store share, as one of them opens it. A new kind of store is one class like this."""

    @property
    def entries(self) -> Blobs:
        """Entries, under the keys of their sources."""

    @property
    def bodies(self) -> Blobs:
        """Bodies, under their digests."""

    @property
    def users(self) -> UserLists:
        """Who uses which body."""

    @property
    def exclusion(self) -> KeyExclusion:
        """Who may change what."""

    @property
    def stamps(self) -> Stamps:
        """What was purged or changed."""

    @property
    def failures(self) -> FailureMemory:
        """Failures of sources."""

    @property
    def overloads(self) -> FailureMemory:
        """Pictures that took too much."""

    @property
    def counts(self) -> RunningCounts:
        """How much is kept."""

    def close(self) -> None:
        """Release what this node holds. Threads that use it have ended."""
