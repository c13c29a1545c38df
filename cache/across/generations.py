"""Generations: how every process sees at once that a source was purged or changed.

A file in the store's folder holds 65,536 random numbers, one for each slot of source keys. Whoever purges or
replaces an original writes a new number; whoever answers from memory compares the number it saw before with
the present one, a look at shared memory. Sources that share a slot only lose a memory hit now and then.

It refuses to know what is kept under a stamp. Reading is safe anywhere; writing blocks for microseconds.
Read the stamp *before* the entry it vouches for: then a change in between makes the stamp differ.
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
_REMEMBERED_LENGTH = 1024
_FILE_BYTES = SLOTS * _SLOT_BYTES


class Generations:
    """The stamps of all sources.

    1. The file is made by writing random numbers to the folder `aside`, where leftovers are looked for, and linking
       it into place: two processes that start together get the same file, and a new one never repeats old stamps.
    2. Reading is by `mmap`. Writing is by `pwrite`, because a write through the map on a full disk would
       kill the process (SIGBUS) where `pwrite` reports an error.
    3. `check`, called now and then by the owner, notices a deleted or replaced file and maps the new one. All
       stamps differ then, so memory is distrusted once, and a purge in between is not missed for longer; `epoch`
       tells that from a purge.
    4. Where no file can be made (read-only disk), or with `make` False there is none, the stamps are this process's
       own until `check` succeeds.
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
        """How often all stamps changed together since the start, whatever their sources did."""
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
        """Return the present number of a slot."""
        return self._numbers[slot]

    def stamp(self, url: str) -> int:
        """Return the present number of a source."""
        return self._numbers[self.slot(url)]

    def bump(self, url: str) -> None:
        """Give the source a number it never had; every process sees it at once.

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
        """Map the file anew when it was deleted, replaced or cut; return whether that was needed."""
        if self._identity is not None and self._identity == _identity(self._path):
            return False
        if self._identity is not None:
            log.warning("the file of generations was replaced; memory is distrusted once")
        before = self._identity
        self._remap()
        return before is not None or self.shared

    def close(self) -> None:
        """Release the file; stamps are then this process's own."""
        if self.shared:
            # The process's own stamps stay as long as there is no file: a fetch may take longer than two looks for it.
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
        # A missing file tells the others too: their next `check` distrusts everything.
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            raise StoreUnreadable(f"other processes cannot be told of a purge: {error}") from error
        self._remap()


def _slot(url: str) -> int:
    digest = hashlib.sha256(url.encode("ascii", "surrogatepass")).digest()
    return digest[0] << 8 | digest[1]


# Every hit in memory asks for the slot of its source.
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
            # Too short to be mapped: reading it would kill the process.
            path.unlink()
    with contextlib.suppress(FileNotFoundError):
        return open_regular(path, os.O_RDWR)
    if not path.parent.is_dir():
        # The store was deleted while it was open; we are not to bring its folder back.
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
