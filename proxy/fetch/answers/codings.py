"""Removes content codings (RFC 9110 §8.4.1) in pieces of bounded size, whether we asked for them or not. Pure.

An origin sends objects that are stored in a coding as they are, whatever `Accept-Encoding` says. The bytes decide: if
they are a picture already, nothing is decoded, whatever `Content-Encoding` claims. Knows nothing of connections and
limits.
"""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import brotli

from proxy.errors import SourceFailed, SourceUnreachable
from proxy.fetch.media import SNIFFED_BYTES, decide

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Headers = tuple[tuple[str, str], ...]

_PIECE_BYTES = 65536
_MAX_CODINGS = 3
_NO_CODING = frozenset({"", "identity", "none", "utf-8", "utf8", "binary", "aws-chunked"})
"""Values of Content-Encoding that origins write and that mean nothing."""
# RFC 9659: a decoder need not support more than 8 MiB, but a frame may ask for gigabytes.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
# RFC 8878 §3.1: the beginnings of a frame, and of a frame to be skipped.
_ZSTD_FRAME = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")


class CodingDecoder(Protocol):
    """Takes encoded bytes and yields decoded ones in pieces of bounded size."""

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None:
        """Raise `SourceUnreachable` if the encoded stream has not ended."""


class _Inflate:
    """gzip (RFC 1952, several members) and deflate (RFC 1950, or the raw RFC 1951 that some servers send)."""

    def __init__(self, coding: str) -> None:
        self._is_gzip = coding == "gzip"
        self._stream: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `data`."""
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
        """Raise if the stream was cut short. An empty body is not checked by this class."""
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
        # RFC 1952 §2.2: one member may follow another. Other bytes after the end are padding.
        if not self._is_gzip or not rest.startswith(b"\x1f\x8b"):
            return b""
        self._stream = None
        return rest

    def _window_bits(self, data: bytes) -> int:
        if self._is_gzip:
            return 16 + zlib.MAX_WBITS
        # RFC 1950 §2.2: CMF and FLG as one number are a multiple of 31, and the method is 8.
        is_zlib = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


class _Unbrotli:
    """br (RFC 7932)."""

    def __init__(self) -> None:
        self._stream = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `data`."""
        try:
            while True:
                piece = self._stream.process(data, output_buffer_limit=_PIECE_BYTES)
                data = b""
                # The decoder checks the limit before its buffer grows, so a piece may be longer.
                yield from (piece[at : at + _PIECE_BYTES] for at in range(0, len(piece), _PIECE_BYTES))
                if self._stream.is_finished() or not piece:
                    return
        except brotli.error as error:
            raise SourceUnreachable(detail=f"the compressed body is broken: {error}") from error

    def finish(self) -> None:
        """Raise if the stream was cut short."""
        if not self._stream.is_finished():
            raise SourceUnreachable(detail="the compressed body is cut short")


class _Unzstd:
    """zstd (RFC 8878, several frames)."""

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        self._head = b""
        self._is_padding = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `data`."""
        while data and not self._is_padding:
            if self._frame.eof:
                data, self._head = self._head + data, b""
                if len(data) < 4:
                    self._head = data
                    return
                self._is_padding = _ZSTD_FRAME.match(data) is None
                if self._is_padding:
                    return
                self._frame = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
            yield from self._unpack(data)
            data = self._frame.unused_data if self._frame.eof else b""

    def finish(self) -> None:
        """Raise if the stream was cut short."""
        if not self._frame.eof:
            raise SourceUnreachable(detail="the compressed body is cut short")

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                piece = self._frame.decompress(data, _PIECE_BYTES)
                data = b""
                if piece:
                    yield piece
                if self._frame.eof or self._frame.needs_input:
                    return
        except zstd.ZstdError as error:
            raise SourceUnreachable(detail=f"the compressed body is broken: {error}") from error


class Unpacker:
    """Removes the codings that `headers` name from one body.

    Nothing is decoded if the first bytes are a picture. Feeding it raises `SourceUnreachable` (cut short, broken) or
    `SourceFailed` (an unknown coding, or too many).
    """

    def __init__(self, headers: Headers) -> None:
        self._codings = _codings(headers)
        self._head = b""
        self._decoders: list[CodingDecoder] | None = None if self._codings else []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `data`."""
        if self._decoders is None:
            self._head += data
            if len(self._head) < SNIFFED_BYTES:
                return
            data = self._begin()
        yield from _decode(data, self._decoders or [])

    def finish(self) -> Iterator[bytes]:
        """Yield the bytes held back so far. Raise if the body was cut short. An empty body is never encoded."""
        if self._decoders is None and self._head:
            yield from _decode(self._begin(), self._decoders or [])
        for decoder in self._decoders or []:
            decoder.finish()

    def _begin(self) -> bytes:
        head, self._head = self._head, b""
        if len(self._codings) > _MAX_CODINGS:
            raise SourceFailed(detail=f"{len(self._codings)} content codings")
        is_picture = decide(head[:SNIFFED_BYTES], None).startswith("image/")
        self._decoders = [] if is_picture else [_decoder(coding) for coding in reversed(self._codings)]
        return head


_DECODERS: dict[str, Callable[[], CodingDecoder]] = {
    "gzip": lambda: _Inflate("gzip"),
    "deflate": lambda: _Inflate("deflate"),
    "br": _Unbrotli,
    "zstd": _Unzstd,
}


def _codings(headers: Headers) -> list[str]:
    listed = ",".join(value for name, value in headers if name == "content-encoding").lower().split(",")
    return [coding.strip() for coding in listed if coding.strip() not in _NO_CODING]


def _decoder(coding: str) -> CodingDecoder:
    make = _DECODERS.get(coding.removeprefix("x-"))
    if make is None:
        raise SourceFailed(detail=f"content coding {coding[:40]!r}, which was not asked for")
    return make()


def _decode(data: bytes, decoders: list[CodingDecoder]) -> Iterator[bytes]:
    pieces: Iterable[bytes] = (data,)
    for decoder in decoders:
        pieces = _through(decoder, pieces)
    yield from pieces


def _through(decoder: CodingDecoder, pieces: Iterable[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder.feed(piece)
