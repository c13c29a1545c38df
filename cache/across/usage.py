"""Usage: a running count of what is kept, shared by all processes. Blocking, microseconds.

It serves `originals_max_bytes` and the metrics without examining a million files. A process that is killed during
commits leaves an error of one original for each of them. Counting anew, by `store stat --exact`, corrects the
count. A count from before a restart of the machine is used but not trusted: the owner then counts again in the
background.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cache.base.opening import make_private, open_regular, read_regular

log = logging.getLogger(__name__)

ATTEMPTS = 100
PAUSE_SECONDS = 0.01
"""Between attempts to take the lock; one second in total."""

_RECORD = struct.Struct("<8sQqqqI")
_MAGIC = b"imguse1\n"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Counts:
    """The amount that is kept. `bytes` counts bodies and entries."""

    bytes: int = 0
    bodies: int = 0
    entries: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.bytes + other.bytes, self.bodies + other.bodies, self.entries + other.entries)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.bytes - other.bytes, self.bodies - other.bodies, self.entries - other.entries)


class Usage:
    """The shared count in a small file, changed under a file lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._boot = boot_number()

    def read(self) -> Counts:
        """Return the present count; zero if there is none."""
        return self._read()[0]

    def trusted(self) -> bool:
        """Whether the count was made since the machine started."""
        return self._read()[1] == self._boot

    def add(self, change: Counts) -> None:
        """Change the count. An error of the disk costs the change of the count, never the commit."""
        with contextlib.suppress(OSError), self._exclusive() as descriptor:
            counts, boot = _parsed(os.pread(descriptor, _RECORD.size, 0))
            self._write(descriptor, counts + change, boot=boot)

    def settle(self, counted: Counts, *, before: Counts) -> None:
        """Replace the count by `counted`, and keep the changes that others made since it was `before`."""
        with contextlib.suppress(OSError), self._exclusive() as descriptor:
            now, _ = _parsed(os.pread(descriptor, _RECORD.size, 0))
            self._write(descriptor, counted + (now - before), boot=self._boot)

    def _read(self) -> tuple[Counts, int]:
        try:
            return _parsed(read_regular(self._path, _RECORD.size))
        except OSError:
            return Counts(), -1

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[int]:
        # flock belongs to the open file, so threads of one process need a lock of their own.
        with self._threads:
            descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT)
            try:
                make_private(descriptor)
                self._lock(descriptor)
                yield descriptor
            finally:
                os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        """Take the lock of the count, which others hold for microseconds only.

        Raises:
            BlockingIOError: another program does not release it.
        """
        for _ in range(ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(PAUSE_SECONDS)
        log.error("the lock of %s is not released; what is kept is not counted", self._path)
        raise BlockingIOError(errno.EAGAIN, "the lock is not released", str(self._path))

    @staticmethod
    def _write(descriptor: int, counts: Counts, *, boot: int) -> None:
        numbers = (max(0, counts.bytes), max(0, counts.bodies), max(0, counts.entries))
        body = _RECORD.pack(_MAGIC, max(boot, 0), *numbers, 0)[:-4]
        os.pwrite(descriptor, body + zlib.crc32(body).to_bytes(4, "little"), 0)


def _parsed(text: bytes) -> tuple[Counts, int]:
    if len(text) != _RECORD.size or zlib.crc32(text[:-4]) != int.from_bytes(text[-4:], "little"):
        return Counts(), -1
    magic, boot, size, bodies, entries, _ = _RECORD.unpack(text)
    return (Counts(size, bodies, entries), boot) if magic == _MAGIC else (Counts(), -1)


def boot_number() -> int:
    """Return a number for the present start of the machine; always the same where it cannot be told."""
    try:
        text = _BOOT.read_bytes()
    except OSError:
        # Not Linux: restarts of the machine cannot be detected, so a count is trusted.
        return 1
    return zlib.crc32(text) + 2
