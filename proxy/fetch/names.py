"""Resolves the names of origins: each name once at a time, remembered for some seconds. Event loop.

A lookup continues when the fetch that began it is cancelled, because others may wait for it. Addresses are not judged
here, but for every connection when it is made.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_TIMEOUT_SECONDS = 2.0
_TRIES = 3
_MEMORY_SECONDS = 10.0
"""Long enough for the pictures of one page, and short enough to follow a name that changes its address."""
_MAX_NAMES = 1000


class Names(AbstractResolver):
    """A cache in front of a resolver. If it `owns` the resolver, it closes it too."""

    def __init__(self, resolver: AbstractResolver, *, owns: bool) -> None:
        self._resolver = resolver
        self._owns = owns
        self._known: OrderedDict[tuple[str, int], tuple[float, list[ResolveResult]]] = OrderedDict()
        self._asked: dict[tuple[str, int], asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`, each with `port`.

        Raises:
            OSError: there is no such name, or the lookup timed out.
        """
        key = (host, port)
        until, found = self._known.get(key, (0.0, []))
        if until > asyncio.get_running_loop().time():
            return list(found)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._ask(key, family))
            task.add_done_callback(_notice)
        return list(await _outcome(task))

    async def close(self) -> None:
        """End the lookups in progress. Fetches that wait for them get an error."""
        tasks = list(self._asked.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._owns:
            await self._resolver.close()

    async def _ask(self, key: tuple[str, int], family: socket.AddressFamily) -> list[ResolveResult]:
        try:
            found = await self._resolver.resolve(*key, family=family)
        finally:
            del self._asked[key]
        self._known[key] = (asyncio.get_running_loop().time() + _MEMORY_SECONDS, found)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_NAMES:
            self._known.popitem(last=False)
        return found


def make_resolver() -> AbstractResolver:
    """Return a resolver on c-ares: it limits the time for each name, and has no threads that slow names could
    occupy."""
    return aiohttp.AsyncResolver(timeout=_TIMEOUT_SECONDS, tries=_TRIES)


async def _outcome(task: asyncio.Task[list[ResolveResult]]) -> list[ResolveResult]:
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            raise  # our own task was cancelled, not the lookup
        raise OSError("the lookup was ended") from None


def _notice(task: asyncio.Task[list[ResolveResult]]) -> None:
    # Read the exception, so that asyncio does not report it as never retrieved if no fetch waits any more.
    if not task.cancelled():
        task.exception()
