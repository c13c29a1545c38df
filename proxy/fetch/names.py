"""Names of origins and their addresses: asked once at a time, remembered for seconds. Event loop.

A lookup goes on when the fetch that began it is cancelled, so that the others who wait for it are not. Refuses
to judge addresses: that is done where the connection is made, on every connection.
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
"""Long enough for the pictures of one page, short enough to follow a name that moves."""
_MAX_NAMES = 1000


class Names(AbstractResolver):
    """A memory in front of a resolver, which is closed with it when it `owns` it."""

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
            OSError: there is no such name, or nobody answered in time.
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
        """End the lookups under way: who waits for them hears of a failure."""
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
    """Return a resolver on c-ares: bounded in time per name, no threads that slow names could occupy."""
    return aiohttp.AsyncResolver(timeout=_TIMEOUT_SECONDS, tries=_TRIES)


async def _outcome(task: asyncio.Task[list[ResolveResult]]) -> list[ResolveResult]:
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.cancelled():
            raise  # it is we who were cancelled
        raise OSError("the lookup was ended") from None


def _notice(task: asyncio.Task[list[ResolveResult]]) -> None:
    # Looked at, so that asyncio does not report it as forgotten when everybody has left.
    if not task.cancelled():
        task.exception()
