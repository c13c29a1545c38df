"""Opens files of the store: regular files only, and without waiting for the opening itself.

A pipe, device or symbolic link may lie where a file is expected, by accident or because somebody else may write to the
folder. An ordinary open of a pipe waits until somebody opens its other end. Knows nothing of the meaning of files.
Blocking.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import NewType

LocalFile = NewType("LocalFile", Path)
"""A file or folder of this machine that `cache` names to others: a render process reads it, or a web server sends it.

`tests/unit/test_seams_paths.py` checks that paths leave `cache` in no other form. It need not
exist: a purge may delete it at any moment, and opening it then raises OSError.
"""

PRIVATE_FILE = 0o600
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Return a descriptor of a regular file, which the caller must close. `flags` and `mode` are those of `os.open`.

    Raises:
        OSError: it cannot be opened, or is not a regular file (EINVAL, or ELOOP for a symbolic link).
    """
    descriptor = os.open(path, flags | _ALWAYS, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def make_private(descriptor: int) -> None:
    """Restrict an open file to its owner. A file of another user is left unchanged."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != PRIVATE_FILE:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, PRIVATE_FILE)


def read_regular(path: Path, max_bytes: int = -1) -> bytes:
    """Return the bytes of a regular file, at most `max_bytes` unless that is negative.

    Raises:
        OSError: as for `open_regular`, or it cannot be read.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        return read_whole(descriptor, size if max_bytes < 0 else min(size, max_bytes))
    finally:
        os.close(descriptor)


def read_whole(descriptor: int, size: int) -> bytes:
    """Return the first `size` bytes of an open file, fewer if it has become shorter; one call may read fewer."""
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def regular_status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file, or None if there is no file of that name.

    Raises:
        OSError: this cannot be determined.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
