"""The body of an answer: framing, content decoding and the size limit, while it streams. Event loop.

Sees to it that what comes out is complete (lengths agree, chunks and compressed streams end) and never more
than the limit, however small it was on the wire. Refuses to know what the bytes mean.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Literal, Protocol

import aiohttp

from proxy.errors import SourceFailed, SourceTooLarge, SourceUnreachable
from proxy.fetch.failures import network_failures

Framing = Literal["length", "chunked", "close"]
Headers = tuple[tuple[str, str], ...]

_PIECE_BYTES = 65536
_MAX_CODINGS = 3
_NO_CODING = frozenset({"", "identity", "none", "utf-8", "binary", "aws-chunked"})
"""What origins write in Content-Encoding and mean nothing by."""


class Decoder(Protocol):
    """Takes coded bytes, gives decoded ones in pieces of bounded size."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None:
        """Raise `SourceUnreachable` when the coded stream has not ended."""


class Inflate:
    """gzip (RFC 1952, several members) and deflate (RFC 1950, or the bare RFC 1951 that some send)."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._stream: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` unpacks to."""
        while data:
            if self._stream is None:
                data, self._head = self._head + data, b""
                if len(data) < 2:
                    self._head = data
                    return
                self._stream = zlib.decompressobj(self._window_bits(data))
            yield from self._inflate(self._stream, data)
            data = self._rest_for_next_member(self._stream)

    def finish(self) -> None:
        """Raise when the stream was cut; nothing at all is an empty body, and not this class's concern."""
        if self._head or (self._stream is not None and not self._stream.eof):
            raise SourceUnreachable(detail="the compressed body is cut short")

    def _inflate(self, stream: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        try:
            while piece := stream.decompress(data, _PIECE_BYTES):
                yield piece
                data = stream.unconsumed_tail
        except zlib.error as error:
            raise SourceUnreachable(detail=f"the compressed body is broken: {error}") from error

    def _rest_for_next_member(self, stream: zlib._Decompress) -> bytes:
        rest = stream.unused_data if stream.eof else b""
        # RFC 1952 §2.2: members follow one another. Other bytes after the end are padding.
        if not self._is_gzip or not rest.startswith(b"\x1f\x8b"):
            return b""
        self._stream = None
        return rest

    def _window_bits(self, data: bytes) -> int:
        if self._is_gzip:
            return 16 + zlib.MAX_WBITS
        # RFC 1950 §2.2: CMF and FLG as a number are a multiple of 31, the method is 8.
        is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


class Body:
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
        self._decoders = decoders_of(headers)
        self._refuse_declared(headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the decoded bytes in order."""
        received = 0
        while data := await self._read():
            received += len(data)
            # What unpacks to nothing is bounded as well.
            self._check(received)
            for piece in decode(data, self._decoders):
                self.size += len(piece)
                self._check(self.size)
                yield piece
        self._refuse_reset()
        if received:
            for decoder in self._decoders:
                decoder.finish()

    async def _read(self) -> bytes:
        with network_failures():
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


def _codings(headers: Headers) -> list[str]:
    listed = ",".join(value for name, value in headers if name == "content-encoding").lower().split(",")
    codings = [coding.strip() for coding in listed if coding.strip() not in _NO_CODING]
    if len(codings) > _MAX_CODINGS:
        raise SourceFailed(detail=f"{len(codings)} content codings")
    return codings


def _decoder(coding: str) -> Decoder:
    name = coding.removeprefix("x-")
    if name not in {"gzip", "deflate"}:
        raise SourceFailed(detail=f"content coding {coding[:40]!r}, which was not asked for")
    return Inflate(name)


def decoders_of(headers: Headers) -> list[Decoder]:
    """Return what takes the content codings off, the outermost first.

    Raises:
        SourceFailed: too many codings, or one that is not known.
    """
    return [_decoder(coding) for coding in reversed(_codings(headers))]


def decode(data: bytes, decoders: list[Decoder]) -> Iterator[bytes]:
    pieces: Iterable[bytes] = (data,)
    for decoder in decoders:
        pieces = _through(decoder, pieces)
    yield from pieces


def _through(decoder: Decoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder.feed(piece)
