"""Elsewhere: a folder outside the store for bodies that its disk refuses, so that they can still be served. Blocking.

The folder lies in the system's temporary folder. It is created when it is first needed, and locked while its process
lives. A process that was killed cannot remove its folder, so the next one that starts removes it. Knows nothing of the
contents.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cache.base.opening import LocalFile, open_regular

PREFIX = "imgmirror-"
LOCK = "owner.lock"
UNLOCKED_SECONDS = 86_400.0
"""The age from which a folder without a lock is a leftover. Earlier versions made no lock. A running process creates
its folder again if it is missing, and no fetch takes a day."""

_NAME = re.compile(r"imgmirror-[0-9a-f]{16}\Z")
_ATTEMPTS = 8


class Elsewhere:
    """One folder. `close` removes it with its contents."""

    def __init__(self, parent: Path) -> None:
        self.folder = LocalFile(parent / f"{PREFIX}{secrets.token_hex(8)}")
        self._lock = -1
        self._turn = threading.Lock()

    def create(self) -> tuple[int, Path]:
        """Create a temporary file. The caller owns the descriptor and the name.

        Raises:
            OSError: the disk refused, or another user has a folder of this name.
        """
        with self._turn:
            if self._lock < 0 or not self.folder.is_dir():
                self._make()
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, dir=self.folder)
        return descriptor, Path(name)

    def close(self) -> None:
        """Remove the folder if it was created."""
        with self._turn:
            if self._lock >= 0:
                shutil.rmtree(self.folder, ignore_errors=True)
                os.close(self._lock)
                self._lock = -1

    def _make(self) -> None:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o700)
            if not _is_ours(self.folder):
                raise PermissionError(errno.EPERM, "it belongs to somebody else", str(self.folder))
            descriptor = open_regular(self.folder / LOCK, os.O_RDWR | os.O_CREAT)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                before, self._lock = self._lock, descriptor
                if before >= 0:
                    os.close(before)
                return
            # Another process took the folder for a leftover before it was locked.
            os.close(descriptor)
        raise OSError(errno.EBUSY, "the folder is removed as fast as it is made", str(self.folder))


def remove_abandoned(parent: Path, *, now: Callable[[], float] = time.time) -> int:
    """Remove folders of ours in `parent` whose process is gone; return their number.

    Folders of other users, with other names, and symbolic links are not touched.
    """
    count = 0
    with contextlib.suppress(OSError):
        for folder in [path for path in parent.iterdir() if _NAME.match(path.name)]:
            with contextlib.suppress(OSError):
                if _is_ours(folder) and _is_abandoned(folder, now()):
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
    return count


def _is_ours(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _is_abandoned(folder: Path, now: float) -> bool:
    try:
        descriptor = open_regular(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return now - folder.lstat().st_mtime > UNLOCKED_SECONDS
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
