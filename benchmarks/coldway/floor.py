"""The floor of a cold picture beside its codecs: `python floor.py MODE FOLDER PORT`.

aiohttp's server and client do only the indispensable work. MODE "fetch": fetch the source that the query names, hash it
while it arrives, answer 30 kB. "thread": also write body and entry aside and rename both, as one job of one thread.
"sync": also fsync body, entry and folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import uvloop
from aiohttp import web

ANSWER_BYTES = 30_000
ENTRY = b"{}" * 300
HEADERS = {"ETag": '"x"', "Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}


class Floor:
    """The minimal server for a cold picture, in one of three modes."""

    def __init__(self, mode: str, folder: str) -> None:
        self._mode = mode
        self._folder = folder
        self._answer = os.urandom(ANSWER_BYTES)
        self._thread = ThreadPoolExecutor(1)
        self._numbers = itertools.count()
        self._session = aiohttp.ClientSession(auto_decompress=False)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Fetch, keep and answer one picture."""
        digest, chunks = hashlib.sha256(), []
        async with self._session.get(
            request.query["source"], headers={"Accept-Encoding": "identity"}
        ) as source:
            async for chunk in source.content.iter_any():
                digest.update(chunk)
                chunks.append(chunk)
        if self._mode != "fetch":
            await asyncio.get_running_loop().run_in_executor(
                self._thread, self._keep, digest.hexdigest(), chunks
            )
        return web.Response(body=self._answer, content_type="image/jpeg", headers=HEADERS)

    def _keep(self, digest: str, chunks: list[bytes]) -> None:
        self._write(f"{digest}-{next(self._numbers)}", chunks)
        self._write(f"{digest}-{next(self._numbers)}.json", [ENTRY])
        if self._mode == "sync":
            descriptor = os.open(self._folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    def _write(self, name: str, chunks: list[bytes]) -> None:
        path = f"{self._folder}/{name}"
        descriptor = os.open(path + ".part", os.O_CREAT | os.O_WRONLY, 0o600)
        for first in range(0, len(chunks), 1000):  # IOV_MAX is 1024
            os.writev(descriptor, chunks[first : first + 1000])
        if self._mode == "sync":
            os.fsync(descriptor)
        os.close(descriptor)
        os.rename(path + ".part", path)  # noqa: PTH104 - nothing but the call


async def main() -> None:
    """Serve until killed."""
    floor = Floor(sys.argv[1], sys.argv[2])
    runner = web.ServerRunner(web.Server(floor.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[3])).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
