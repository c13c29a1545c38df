"""Connections to origins: sessions that check the address of every socket before it connects. Event loop.

The check happens where the socket is created, so it sees the actual address of every connection: of literal hosts, of
every DNS answer (including rebinding), and of every redirect. This module knows nothing of requests and answers.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import AddrInfoType
from yarl import URL

from proxy.config import FetchConfig
from proxy.errors import SourceUnreachable
from proxy.fetch.addresses import is_address, prohibited_text
from proxy.fetch.answers.wire import TidyingHandler
from proxy.fetch.failures import network_failures
from proxy.fetch.tls.contexts import HandshakeLooked
from proxy.source import Source

_KEEPALIVE_SECONDS = 15.0


class ProhibitedAddressError(OSError):
    """The address may not be connected to. Never leaves this room: clients get `SourceUnreachable`."""


class Client:
    """A session with its connector, for one set of `allow_networks`.

    An idle connection was checked when it was made, against the networks of that time. A change of
    `fetch.allow_networks` therefore makes a new client, and the old one is closed when its last fetch ends.

    `fetch.max_connections` bounds the connections in use, and separately the idle ones: aiohttp counts only those in
    use. While that many are idle, a new connection serves one request and is then closed.
    """

    def __init__(self, config: FetchConfig, *, names: AbstractResolver) -> None:
        self.allow_networks = config.allow_networks
        self._names = names
        self._max_connections = config.max_connections
        self._free = asyncio.Semaphore(config.max_connections)
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._users = 0
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._lasting = _session(_connector(config, names, self._sockets, lasting=True))
        self._passing = _session(_connector(config, names, self._sockets, lasting=False))

    @property
    def open_connections(self) -> int:
        """The number of connections, in use or idle."""
        return sum(found.fileno() >= 0 for found in self._sockets)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the client open for the block."""
        self._users += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()

    async def know(self, hop: Source) -> None:
        """Resolve the name of `hop` before waiting for a connection, so that dead names use up no connections.

        Raises:
            SourceUnreachable: there is no such name.
        """
        if not is_address(hop.host):
            with network_failures(failure="dns"):
                await self._names.resolve(hop.host, hop.port)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Wait until fewer than `fetch.max_connections` are in use. The session creates the connection."""
        async with self._free:
            idle = self.open_connections - self._active
            self._active += 1
            try:
                yield self._passing if idle >= self._max_connections else self._lasting
            finally:
                self._active -= 1

    async def look(self, hop: Source, context: ssl.SSLContext) -> bytes:
        """Perform a TLS handshake with `hop` under a context of `LookingObject`; return its certificate in DER.

        Sends no request and closes the connection.

        Raises:
            SourceUnreachable, SourceTimeout: the handshake failed, or the context refused it.
        """
        with self.in_use():
            async with self.connection() as session:
                with network_failures():
                    try:
                        response = await session.get(wire_url(hop), allow_redirects=False, ssl=context)
                    except aiohttp.ClientConnectorSSLError as error:
                        if isinstance(error.os_error, HandshakeLooked):
                            return error.os_error.certificate
                        raise
                    response.close()
        raise SourceUnreachable(detail="the handshake did not end the connection")

    async def close_when_idle(self) -> None:
        """Wait for the fetches in progress, then close the session."""
        try:
            await self._idle.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the session and all its connections, including those in use."""
        await self._lasting.close()
        await self._passing.close()


class _TidyingConnector(aiohttp.TCPConnector):
    """A connector whose connections tidy the answers that they receive."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # aiohttp has no public interface for this (docs/decisions/0018-tidied-answers.md).
        handler: Callable[..., ResponseHandler] = TidyingHandler
        self._factory = functools.partial(handler, loop=asyncio.get_running_loop())


def _connector(
    config: FetchConfig,
    names: AbstractResolver,
    sockets: weakref.WeakSet[socket.socket],
    *,
    lasting: bool,
) -> aiohttp.TCPConnector:
    def make_socket(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _name, address = info
        if prohibited_text(str(address[0]), config.allow_networks):
            raise ProhibitedAddressError(errno.EACCES, f"{address[0]} may not be connected to")
        made = socket.socket(family, kind, protocol)
        sockets.add(made)
        return made

    return _TidyingConnector(
        resolver=names,
        socket_factory=make_socket,
        limit=0,  # `Client` counts them, excluding those that only resolve a name
        use_dns_cache=False,  # `proxy.fetch.names` remembers them
        keepalive_timeout=_KEEPALIVE_SECONDS if lasting else None,
        force_close=not lasting,
    )


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # proxy.fetch.answers.body decodes the body. It bounds the result and notices when the body is cut short.
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def wire_url(hop: Source) -> URL:
    """Return the address for aiohttp, so that the request line contains exactly `hop.target`."""
    # Pass the query as part of the path: yarl drops the "?" of an empty query and would requote the rest.
    authority = hop.origin.partition("://")[2]
    return URL.build(scheme=hop.scheme, authority=authority, path=hop.target, encoded=True)
