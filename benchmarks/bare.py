"""The yardstick for hits: an aiohttp application that answers one body from memory and does nothing else."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from aiohttp import web


def main() -> None:
    """Serve a body with the number of bytes in the first argument; print the port."""
    body = bytes(int(sys.argv[1]))

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="image/webp")

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    uvloop.run(serve())


if __name__ == "__main__":
    main()
