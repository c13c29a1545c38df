"""The yardstick for hits: an aiohttp application that answers one body from memory and does nothing else."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import uvloop
from aiohttp import web


def main() -> None:
    """Serve a body with the number of bytes in the first argument, by the number of processes in the second; print the
    port."""
    body = bytes(int(sys.argv[1]))
    port = 0
    for _ in range(int(sys.argv[2])):
        listener = _listening(port)
        port = listener.getsockname()[1]
        ended, until = os.pipe()
        if os.fork() == 0:
            os.close(until)
            uvloop.run(_serve(body, listener, ended))
            return
        listener.close()
        os.close(ended)
    print(port, flush=True)
    # The pipes close when this process ends, and so do the servers.
    os.wait()


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    return listener


async def _serve(body: bytes, listener: socket.socket, ended: int) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="image/webp")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await asyncio.to_thread(os.read, ended, 1)


if __name__ == "__main__":
    main()
