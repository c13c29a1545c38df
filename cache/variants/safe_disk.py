"""A `diskcache.Disk` that refuses pickle both ways (CVE-2025-69872), and paths that lead out of its folder.

diskcache pickles every value and key that is not exactly text, bytes, a whole number or a float, and unpickles
whatever a row says is a pickle: one planted row is foreign code in every worker. Here such a row is an error. A
row also names a file, which is read and deleted: it must be one of the names that diskcache makes.
Blocking: runs in the threads of the variant store.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW, MODE_TEXT

from cache.base.errors import PickleRefused
from cache.base.opening import PRIVATE_FILE, open_regular

_FILE_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val\Z")
_PLAIN = (str, bytes, float, int)


class SafeDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Store exact `str`, `bytes`, `int` and `float` only; `bool` and subclasses would be pickled."""

    def put(self, key: Any) -> tuple[Any, bool]:
        """Convert a key to its column.

        Raises:
            PickleRefused: diskcache would pickle it.
        """
        _require_plain(key)
        column, raw = super().put(key)
        return column, bool(raw)

    def get(self, key: Any, raw: Any) -> Any:
        """Convert a column back to a key.

        Raises:
            PickleRefused: the row holds a pickle.
        """
        if raw != 1:
            raise PickleRefused("a key in the table is a pickle")
        return super().get(key, raw)

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> tuple[int, int, str | None, Any]:
        """Convert a value to its columns, writing a file when it is large.

        Raises:
            PickleRefused: diskcache would pickle it.
        """
        if not read:
            _require_plain(value)
        size, mode, filename, column = super().store(value, read, key=key)
        return size, mode, filename, column

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        """Convert columns back to a value.

        Raises:
            PickleRefused: the row holds a pickle, or names a file that is not ours.
        """
        if mode not in {MODE_RAW, MODE_BINARY, MODE_TEXT}:
            raise PickleRefused("a value in the table is a pickle")
        if filename is not None:
            _require_ours(filename)
            os.close(open_regular(Path(self._directory) / filename))
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: str) -> None:
        """Delete a file of ours; a name that leads elsewhere is left alone."""
        with contextlib.suppress(PickleRefused):
            _require_ours(file_path)
            super().remove(file_path)

    def _write(self, full_path: str, iterator: Iterable[Any], mode: str, encoding: str | None = None) -> int:
        # diskcache leaves a file behind that a full disk cut off.
        try:
            size = int(super()._write(full_path, iterator, mode, encoding))
            Path(full_path).chmod(PRIVATE_FILE)
        except OSError:
            with contextlib.suppress(OSError):
                Path(full_path).unlink()
            raise
        return size


def _require_plain(value: Any) -> None:
    if type(value) not in _PLAIN or (type(value) is int and not -(1 << 63) <= value < 1 << 63):
        raise PickleRefused(f"{type(value).__name__} would be pickled")


def _require_ours(filename: Any) -> None:
    if not isinstance(filename, str) or not _FILE_NAME.match(filename.replace(os.sep, "/")):
        raise PickleRefused("a row names a file that is not ours")
