"""Decodes the body of an archived HTTP answer as a stream, up to a size limit. Blocking reads.

Archives differ in what they store: bodies with or without chunks, compressed as the header says or decompressed in
spite of it. So we look at the bytes: a chunk begins with its length, a picture with its signature.

The WARC library decodes chunks too, but it reads whole chunks into memory, decompresses them without a limit, and
accepts truncated bodies as complete.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from typing import Protocol

from proxy.archives.items import Headers, Refused
from proxy.errors import SourceError
from proxy.fetch.answers.codings import Unpacker

PIECE_BYTES = 64 * 1024
_LINE_BYTES = 256
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_CODED = {"gzip", "x-gzip", "deflate", "x-deflate", "br", "zstd", "compress"}


class Stream(Protocol):
    """A readable stream, such as a record of a WARC."""

    def read(self, length: int) -> bytes:
        """Return up to `length` bytes; an empty result is the end."""


class _Source:
    """Reads pieces and allows bytes to be put back; hashes all bytes that are not put back."""

    def __init__(self, stream: Stream, digests: Digests) -> None:
        self._stream = stream
        self._digests = digests
        self._back = b""

    def read(self, length: int) -> bytes:
        if self._back:
            piece, self._back = self._back[:length], self._back[length:]
            return piece
        piece = self._stream.read(length)
        self._digests.raw.update(piece)
        return piece

    def head(self, length: int) -> bytes:
        """Return the next bytes without consuming them."""
        head = b""
        while len(head) < length and (piece := self.read(length - len(head))):
            head += piece
        self._back = head + self._back
        return head

    def exactly(self, length: int) -> bytes:
        piece = self.head(length)
        self._back = self._back[len(piece) :]
        return piece


class Digests:
    """Digests of one payload as stored, without chunks, and decoded. The archive may state any of the three: WARC 1.1
    §5.9 says "payload", and writers interpret it in three ways."""

    def __init__(self, field: str) -> None:
        self._algorithm, _, self._wanted = field.partition(":")
        self._algorithm = self._algorithm.lower().replace("sha-", "sha")
        self.raw, self.unchunked, self.decoded = (self._new() for _ in range(3))

    def agree(self) -> bool:
        """Whether the payload matches the stated digest. Also True without one, or with one in an unknown form."""
        if not self._wanted or self._algorithm not in _ALGORITHMS:
            return True
        wanted = readings(self._wanted)
        return any(found.digest() in wanted for found in (self.raw, self.unchunked, self.decoded))

    def _new(self) -> hashlib._Hash:
        name = self._algorithm if self._algorithm in _ALGORITHMS else "sha1"
        return hashlib.new(name, usedforsecurity=False)


_ALGORITHMS = {"md5", "sha1", "sha224", "sha256", "sha384", "sha512"}


def decoded(stream: Stream, headers: Headers, *, max_bytes: int, digests: Digests) -> Iterator[bytes]:
    """Yield the decoded body in pieces.

    Raises:
        Refused: with the reason too_large, cut_short, or coding (an unknown content coding).
    """
    source = _Source(stream, digests)
    pieces = _bounded(_unchunked(source, headers), max_bytes, digests.unchunked)
    size = 0
    for piece in _unpacked(pieces, headers):
        size += len(piece)
        if size > max_bytes:
            raise Refused("too_large")
        digests.decoded.update(piece)
        yield piece


def _unchunked(source: _Source, headers: Headers) -> Iterator[bytes]:
    says_chunked = any(name == "transfer-encoding" and "chunked" in value.lower() for name, value in headers)
    if not (says_chunked and _CHUNK_LINE.match(source.head(_LINE_BYTES))):
        while piece := source.read(PIECE_BYTES):
            yield piece
        return
    while size := _chunk_size(source):
        while size:
            piece = source.read(min(size, PIECE_BYTES))
            if not piece:
                raise Refused("cut_short")
            size -= len(piece)
            yield piece
        if source.exactly(2) != b"\r\n":
            raise Refused("cut_short")
    # Trailers after the last chunk (RFC 9112 §7.1.2) say nothing about the body.
    while source.read(PIECE_BYTES):
        pass


def _chunk_size(source: _Source) -> int:
    match = _CHUNK_LINE.match(source.head(_LINE_BYTES))
    if match is None:
        raise Refused("cut_short")
    source.exactly(match.end())
    return int(match[1], 16)


def _bounded(pieces: Iterator[bytes], max_bytes: int, digest: hashlib._Hash) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        # The limit also applies to compressed bytes that decode to nothing.
        if size > max_bytes:
            raise Refused("too_large")
        digest.update(piece)
        yield piece


def _unpacked(pieces: Iterator[bytes], headers: Headers) -> Iterator[bytes]:
    if not any(name == "content-encoding" and _is_coded(value) for name, value in headers):
        yield from pieces
        return
    # Bodies that were decompressed before they were archived are left alone.
    unpacker = Unpacker(headers)
    try:
        for piece in pieces:
            yield from unpacker.feed(piece)
        yield from unpacker.finish()
    except SourceError as error:
        raise Refused("coding") from error


def _is_coded(value: str) -> bool:
    return not _CODED.isdisjoint(item.strip() for item in value.lower().split(","))


def readings(text: str) -> set[bytes]:
    """Return the digests that a text may encode. Hexadecimal, base32 and base64 are all in use."""
    found = set()
    for read in (bytes.fromhex, _from_base32, _from_base64):
        try:
            found.add(read(text))
        except (ValueError, binascii.Error):
            continue
    return found


def _from_base32(text: str) -> bytes:
    return base64.b32decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 8), casefold=True)


def _from_base64(text: str) -> bytes:
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
