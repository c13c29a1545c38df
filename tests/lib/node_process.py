"""A node in a process of its own: `python node_process.py IMPLEMENTATION FOLDER`, which reads commands line by line.

Each line it reads is a method of `NodeAtWork` with its arguments, in JSON. Each line it writes is the result, or
`["refused", NAME]` when an error of the store was raised. `NodeProcess` is the other end.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import nodes

import cache
from cache.across.failures import RememberedFailure
from cache.across.seams import BlobState, Held, StoreSeams
from cache.across.usage import Counts
from cache.base.errors import CacheError

ROOT = Path(cache.__file__).parent.parent


class NodeAtWork:
    """Runs the commands on one node."""

    def __init__(self, node: StoreSeams) -> None:
        self.node = node
        self.held: dict[str, Held] = {}
        self.known: dict[str, BlobState | None] = {}

    async def hold(self, key: str) -> bool:
        """Take a key, and keep it until `release`; return whether it had to wait."""
        self.held[key] = await self.node.exclusion.acquire(key)
        return self.held[key].waited

    async def release(self, key: str) -> None:
        self.held.pop(key).release()

    async def is_free(self, key: str) -> bool:
        async with self.node.exclusion.held_if_free(key) as is_mine:
            return is_mine

    async def stamp(self, url: str) -> int:
        return self.node.stamps.stamp(url)

    async def bump(self, url: str) -> None:
        self.node.stamps.bump(url)

    async def fail(self, key: str, kind: str) -> None:
        await self.node.failures.put(key, RememberedFailure(kind, 0, 1, 1_700_000_000.0, 1_700_000_200.0))

    async def failure(self, key: str) -> str | None:
        found = await self.node.failures.get(key)
        return None if found is None else found.kind

    async def add(self, times: str) -> None:
        for _ in range(int(times)):
            self.node.counts.add(Counts(bytes=10, bodies=1, entries=1))

    async def count(self) -> int:
        return self.node.counts.read().bytes

    async def look(self, name: str) -> str | None:
        """Read a blob, and remember this state as the known one."""
        try:
            blob = self.node.entries.read(name)
        except FileNotFoundError:
            self.known[name] = None
            return None
        self.known[name] = blob.state
        return blob.data.decode("ascii")

    async def write(self, name: str, text: str) -> None:
        """Write a blob over the state in which it was last read."""
        self.node.entries.write(name, text.encode("ascii"), known=self.known[name])

    async def append(self, name: str, text: str, times: str) -> None:
        """Add to a blob this many times, holding its key each time."""
        for _ in range(int(times)):
            async with self.node.exclusion.hold(name):
                await self.write(name, (await self.look(name) or "") + text)


async def _work(
    open_nodes: Callable[[Path], AbstractAsyncContextManager[nodes.OpenNode]], folder: Path
) -> None:
    async with open_nodes(folder) as open_node:
        at_work = NodeAtWork(open_node())
        print(json.dumps("ready"), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            command, *arguments = json.loads(line)
            method: Callable[..., Awaitable[object]] = getattr(at_work, command)
            try:
                result = await method(*arguments)
            except CacheError as error:
                result = ["refused", type(error).__name__]
            print(json.dumps(result), flush=True)
        at_work.node.close()


class NodeProcess:
    """A node in a process of its own."""

    def __init__(self, implementation: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, implementation, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])},
        )

    async def ready(self) -> NodeProcess:
        """Wait until the process accepts commands."""
        assert await asyncio.to_thread(self._read) == "ready"
        return self

    async def tell(self, command: str, *arguments: object) -> Any:
        """Send a command; return its result."""
        return await asyncio.to_thread(self._told, command, *map(str, arguments))

    async def kill(self) -> None:
        """Kill the process with SIGKILL, and wait until it has ended."""
        self.process.kill()
        await asyncio.to_thread(self.process.communicate)

    async def end(self) -> None:
        """Let the process end by itself."""
        if self.process.returncode is None:
            await asyncio.to_thread(self.process.communicate, None, 60)
            assert self.process.returncode == 0

    def _told(self, command: str, *arguments: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


if __name__ == "__main__":
    asyncio.run(_work(getattr(nodes, sys.argv[1]), Path(sys.argv[2])))
