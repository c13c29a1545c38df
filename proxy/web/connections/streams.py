"""Limits how many large pictures one client may read at once. Event loop.

A client that asks for many pictures and reads none would hold a buffer and an open file for each one, and would slow
down other clients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from proxy.config import ServerConfig
from proxy.errors import RateLimited
from proxy.web.connections.clients import bucket_of, client_address


class Streams:
    """Counts the streamed answers of this process by client. An IPv6 /64 counts as one client."""

    def __init__(self, config: ServerConfig) -> None:
        self._under_way: Counter[int] = Counter()
        self.reconfigure(config)

    def reconfigure(self, config: ServerConfig) -> None:
        """Apply a new limit and new trusted proxies."""
        self._limit = config.client_streams
        self._trusted = config.trusted_proxies

    @contextmanager
    def place(self, request: web.BaseRequest) -> Iterator[None]:
        """Count one streamed answer while the block runs.

        Raises:
            RateLimited: the client already has `server.client_streams` streamed answers.
        """
        client = bucket_of(client_address(request.remote, request.headers, self._trusted))
        if self._limit and self._under_way[client] >= self._limit:
            raise RateLimited("You are reading too many pictures at once; try again soon.")
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]
