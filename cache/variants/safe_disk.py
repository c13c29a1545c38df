"""A `diskcache.Disk` that refuses pickles in both directions (CVE-2025-69872), and paths outside its folder. Blocking.

diskcache pickles every value and key that is not exactly text, bytes, a whole number or a float. It unpickles every row
that claims to be a pickle, so that one planted row would run foreign code in every worker. Here such a row is an error.
A row also names a file that is read and deleted. It must be a name that we or diskcache make.

A file contains only the bytes of a value, so that a web server in front can send it as it is. Its name contains their
check: half a SHA-256 of key and bytes, which detects any accidental change. Runs in the threads of the variant store.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW, MODE_TEXT

from cache.base.durable import GROUP, PRIVATE, Modes
from cache.base.errors import PickleRefused
from cache.base.opening import open_regular
from cache.base.page_cache import FileState

CHECK_BYTES = 16
"""The length of a check: half a SHA-256."""

FILE_NAME = re.compile(r"[0-9a-f]{2}/(?:[0-9a-f]{2}/[0-9a-f]{28}|(?P<check>[0-9a-f]{32})-[0-9a-f]{8})\.val\Z")
"""Names of files of values: ours, and diskcache's own, whose files begin with the check."""

_PLAIN = (str, bytes, float, int)


@dataclass(frozen=True, slots=True)
class ValueFile:
    """The bytes of a value's file, and the state in which it was read.

    check: the check of key and bytes in the name; empty when diskcache chose the name.
    """

    path: str
    body: bytes
    state: FileState
    check: str


def check_of(key: str, body: bytes) -> bytes:
    """Return the check of a value. It covers the key too, so that bytes under another key do not match."""
    digest = hashlib.sha256(key.encode("utf-8"))
    digest.update(b"\n")
    digest.update(body)
    return digest.digest()[:CHECK_BYTES]


class SafeDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Store exact `str`, `bytes`, `int` and `float` only; `bool` and subclasses would be pickled."""

    modes: ClassVar[Modes] = PRIVATE

    def filename(self, key: Any = diskcache.UNKNOWN, value: Any = diskcache.UNKNOWN) -> tuple[str, str]:
        """Return the name of a new file below the folder, and its path.

        The end is random: a value that is stored again gets another file, because diskcache deletes the former one.
        """
        if not isinstance(key, str) or not isinstance(value, bytes):
            name, path = super().filename(key, value)
            return str(name), str(path)
        ends = os.urandom(5).hex()
        name = f"{ends[:2]}/{check_of(key, value).hex()}-{ends[2:]}.val"
        return name, f"{self._directory}{os.sep}{name}"

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
            if read and mode == MODE_BINARY:
                return self._value_file(filename)
            os.close(open_regular(Path(self._directory) / filename))
        return super().fetch(mode, filename, value, read)

    def _value_file(self, filename: str) -> ValueFile:
        path = Path(self._directory) / filename
        with os.fdopen(open_regular(path), "rb") as reader:
            state = FileState.of(os.fstat(reader.fileno()))
            body = reader.read()
        match = FILE_NAME.match(filename)
        return ValueFile(str(path), body, state, (match["check"] if match else "") or "")

    def remove(self, file_path: str) -> None:
        """Delete a file of ours; ignore a name that leads elsewhere."""
        with contextlib.suppress(PickleRefused):
            _require_ours(file_path)
            super().remove(file_path)

    def _write(self, full_path: str, iterator: Iterable[Any], mode: str, encoding: str | None = None) -> int:
        # diskcache leaves the truncated file behind if the disk is full.
        try:
            if isinstance(iterator, io.BytesIO):
                # Write the file in one piece. diskcache would write it line by line.
                iterator = (iterator.getvalue(),)
            size = int(super()._write(full_path, iterator, mode, encoding))
            os.chmod(full_path, self.modes.file)  # noqa: PTH101 - a path object would cost more than the call
            self._mend_folder(full_path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(full_path).unlink()
            raise
        return size

    def _mend_folder(self, path: str) -> None:
        # diskcache creates folders by the umask. Their modes do not matter below our own private folder.
        if self.modes is not PRIVATE:
            self.modes.mend(Path(path).parent)


class GroupDisk(SafeDisk):
    """The same, with files that the group of the service may read, such as a web server in front."""

    modes = GROUP


def _require_plain(value: Any) -> None:
    if type(value) not in _PLAIN or (type(value) is int and not -(1 << 63) <= value < 1 << 63):
        raise PickleRefused(f"{type(value).__name__} would be pickled")


def _require_ours(filename: Any) -> None:
    if not isinstance(filename, str) or not FILE_NAME.match(filename.replace(os.sep, "/")):
        raise PickleRefused("a row names a file that is not ours")
