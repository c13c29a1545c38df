"""Reads files without waiting: only bytes that the kernel already has in memory.

The event loop may read a small file by itself if that takes microseconds. An ordinary `open` or `read` takes as long as
the disk, possibly for ever. Here both fail instead of waiting: `openat2` with `RESOLVE_CACHED` (Linux 5.12) and
`preadv2` with `RWF_NOWAIT`. If the kernel or the filesystem does not support them (tmpfs, other systems), nothing can
be read this way, and the caller reads in a thread. The same applies to network filesystems and FUSE, where opening a
file contacts another machine or process even if its name is in memory. Knows nothing of the meaning of files. Event
loop.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_OPENAT2 = 437
"""The number of the system call, the same on all processor families that were added after it (asm-generic/unistd.h)."""
_RESOLVE_CACHED = 0x20
_AT_FDCWD = -100
_FLAGS = (
    os.O_RDONLY
    | os.O_CLOEXEC
    | os.O_NOFOLLOW
    | os.O_NONBLOCK
    | os.O_NOCTTY
    # Recording the time of a read may wait for the journal of the filesystem.
    | getattr(os, "O_NOATIME", 0)
)
_OWN_DISKS = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # btrfs
        0xF2F52010,  # F2FS
        0x2FC12FC1,  # ZFS
        0xCA451A4E,  # bcachefs
        0x794C7630,  # overlayfs, the root of containers
    }
)
"""Filesystems (linux/magic.h) that open a file without contacting anything else."""
_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)


class _OpenHow(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class FileState:
    """Identifies one state of a file. A file that was written again has another state."""

    size: int
    inode: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileState:
        """Return the state from a status."""
        return cls(status.st_size, status.st_ino, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class KeptFile:
    """The place of the bytes with a key, and the state of the file in which they were compared with their check.

    A file of the store is never written again under its name. As long as it has this state, it contains these bytes.
    """

    key: str
    path: bytes
    state: FileState


class PageCache:
    """Reads the files in a folder as far as the kernel has them in memory. The folder need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self._syscall = None
        self._how = _OpenHow(_FLAGS, 0, _RESOLVE_CACHED)
        if sys.platform == "linux" and _NO_WAIT and _is_on_own_disk(folder):
            self._syscall = ctypes.CDLL(None, use_errno=True).syscall
            self._syscall.restype = ctypes.c_long
            self._syscall.argtypes = (
                ctypes.c_long,
                ctypes.c_int,
                ctypes.c_char_p,
                ctypes.c_void_p,
                ctypes.c_size_t,
            )

    def holds(self, path: bytes, state: FileState) -> bool:
        """Return whether a file is available and still has this state; False if finding out would have to wait."""
        descriptor = self._opened(path)
        if descriptor < 0:
            return False
        try:
            return _is_in(descriptor, state)
        except OSError:
            return False
        finally:
            os.close(descriptor)

    def read(self, path: bytes, state: FileState) -> bytes | None:
        """Return the bytes of a file that has this state, or None if it does not or reading would have to wait."""
        descriptor = self._opened(path)
        if descriptor < 0:
            return None
        try:
            if not _is_in(descriptor, state):
                return None
            buffer = bytearray(state.size)
            # A part that is not in memory ends the read early.
            is_whole = os.preadv(descriptor, (buffer,), 0, _NO_WAIT) == state.size
            return bytes(buffer) if is_whole else None
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def read_parts(self, path: bytes, size: int, offsets: Sequence[int]) -> list[bytes] | None:
        """Return `size` bytes at each offset of a file, fewer at its end, or None if reading would have to wait.

        If the file does not exist, every part is empty.
        """
        descriptor = self._opened(path)
        if descriptor < 0:
            return [b""] * len(offsets) if self._is_missing() else None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return [_part(descriptor, size, offset) for offset in offsets]
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def is_absent(self, path: bytes) -> bool:
        """Return whether there is no file of this name; False also if finding out would have to wait."""
        descriptor = self._opened(path)
        if descriptor < 0:
            return self._is_missing()
        os.close(descriptor)
        return False

    def _opened(self, path: bytes) -> int:
        """Return a descriptor, or a negative number if the file does not exist or opening it would have to wait."""
        if self._syscall is None:
            return -1
        how = self._how
        return int(self._syscall(_OPENAT2, _AT_FDCWD, path, ctypes.addressof(how), ctypes.sizeof(how)))

    def _is_missing(self) -> bool:
        """Return whether the file that `_opened` just failed to open does not exist."""
        return self._syscall is not None and ctypes.get_errno() == errno.ENOENT


def _is_on_own_disk(folder: Path) -> bool:
    """Return whether opening a file in a folder involves only this kernel and its disks; see statfs(2)."""
    statfs = ctypes.CDLL(None, use_errno=True).statfs
    # `f_type` is the first member and one machine word long. The buffer is large enough for every variant of the
    # structure.
    found = (ctypes.c_long * 32)()
    for path in (folder.absolute(), *folder.absolute().parents):
        if statfs(os.fsencode(path), found) == 0:
            return found[0] & 0xFFFFFFFF in _OWN_DISKS
        if ctypes.get_errno() != errno.ENOENT:
            break
    return False


def _part(descriptor: int, size: int, offset: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: os.preadv(descriptor, (buffer,), offset, _NO_WAIT)])


def _is_in(descriptor: int, state: FileState) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and FileState.of(status) == state
