"""Exclusion: decides who may change a source and its bodies. Runs on the event loop.

A holder always takes the source first and then the bodies in a fixed order, so that holders never wait in a circle.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from cache.across.seams import Held, KeyExclusion
from cache.base.errors import StoreUnwritable


class Exclusion:
    """The locks of the store by what they protect. Every method raises StoreUnwritable if nothing can be locked."""

    def __init__(self, locks: KeyExclusion) -> None:
        self._locks = locks

    def source(self, key: str, bodies: Iterable[str] = ()) -> contextlib.AbstractAsyncContextManager[None]:
        """Exclude every other change of a source, and of those `bodies` that are known beforehand."""
        return self.held(f"entry {key}", *_names(bodies))

    def bodies(self, bodies: Iterable[str]) -> contextlib.AbstractAsyncContextManager[None]:
        """Exclude every other commit and purge of these bodies. The caller already holds the source."""
        return self.held(*_names(bodies))

    @contextlib.asynccontextmanager
    async def held(self, *keys: str) -> AsyncIterator[None]:
        """Hold the locks of these names, taken in this order."""
        taken: list[Held] = []
        try:
            for key in keys:
                taken.append(await self._acquired(key))
            yield
        finally:
            for held in reversed(taken):
                held.release()

    async def _acquired(self, key: str) -> Held:
        try:
            return await self._locks.acquire(key)
        except OSError as error:
            raise StoreUnwritable(f"the store cannot be locked: {error.strerror or error}") from error


def _names(bodies: Iterable[str]) -> list[str]:
    return [f"body {sha256}" for sha256 in sorted(set(bodies))]
