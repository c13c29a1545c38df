"""Records every answer: counts for the metrics and a line of the access log. Event loop."""

from __future__ import annotations

import asyncio
import time

from aiohttp import hdrs, web

from proxy.config import Config
from proxy.observe import access
from proxy.observe.answers import AnswerCounts
from proxy.observe.metrics import Metrics
from proxy.web.connections.clients import client_address
from proxy.web.connections.server import Request

CLOSED_BY_CLIENT = 499
"""The status that nginx logs when a client closes its connection before it has the answer."""


class Accounts:
    """Counts and logs answers. The server calls it after each one."""

    def __init__(self, metrics: Metrics, config: Config) -> None:
        self.answers = AnswerCounts(metrics)
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Apply a new configuration: the form of the access log, if any, and the trusted proxies."""
        self._access = config.log.access
        self._trusted = config.server.trusted_proxies

    def __call__(self, request: Request, response: web.StreamResponse) -> None:
        """Count an answer that was sent."""
        seconds = asyncio.get_running_loop().time() - request.begun
        self.answers.add(request.route, response.status, bytes_sent=request.writer.output_size)
        if request.from_memory:
            self.answers.add_memory_hit(seconds)
        if self._access != "off":
            self._write(request, response, seconds)

    def left(self, request: Request) -> None:
        """Count a request whose client closed its connection before it had the answer."""
        self(request, web.StreamResponse(status=CLOSED_BY_CLIENT))

    def client(self, request: web.BaseRequest) -> str:
        """Return the client's address for the logs, empty when it has none (a Unix socket)."""
        return str(client_address(request.remote, request.headers, self._trusted) or "")

    def _write(self, request: Request, response: web.StreamResponse, seconds: float) -> None:
        access.write(
            "json" if self._access == "json" else "combined",
            access.Answered(
                at=time.time(),
                client=self.client(request),
                method=request.method,
                target=request.raw_path,
                version=f"HTTP/{request.version.major}.{request.version.minor}",
                status=response.status,
                bytes=request.writer.output_size,
                seconds=seconds,
                referer=request.headers.get(hdrs.REFERER, ""),
                user_agent=request.headers.get(hdrs.USER_AGENT, ""),
                request_id=response.headers.get("X-Request-Id", ""),
                cache=response.headers.get("Cache-Status", ""),
            ),
        )
