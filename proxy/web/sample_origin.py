"""A small server on loopback for the demo. It serves the sample article and its pictures.

It stands for a foreign web server, so it knows nothing about the mirror. Event loop.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file and the media type that the server declares for it."""

    body: bytes = field(repr=False)
    content_type: str

    @property
    def etag(self) -> str:
        """The digest of the body, quoted."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


class SampleOrigin:
    """Serves `files` by path and counts the requests. After `stop` it refuses connections, as a dead origin does."""

    def __init__(self, files: Mapping[str, SampleFile]) -> None:
        self.files = dict(files)
        self.requests: Counter[str] = Counter()
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """The URL on which the server listens, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        """Listen on a free port.

        Raises:
            OSError: the server cannot listen on loopback.
        """
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.requests[request.path] += 1
        file = self.files.get(request.path)
        if file is None:
            raise web.HTTPNotFound
        headers = {"Content-Type": file.content_type, "ETag": file.etag}
        if request.headers.get("If-None-Match") == file.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=file.body, headers=headers)
