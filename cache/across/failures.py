"""Failures: remembers unavailable sources and bodies that could not be rendered, for all processes of a store.

One file has 16,384 records of 64 bytes, found by the digest of a key. Memory and disk space are bounded, and nothing
needs cleaning up. Two keys of the same slot overwrite each other, which costs one more question to an origin. A record
that is read while it is being written fails its checksum and counts as absent.

Does not know the meaning of a failure: `kind` is a word of the caller. Losing the file costs only time. It does not use
diskcache, because a look-up must not wait for a database, and because the store's folder may lie on a network disk,
where SQLite's WAL does not work (docs/decisions/0011-manners.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.base.durable import PRIVATE, Modes
from cache.base.opening import open_regular, read_regular
from cache.base.page_cache import PageCache
from cache.base.threads import StoreThreads

log = logging.getLogger(__name__)

SLOTS = 16_384
RECORD_BYTES = 64
MAX_PRIVATE = 4_096
"""The most records to remember in memory if no file can be written, as on a read-only disk."""

_RECORD = struct.Struct("<16sddHH24sI")
_DIGEST_BYTES = 16
_KIND_BYTES = 24


@dataclass(frozen=True, slots=True)
class RememberedFailure:
    """One remembered failure.

    kind: at most 24 ASCII characters. status: the origin's status, 0 without an answer. count: how many failures in a
    row.
    at: when it last happened. until: how long it applies. Both are Unix seconds.
    """

    kind: str
    status: int
    count: int
    at: float
    until: float


class Failures:
    """The remembered failures of all processes. The file is opened for each look-up, because it may vanish at any
    time."""

    def __init__(self, path: Path, threads: StoreThreads, modes: Modes = PRIVATE) -> None:
        self._path = path
        self._name = os.fsencode(path)
        self._page_cache = PageCache(path.parent)
        self._threads = threads
        self._modes = modes
        self._private: OrderedDict[bytes, RememberedFailure] = OrderedDict()
        self._complained = False

    async def get(self, key: str) -> RememberedFailure | None:
        """Return the last failure under `key`, however old, or None if there is none."""
        return (await self.get_all((key,)))[0]

    async def get_all(self, keys: Sequence[str]) -> list[RememberedFailure | None]:
        """Return the last failure under each key, in the order of the keys."""
        digests = [_digest(key) for key in keys]
        found = self._at_hand(digests)
        return await self._threads.read(self._read_all, digests) if found is None else found

    def at_hand(self, key: str) -> tuple[bool, RememberedFailure | None]:
        """Return whether `get` can answer without waiting, and its result if so. Event loop."""
        found = self._at_hand((_digest(key),))
        return (False, None) if found is None else (True, found[0])

    def read(self, key: str) -> RememberedFailure | None:
        """Return the same as `get`. Blocking: for callers in one of the store's threads."""
        return self._read(_digest(key))

    async def put(self, key: str, failure: RememberedFailure) -> None:
        """Remember a failure. Never raises: a failure that cannot be written is remembered by this process alone."""
        await self._threads.read(self._write, _digest(key), failure)

    async def forget(self, key: str) -> None:
        """Forget the failure under `key`."""
        await self._threads.read(self._forget, _digest(key))

    async def forget_where(self, gone: Callable[[RememberedFailure], bool]) -> int:
        """Forget the failures for which `gone` is true, under any key; return their number."""
        return await self._threads.read(self._forget_where, gone)

    async def counts(self, *, now: float) -> dict[str, int]:
        """Return how many failures apply now, by kind, including those of other stamps and settings."""
        found = await self._threads.read(self._everything)
        return dict(sorted(Counter(item.kind for _, item in found if item.until > now).items()))

    def _at_hand(self, digests: Sequence[bytes]) -> list[RememberedFailure | None] | None:
        """Return the failures with these digests, or None if reading them would have to wait."""
        parts = self._page_cache.read_parts(self._name, RECORD_BYTES, [_offset(digest) for digest in digests])
        if parts is None:
            return None
        return [
            _unpacked(part, digest) or self._private.get(digest)
            for part, digest in zip(parts, digests, strict=True)
        ]

    def _read(self, digest: bytes) -> RememberedFailure | None:
        return self._read_all((digest,))[0]

    def _read_all(self, digests: Sequence[bytes]) -> list[RememberedFailure | None]:
        try:
            descriptor = open_regular(self._path)
        except OSError:
            return [self._private.get(digest) for digest in digests]
        try:
            return [_read_record(descriptor, digest) or self._private.get(digest) for digest in digests]
        finally:
            os.close(descriptor)

    def _write(self, digest: bytes, failure: RememberedFailure) -> None:
        try:
            self._write_record(digest, _packed(digest, failure))
            self._private.pop(digest, None)
        except OSError as error:
            if not self._complained:
                log.warning("%s are not shared between processes: %s", self._path.name, error)
            self._complained = True
            self._private[digest] = failure
            if len(self._private) > MAX_PRIVATE:
                self._private.popitem(last=False)

    def _forget(self, digest: bytes) -> None:
        self._private.pop(digest, None)
        if self._read(digest) is not None:
            # A failure to write costs only time.
            with contextlib.suppress(OSError):
                self._write_record(digest, bytes(RECORD_BYTES))

    def _forget_where(self, gone: Callable[[RememberedFailure], bool]) -> int:
        chosen = [digest for digest, item in self._everything() if gone(item)]
        for digest in chosen:
            self._forget(digest)
        return len(chosen)

    def _everything(self) -> list[tuple[bytes, RememberedFailure]]:
        found = dict(self._private)
        try:
            data = read_regular(self._path, SLOTS * RECORD_BYTES)
        except OSError:
            data = b""
        for offset in range(0, len(data), RECORD_BYTES):
            record = data[offset : offset + RECORD_BYTES]
            # A record with an invalid digest is never found.
            if any(record) and (item := _unpacked(record, record[:_DIGEST_BYTES])):
                found[record[:_DIGEST_BYTES]] = item
        return list(found.items())

    def _write_record(self, digest: bytes, record: bytes) -> None:
        descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT, self._modes.file)
        try:
            os.pwrite(descriptor, record, _offset(digest))
        finally:
            os.close(descriptor)


def _read_record(descriptor: int, digest: bytes) -> RememberedFailure | None:
    try:
        return _unpacked(os.pread(descriptor, RECORD_BYTES, _offset(digest)), digest)
    except OSError:
        return None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]


def _offset(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "big") % SLOTS * RECORD_BYTES


def _packed(digest: bytes, failure: RememberedFailure) -> bytes:
    kind = failure.kind.encode("ascii", "replace")[:_KIND_BYTES]
    record = _RECORD.pack(
        digest, failure.at, failure.until, min(failure.count, 0xFFFF), failure.status & 0xFFFF, kind, 0
    )[:-4]
    return record + zlib.crc32(record).to_bytes(4, "little")


def _unpacked(record: bytes, digest: bytes) -> RememberedFailure | None:
    if len(record) != RECORD_BYTES:
        return None
    known, at, until, count, status, kind, checksum = _RECORD.unpack(record)
    if known != digest or zlib.crc32(record[:-4]) != checksum:
        return None
    return RememberedFailure(kind.rstrip(b"\0").decode("ascii", "replace"), status, count, at, until)
