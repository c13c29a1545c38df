"""Opening files of the store: regular files only, and never a wait for the opening itself.

A pipe, device or symbolic link may lie where a file is expected: by accident, or because somebody else may write to the
folder. Opening a pipe the usual way waits until somebody opens its other end. Refuses to know what the files mean.
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
"""A file or folder of this machine that `cache` names to others: a render process reads it, a web server sends it.

`tests/unit/test_seams_paths.py` holds that paths leave `cache` in no other form. Nothing is promised but that it was
there: a purge may delete it the next instant, and whoever opens it meets OSError.
"""

PRIVATE_FILE = 0o600
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """Return a descriptor of a regular file; the caller closes it. `flags` and `mode` as `os.open` takes them.

    Raises:
        OSError: it cannot be opened, or it is no regular file (EINVAL, or ELOOP for a symbolic link).
    """
    descriptor = os.open(path, flags | _ALWAYS, mode)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def make_private(descriptor: int) -> None:
    """Take an open file away from everybody but its owner; a file of somebody else stays as it is."""
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != PRIVATE_FILE:
        with contextlib.suppress(OSError):
            os.fchmod(descriptor, PRIVATE_FILE)


def read_regular(path: Path, max_bytes: int = -1) -> bytes:
    """Return the bytes of a regular file, at most `max_bytes` where that is not negative.

    Raises:
        OSError: as `open_regular`, or it cannot be read.
    """
    with os.fdopen(open_regular(path), "rb") as reader:
        return reader.read(max_bytes)


def regular_status(path: Path) -> os.stat_result | None:
    """Return the status of a regular file; None when there is none of that name.

    Raises:
        OSError: it cannot be asked.
    """
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
