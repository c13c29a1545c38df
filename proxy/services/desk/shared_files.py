"""Small JSON files that all workers of a service read and change, one at a time.

They lie in the folder `desk` of the store, because all workers share it. Nobody but the owner of the process may read
them, whatever `store.mode` says. A file that is damaged counts as empty: it may be deleted at any time. Blocking.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cache.base.opening import open_regular

FOLDER = "desk"
MAX_BYTES = 64 * 1024
"""The most bytes that are read of such a file. Our files are much smaller."""

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600


def read_file(path: Path, most: int) -> bytes:
    """Return the first bytes of a regular file, at most `most` of them.

    Raises:
        OSError: it is none, or cannot be read.
    """
    with os.fdopen(open_regular(path), "rb") as reader:
        return reader.read(most)


class SharedFile:
    """One JSON object in a file, with a lock beside it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / name
        self._lock = folder / f"{name}.lock"

    def read(self) -> dict[str, Any]:
        """Return the object; an empty one when there is no readable file."""
        try:
            found = json.loads(read_file(self._path, MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, Any]]:
        """Yield the object while no other process changes it, and write it back unless the block raises.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            content = self.read()
            yield content
            self._write(content)
        finally:
            os.close(descriptor)

    def _write(self, content: dict[str, Any]) -> None:
        # Only the holder of the lock writes, so one temporary name is enough.
        aside = self._path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, separators=(",", ":"))
        aside.replace(self._path)
