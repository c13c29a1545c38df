"""The body of an archived HTTP answer, decoded while it streams, never more than a bound. Pure; blocking reads.

Archives disagree about what they store: bodies in chunks or without them, packed as the header says or unpacked
although it says so. So the bytes are asked: a chunk begins with its length, a picture with its signature.

The WARC library reads chunks too, but whole ones at a time into memory, unpacks them without a bound, and takes
what was cut for complete.
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
    """What is read from: a record of a WARC."""

    def read(self, length: int) -> bytes:
        """Return up to `length` bytes, none at the end."""


class _Source:
    """Reads pieces and takes back what was read too far; hashes everything that is not taken back."""

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
        """Return the next bytes without taking them."""
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
    """Digests of one payload as it was stored, without its chunks, and decoded: any of them may be the one that the
    archive noted (WARC 1.1 §5.9 says payload; writers read that in three ways)."""

    def __init__(self, field: str) -> None:
        self._algorithm, _, self._wanted = field.partition(":")
        self._algorithm = self._algorithm.lower().replace("sha-", "sha")
        self.raw, self.unchunked, self.decoded = (self._new() for _ in range(3))

    def agree(self) -> bool:
        """Whether the payload is what was noted; True as well when nothing is noted, or not in a known way."""
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
        Refused: too_large, cut_short, or coding: not one that is known.
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
    # What follows the last chunk (RFC 9112 §7.1.2) says nothing about the body.
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
        # What unpacks to nothing is bounded as well.
        if size > max_bytes:
            raise Refused("too_large")
        digest.update(piece)
        yield piece


def _unpacked(pieces: Iterator[bytes], headers: Headers) -> Iterator[bytes]:
    if not any(name == "content-encoding" and _is_coded(value) for name, value in headers):
        yield from pieces
        return
    # What was unpacked before it was archived is left alone.
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
    """Return the digests that a text may stand for: hexadecimal, base32 and base64 are all in use."""
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
