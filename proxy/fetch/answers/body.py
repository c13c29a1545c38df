"""Reads the body of an answer as a stream: framing, content decoding and the size limit. Event loop.

The result is complete (lengths agree, chunks and compressed streams end) and never exceeds the limit, however small it
was in transit. The meaning of the bytes is not examined here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import aiohttp

from proxy.errors import SourceFailed, SourceTooLarge, SourceUnreachable
from proxy.fetch.answers.codings import Headers, Unpacker
from proxy.fetch.failures import network_failures

Framing = Literal["length", "chunked", "close"]

_MAX_RATIO = 200
"""The most decoded bytes for each received byte. Pictures and text stay far below this."""
_RATIO_FREE_BYTES = 1 << 20
"""Up to this size any ratio is allowed, because a small drawing may be a single flat colour."""


class AnswerBody:
    """The body of one answer. It can be read once.

    Reading raises `SourceTooLarge`, `SourceUnreachable` (cut short, broken), `SourceTimeout` (no byte within
    `idle_seconds`) or `SourceFailed` (a coding that we did not ask for and do not know).
    """

    def __init__(
        self, response: aiohttp.ClientResponse, headers: Headers, *, max_bytes: int, idle_seconds: float
    ) -> None:
        self.framing = framing(headers)
        self.size = 0
        self._content = response.content
        self._closed = _end_of(response) if self.framing == "close" else None
        self._max_bytes = max_bytes
        self._idle_seconds = idle_seconds
        self._unpacker = Unpacker(headers)
        self._refuse_declared(headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the decoded bytes in order."""
        received = 0
        while data := await self._read():
            received += len(data)
            # Also bound data that decompresses to nothing.
            self._check(received)
            for piece in self._unpacker.feed(data):
                yield self._counted(piece, received)
        self._refuse_reset()
        for piece in self._unpacker.finish():
            yield self._counted(piece, received)

    def _counted(self, piece: bytes, received: int) -> bytes:
        self.size += len(piece)
        self._check(self.size)
        if self.size > max(_MAX_RATIO * received, _RATIO_FREE_BYTES):
            raise SourceTooLarge(detail=f"unpacks to more than {_MAX_RATIO} times its size")
        return piece

    async def _read(self) -> bytes:
        with network_failures():
            # Data that has already arrived needs no timeout.
            if data := self._content.read_nowait():
                return data
            async with asyncio.timeout(self._idle_seconds):
                return await self._content.readany()

    def _refuse_reset(self) -> None:
        # aiohttp takes a broken connection for the end of a body that ends with the connection.
        if self._closed is not None and self._closed.done() and not self._closed.cancelled():
            error = self._closed.exception()
            if error is not None:
                raise SourceUnreachable(detail=f"the connection broke in the body: {error}")

    def _refuse_declared(self, headers: Headers) -> None:
        declared = next((value.strip() for name, value in headers if name == "content-length"), "")
        if self.framing == "length" and declared.isdigit():
            # No int(): thousands of digits would be an attack of their own.
            self._check(int(declared) if len(declared) < 20 else self._max_bytes + 1)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise SourceTooLarge(detail=f"more than {self._max_bytes} bytes")


def framing(headers: Headers) -> Framing:
    """Return how the end of the body is known (RFC 9112 §6.3).

    Raises:
        SourceFailed: it has a transfer coding other than chunked, which we did not ask for.
    """
    transfer = [value.strip().lower() for name, value in headers if name == "transfer-encoding"]
    if transfer == ["chunked"]:
        return "chunked"
    if transfer:
        raise SourceFailed(detail=f"transfer coding {transfer}")
    return "length" if any(name == "content-length" for name, _ in headers) else "close"


def _end_of(response: aiohttp.ClientResponse) -> asyncio.Future[None] | None:
    """Return the future that completes when the connection ends, or None if it has ended already."""
    connection = response.connection
    closed = (
        connection.protocol.closed if connection is not None and connection.protocol is not None else None
    )
    if closed is not None:
        closed.add_done_callback(_notice)
    return closed


def _notice(closed: asyncio.Future[None]) -> None:
    # Read the exception, so that asyncio does not report it as never retrieved if the fetch ends earlier.
    if not closed.cancelled():
        closed.exception()
