"""The HTTP server below the handlers: connections, their deadlines, and the account of every answer.

We use aiohttp's low-level server, which has no router: the raw target decides (`routes`), and a hit is a tenth faster.
The server watches its connections, because aiohttp bounds only the wait for the requests after the first one.
Event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from proxy.config import ServerConfig
from proxy.observe.traces import RequestStep
from proxy.web.connections.clients import RATE_LIMIT

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024
"""Longest request line: a canonical source of 8 KiB with options before it."""

KEEP_ALIVE_SECONDS = 75.0

PROGRESS_BYTES = 16 * 1024
"""How many bytes of its answer a client must read in each `server.write_timeout`."""

_SWEEP_SECONDS = 5.0

Account = Callable[[Any, web.StreamResponse], None]
"""Called after each answer, with the `Request` and the answer."""


class Request(web.BaseRequest):
    """A request that knows how its answer is counted.

    route: the kind of address; `unread` when the parser refused the request. from_memory: whether it was answered
    from memory. begun: loop time at which the request had arrived. failure: the code of the error that was answered.
    traced: the request as a step of a trace, if it is one.
    """

    route = "unread"
    from_memory = False
    begun = 0.0
    failure = ""
    traced: RequestStep | None = None

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # The names and versions of our libraries would help only attackers.
        response.headers.popall(hdrs.SERVER, None)
        limit = self.get(RATE_LIMIT)
        if limit:
            response.headers.update(limit)


class Connection(web.RequestHandler):
    """One connection of a client, with a deadline for each request and for reading the answer.

    busy: whether a whole request has arrived and its answer is not sent yet. ahead: whether more bytes arrived after
    it, which may be the beginning of the next request.
    """

    __slots__ = ("_server", "ahead", "busy")

    def __init__(self, server: Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self.ahead = self.busy = False

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client. A request that has begun must be complete before its deadline."""
        super().data_received(data)
        if self.busy or self._messages:
            self.ahead = not data.endswith(b"\r\n\r\n")
        else:
            self._server.expect_request(self)

    def pause_writing(self) -> None:
        """Start the clock for a client that reads more slowly than we write."""
        super().pause_writing()
        self._server.expect_reading(self)

    def resume_writing(self) -> None:
        """Stop the clock for a client that has caught up."""
        super().resume_writing()
        self._server.reading.pop(self, None)

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, _time: float | None) -> None:
        """Count one answer. aiohttp calls this when the answer is sent."""
        self.busy = False
        if self.ahead and not self._messages:
            self._server.expect_request(self)
        self._server.account(request, response)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that the parser refused: one plain line for the client, one in the log, no traceback.

        Raises:
            ConnectionError: the client closed the connection before its answer was sent. That is not an error of ours.
        """
        if isinstance(exc, ConnectionError) and (self.transport is None or self.transport.is_closing()):
            raise exc
        if status != 400:
            return super().handle_error(request, status, exc, message)
        # The message repeats what the client sent; only its first line says what is wrong.
        reason = (message or repr(exc)).strip().partition("\n")[0].rstrip(":")
        log.info(
            "unreadable request", extra={"fields": {"client": request.remote or "", "reason": reason[:200]}}
        )
        response = web.Response(status=status, text="400: Bad Request\n")
        response.force_close()
        return response


class Server(web.Server):
    """The server of one worker. It closes connections of clients that keep it waiting.

    unheard: connections whose request is not complete yet, with the time at which we close them, the earliest first.
    reading: connections that read more slowly than we write, with the time of the next check and the number of unread
    bytes at the last one. held: the number of open connections. on_count: called when `held` changes.
    """

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[web.StreamResponse]],
        config: ServerConfig,
        *,
        account: Account,
    ) -> None:
        super().__init__(handler, request_factory=self._request)
        self.unheard: dict[web.RequestHandler, float] = {}
        self.reading: dict[web.RequestHandler, tuple[float, int]] = {}
        self.account = account
        self.held = 0
        self.on_count: Callable[[], None] = _count_nothing
        self._config = config

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Count a new connection. aiohttp calls this."""
        super().connection_made(handler, transport)
        self.held += 1
        self.on_count()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Count a connection that has ended. aiohttp calls this."""
        super().connection_lost(handler, exc)
        self.held -= 1
        self.on_count()

    def __call__(self) -> Connection:
        client = Connection(
            self,
            loop=self._loop,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            # aiohttp would also decode bodies that nobody reads: a thousand times what was sent, and with a traceback
            # in the log when they are broken.
            auto_decompress=False,
        )
        self.expect_request(client)
        return client

    def expect_request(self, client: Connection) -> None:
        """Start the clock for the client's next request, unless it is running."""
        if client not in self.unheard:
            self.unheard[client] = time.monotonic() + self._config.read_timeout

    def expect_reading(self, client: Connection) -> None:
        """Start the clock for the client to read its answer."""
        self.reading[client] = (time.monotonic() + self._config.write_timeout, _unread_bytes(client))

    async def hang_up_on_overdue(self) -> None:
        """Close overdue connections regularly until cancelled."""
        while True:
            pause = min(self._config.read_timeout / 4, self._config.write_timeout / 4, _SWEEP_SECONDS)
            await asyncio.sleep(pause)
            now = time.monotonic()
            self._hang_up_on_unheard(now)
            self._hang_up_on_unread(now)

    def _hang_up_on_unheard(self, now: float) -> None:
        for client, deadline in list(self.unheard.items()):
            if deadline > now:
                break
            del self.unheard[client]
            client.force_close()

    def _hang_up_on_unread(self, now: float) -> None:
        for client, (deadline, before) in list(self.reading.items()):
            if deadline > now:
                continue
            left = _unread_bytes(client)
            if client.transport is not None and left <= before - PROGRESS_BYTES:
                self.reading[client] = (now + self._config.write_timeout, left)
                continue
            del self.reading[client]
            if client.transport is not None:
                log.info("client does not read", extra={"fields": {"client": _host(client)}})
                # `close` would wait until the client has read everything.
                client.transport.abort()

    def _request(
        self,
        message: Any,
        payload: Any,
        protocol: Any,
        writer: Any,
        task: asyncio.Task[None],
    ) -> Request:
        self.unheard.pop(protocol, None)
        protocol.busy = True
        request = Request(
            message, payload, protocol, writer, task, self._loop, client_max_size=self._config.max_body
        )
        request.begun = self._loop.time()
        return request


def _count_nothing() -> None:
    """The default of `Server.on_count`, for a server whose count nobody needs."""


def _unread_bytes(client: web.RequestHandler) -> int:
    return client.transport.get_write_buffer_size() if client.transport is not None else 0


def _host(client: web.RequestHandler) -> str:
    peer = client.peername
    return str(peer[0]) if isinstance(peer, tuple) else ""
