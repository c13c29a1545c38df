"""Seams: what the processes of a store share, as protocols. Pure.

Files of one machine are behind them today: `KeyLocks`, `Generations`, `Failures` and `Usage`. Several nodes need the
same four behind a network (docs/decisions/0034-seams.md). Each law below is a test of `tests/contract/test_seams.py`,
which a new implementation has to pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from cache.across.failures import RememberedFailure
from cache.across.usage import Counts


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
