"""Generations: tell every process immediately that a source was purged or changed.

A file in the store's folder holds 65,536 random numbers, one for each slot of source keys. A process that purges or
replaces an original writes a new number. A process that answers from memory compares the number that it saw before with
the present one, which takes one look at shared memory. Sources that share a slot occasionally lose a hit in memory.

Knows nothing of what is kept under a stamp. Reading is safe anywhere; writing blocks for microseconds. Read the stamp
*before* the entry that it protects: a change in between then makes the stamp differ.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import mmap
import os
import secrets
import sys
from pathlib import Path

from cache.base.durable import PRIVATE, Modes, create_aside, write_all
from cache.base.errors import StoreUnreadable
from cache.base.opening import open_regular, regular_status

log = logging.getLogger(__name__)

SLOTS = 65_536
_SLOT_BYTES = 8
_SLOT_DIGITS = 4
_REMEMBERED_LENGTH = 1024
_FILE_BYTES = SLOTS * _SLOT_BYTES


class Generations:
    """The stamps of all sources.

    1. The file is created by writing random numbers to the folder `aside`, which is searched for leftovers, and by
       linking it into place. Two processes that start together therefore get the same file, and a new file never
       repeats old stamps.
    2. Reading uses `mmap`. Writing uses `pwrite`, because on a full disk a write through the map would kill the process
       (SIGBUS), where `pwrite` reports an error.
    3. The owner calls `check` from time to time. It notices a deleted or replaced file and maps the new one. All stamps
       then differ, so everything in memory counts as outdated once, and a purge in between is noticed. `epoch`
       distinguishes this from a purge.
    4. If no file can be made (read-only disk), or with `make` False there is none, the stamps belong to this process
       alone until `check` succeeds.
    """

    def __init__(
        self, path: Path, *, aside: Path | None = None, make: bool = True, modes: Modes = PRIVATE
    ) -> None:
        self._path = path
        self._aside = aside or path.parent
        self._make = make
        self._modes = modes
        self._identity: tuple[int, int] | None = None
        self._descriptor = -1
        self._map: mmap.mmap | None = None
        self._numbers = _private_numbers()
        self._epoch = 0
        self._remap()

    @property
    def epoch(self) -> int:
        """How often all stamps changed together since the start, regardless of changes to sources."""
        return self._epoch

    @property
    def shared(self) -> bool:
        """Whether other processes see the same stamps."""
        return self._identity is not None

    @staticmethod
    def slot(url: str) -> int:
        """Return the slot of a source."""
        return _remembered_slot(url) if len(url) <= _REMEMBERED_LENGTH else _slot(url)

    def stamp_at(self, slot: int) -> int:
        """Return the present stamp of a slot."""
        return self._numbers[slot]

    def stamp(self, url: str) -> int:
        """Return the present stamp of a source."""
        return self._numbers[self.slot(url)]

    def stamp_of_key(self, key: str) -> int:
        """Return the present stamp of the source with this key, which is the digest that slots are taken from."""
        return self._numbers[int(key[:_SLOT_DIGITS], 16)]

    def bump(self, url: str) -> None:
        """Give the source a new stamp, which every process sees immediately.

        Raises:
            StoreUnreadable: other processes could not be told.
        """
        self.check()
        slot = self.slot(url)
        number = _another(self._numbers[slot])
        if not self.shared:
            self._numbers[slot] = number
            return
        try:
            os.pwrite(self._descriptor, number.to_bytes(_SLOT_BYTES, sys.byteorder), slot * _SLOT_BYTES)
        except OSError as error:
            self._abandon(error)

    def check(self) -> bool:
        """Map the file again if it was deleted, replaced or truncated; return whether that was necessary."""
        if self._identity is not None and self._identity == _identity(self._path):
            return False
        if self._identity is not None:
            log.warning("the file of generations was replaced; answers in memory are discarded once")
        before = self._identity
        self._remap()
        return before is not None or self.shared

    def close(self) -> None:
        """Release the file. The stamps then belong to this process alone."""
        if self.shared:
            # The process keeps its own stamps while there is no file, because a fetch may take longer than the time
            # between two calls of `check`.
            self._release()
            self._numbers = _private_numbers()
            self._epoch += 1

    def _remap(self) -> None:
        self.close()
        try:
            descriptor = _opened(self._path, self._aside, make=self._make, modes=self._modes)
        except OSError as error:
            log.warning("generations are not shared between processes: %s", error)
            return
        try:
            mapped = mmap.mmap(descriptor, _FILE_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        except (OSError, ValueError) as error:
            log.warning("generations are not shared between processes: %s", error)
            os.close(descriptor)
            return
        status = os.fstat(descriptor)
        self._descriptor, self._map = descriptor, mapped
        self._identity = (status.st_dev, status.st_ino)
        self._numbers = memoryview(mapped).cast("Q")
        self._epoch += 1

    def _release(self) -> None:
        self._numbers.release()
        if self._map is not None:
            self._map.close()
            self._map = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._identity = None

    def _abandon(self, error: OSError) -> None:
        # Deleting the file informs the other processes too: their next `check` treats everything as outdated.
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            raise StoreUnreadable(f"other processes cannot be told of a purge: {error}") from error
        self._remap()


def _slot(url: str) -> int:
    digest = hashlib.sha256(url.encode("ascii", "surrogatepass")).digest()
    return digest[0] << 8 | digest[1]


# Every hit in memory needs the slot of its source.
_remembered_slot = functools.lru_cache(maxsize=8192)(_slot)


def _another(number: int) -> int:
    fresh = secrets.randbits(64)
    return fresh if fresh != number else fresh ^ 1


def _private_numbers() -> memoryview:
    return memoryview(bytearray(os.urandom(_FILE_BYTES))).cast("Q")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = regular_status(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status and status.st_size == _FILE_BYTES else None


def _opened(path: Path, aside: Path, *, make: bool, modes: Modes) -> int:
    if not make:
        return open_regular(path, os.O_RDWR)
    with contextlib.suppress(FileNotFoundError):
        if _identity(path) is None:
            # The file is too short to be mapped. Reading it would kill the process.
            path.unlink()
    with contextlib.suppress(FileNotFoundError):
        return open_regular(path, os.O_RDWR)
    if not path.parent.is_dir():
        # The store was deleted while it was open. Do not create its folder again.
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    descriptor, made = create_aside(aside, suffix=".part", modes=modes)
    try:
        write_all(descriptor, os.urandom(_FILE_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(made, path)
    finally:
        made.unlink(missing_ok=True)
        os.close(descriptor)
    return open_regular(path, os.O_RDWR)
