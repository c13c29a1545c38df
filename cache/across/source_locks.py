"""Exclusion: who may change a source and its bodies now. Runs on the event loop.

Always the source first and then the bodies in one order, so that nobody waits in a circle.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from cache.across.file_locks import KeyLocks
from cache.base.errors import StoreUnwritable


class Exclusion:
    """The locks of the store by what they protect. Every method raises StoreUnwritable when nothing can be locked."""

    def __init__(self, locks: KeyLocks) -> None:
        self._locks = locks

    @contextlib.asynccontextmanager
    async def source(self, key: str, bodies: Iterable[str] = ()) -> AsyncIterator[None]:
        """Exclude every other change of a source, and of `bodies` that are known beforehand."""
        async with self.held(f"entry {key}"), self.bodies(bodies):
            yield

    @contextlib.asynccontextmanager
    async def bodies(self, bodies: Iterable[str]) -> AsyncIterator[None]:
        """Exclude every other commit and purge of these bodies; the source is held already."""
        async with contextlib.AsyncExitStack() as stack:
            for sha256 in sorted(set(bodies)):
                await stack.enter_async_context(self.held(f"body {sha256}"))
            yield

    @contextlib.asynccontextmanager
    async def held(self, key: str) -> AsyncIterator[None]:
        """Hold a lock by its name."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._locks.hold(key))
            except OSError as error:
                raise StoreUnwritable(f"the store cannot be locked: {error.strerror or error}") from error
            yield
