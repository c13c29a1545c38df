"""The body of an answer: framing, content decoding and the size limit, while it streams. Event loop.

Sees to it that what comes out is complete (lengths agree, chunks and compressed streams end) and never more
than the limit, however small it was on the wire. Refuses to know what the bytes mean.
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
"""Decoded bytes for each byte on the wire; pictures and text stay far below."""
_RATIO_FREE_BYTES = 1 << 20
"""So little is decoded at any ratio: a small drawing may be one flat colour."""


class AnswerBody:
    """One answer's body, read once.

    Raises while it is read: `SourceTooLarge`, `SourceUnreachable` (cut short, broken), `SourceTimeout` (no
    byte within `idle_seconds`), `SourceFailed` (a coding that was not asked for and is not known).
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
            # What unpacks to nothing is bounded as well.
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
            # What has come already needs no clock.
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
            # Not int(): thousands of digits are an attack of their own.
            self._check(int(declared) if len(declared) < 20 else self._max_bytes + 1)

    def _check(self, size: int) -> None:
        if size > self._max_bytes:
            raise SourceTooLarge(detail=f"more than {self._max_bytes} bytes")


def framing(headers: Headers) -> Framing:
    """Return how the end of the body is known (RFC 9112 §6.3).

    Raises:
        SourceFailed: a transfer coding other than chunked, which nobody asked for.
    """
    transfer = [value.strip().lower() for name, value in headers if name == "transfer-encoding"]
    if transfer == ["chunked"]:
        return "chunked"
    if transfer:
        raise SourceFailed(detail=f"transfer coding {transfer}")
    return "length" if any(name == "content-length" for name, _ in headers) else "close"


def _end_of(response: aiohttp.ClientResponse) -> asyncio.Future[None] | None:
    """Return the future that tells how the connection ends; None when it has already ended."""
    connection = response.connection
    closed = (
        connection.protocol.closed if connection is not None and connection.protocol is not None else None
    )
    if closed is not None:
        closed.add_done_callback(_notice)
    return closed


def _notice(closed: asyncio.Future[None]) -> None:
    # Looked at, so that asyncio does not report it as forgotten when a fetch ends before.
    if not closed.cancelled():
        closed.exception()
