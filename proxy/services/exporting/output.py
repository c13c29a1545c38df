"""Writes and removes our own files in the copy of a site. Blocking; several threads may call `put`.

A file that was changed since we wrote it, or that existed before, is left alone and reported. Files are written in the
folder of the state and then renamed. Links in the copy are never followed for writing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from cache.base.opening import open_regular
from proxy.rewrite.ondisk.files import remove_stale
from proxy.services.exporting import state as states
from proxy.services.exporting.state import FOLDER, FileRecord, State
from proxy.services.exporting.walk import Problem

Put = Literal["written", "unchanged", "left"]
CHANGED = "changed by hand since it was written; left as it is (remove it to have it written again)"
FOREIGN = "in the way, and not written by an export; left as it is"
STALE = "changed by hand, and no longer a part of the site; left as it is"
_CHUNK_BYTES = 1 << 20
_LOCK = "export.lock"


class OutputError(Exception):
    """The copy cannot be written; the message names the file and the reason."""


class Output:
    """The folder of an exported site, locked by one run. Use as a context manager.

    `waiting` is called once when another run holds the lock.

    Raises, on entering:
        StateError: the state cannot be read.
        OSError: the folder cannot be created or written.
    """

    def __init__(self, folder: Path, *, waiting: Callable[[], None] = lambda: None) -> None:
        self.folder = folder
        self.state = State()
        self.problems: list[Problem] = []
        self._waiting = waiting
        self._aside = folder / FOLDER
        self._touched: set[str] = set()
        self._folders: set[str] = set()
        self._mutex = threading.Lock()
        self._lock: IO[bytes] | None = None
        self._journal: IO[bytes] | None = None
        mask = os.umask(0)
        os.umask(mask)
        self._mode = 0o666 & ~mask

    def __enter__(self) -> Output:
        self._aside.mkdir(parents=True, exist_ok=True)
        descriptor = open_regular(self._aside / _LOCK, os.O_RDWR | os.O_CREAT)
        self._lock = os.fdopen(descriptor, "rb+")
        try:
            self._hold(self._lock)
            remove_stale(self._aside)
            self.state = states.load(self.folder)
            if not states.is_marked(self.folder):
                states.save(self.folder, self.state)
            self._journal = (self._aside / states.JOURNAL).open("ab", buffering=0)
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            if not os.fstat(self._journal.fileno()).st_size:
                (self._aside / states.JOURNAL).unlink(missing_ok=True)
            self._journal.close()
        if self._lock is not None:
            self._lock.close()

    def _hold(self, lock: IO[bytes]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)

    def save(self) -> None:
        """Save the state to disk."""
        states.save(self.folder, self.state)
        if self._journal is not None:
            self._journal.close()
            self._journal = (self._aside / states.JOURNAL).open("ab", buffering=0)

    def is_ours(self, path: str) -> bool:
        """Return whether a file exists as we wrote it, and mark it as used in this run."""
        record, status = self.state.files.get(path), self._status(path)
        if record is None or status is None or not _is_as_written(record, status):
            return False
        with self._mutex:
            self._touched.add(path)
        return True

    def put(self, path: str, data: bytes) -> Put:
        """Write a file, unless it exists with these bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        return self._put(path, hashlib.sha256(data).hexdigest(), lambda file: file.write(data), ())

    def copy(self, path: str, source: Path) -> Put:
        """Copy a file of the site, unless it exists with the same bytes.

        Raises:
            OSError: the file of the site cannot be read.
            OutputError: the file in the copy cannot be written.
        """
        with os.fdopen(open_regular(source), "rb") as reader:
            origin = _signature(os.fstat(reader.fileno()))
            record = self.state.files.get(path)
            if record is not None and record.origin == origin and self.is_ours(path):
                return "unchanged"
            digest = _digest_of(reader)

            def write(file: IO[bytes]) -> None:
                reader.seek(0)
                while chunk := reader.read(_CHUNK_BYTES):
                    file.write(chunk)

            return self._put(path, digest, write, origin)

    def keep(self, path: str) -> None:
        """Keep a file of an earlier run whose original could not be read this time."""
        self._touched.add(path)

    def tidy(self) -> int:
        """Remove files of earlier runs that this one did not use; return their number."""
        count = 0
        for path in sorted({*self.state.files, *self.state.unfinished} - self._touched, reverse=True):
            record, status = self.state.files.pop(path, None), self._status(path)
            if status is None:
                continue
            if path in self.state.unfinished or (record and self._is_unchanged(path, record, status)):
                (self.folder / path).unlink(missing_ok=True)
                count += 1
                self._remove_empty_folders(path)
            else:
                self._say(path, STALE)
        self.state.unfinished.clear()
        return count

    def _put(
        self, path: str, digest: str, write: Callable[[IO[bytes]], object], origin: tuple[int, ...]
    ) -> Put:
        try:
            return self._put_aside(path, digest, write, origin)
        except OSError as error:
            raise OutputError(f"{self.folder / path}: {error.strerror or error}") from error

    def _put_aside(
        self, path: str, digest: str, write: Callable[[IO[bytes]], object], origin: tuple[int, ...]
    ) -> Put:
        with self._mutex:
            self._touched.add(path)
        if not self._make_folder(path):
            return "left"
        record, target = self.state.files.get(path), self.folder / path
        try:
            status: os.stat_result | None = target.lstat()
        except FileNotFoundError:
            status = None
        if status is not None:
            same = record is not None and record.sha256 == digest and _is_as_written(record, status)
            if same or (stat.S_ISREG(status.st_mode) and _digest_of_file(target) == digest):
                self._record(path, FileRecord(digest, status.st_size, status.st_mtime_ns, origin))
                return "unchanged"
            if not self._may_replace(path, record, status):
                self._say(path, CHANGED if record else FOREIGN)
                return "left"
        self._note(path)
        self._record(path, self._written(target, digest, write, origin))
        return "written"

    def _may_replace(self, path: str, record: FileRecord | None, status: os.stat_result) -> bool:
        if not stat.S_ISREG(status.st_mode):
            return False
        return path in self.state.unfinished or (
            record is not None and self._is_unchanged(path, record, status)
        )

    def _is_unchanged(self, path: str, record: FileRecord, status: os.stat_result) -> bool:
        """Return whether a file holds the bytes that we wrote. Times alone do not show this: a check-out or copy
        changes them."""
        if _is_as_written(record, status):
            return True
        return status.st_size == record.size and _digest_of_file(self.folder / path) == record.sha256

    def _written(
        self, target: Path, digest: str, write: Callable[[IO[bytes]], object], origin: tuple[int, ...]
    ) -> FileRecord:
        descriptor, temporary = tempfile.mkstemp(dir=self._aside, prefix=".imgmirror-", suffix=".tmp")
        try:
            with os.fdopen(descriptor, "wb") as file:
                # The lock is held until we close the file or are killed. It tells `remove_stale` that we are writing.
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_EX)
                write(file)
                file.flush()
                os.fchmod(file.fileno(), self._mode)
                status = os.fstat(file.fileno())
                Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return FileRecord(digest, status.st_size, status.st_mtime_ns, origin)

    def _note(self, path: str) -> None:
        if self._journal is not None:
            self._journal.write(json.dumps(path).encode("ascii") + b"\n")

    def _record(self, path: str, record: FileRecord) -> None:
        with self._mutex:
            self.state.files[path] = record

    def _say(self, path: str, reason: str) -> None:
        with self._mutex:
            self.problems.append(Problem(path, reason))

    def _status(self, path: str) -> os.stat_result | None:
        """Return the status of a regular file whose folders are not links, or None."""
        target = self.folder / path
        try:
            for parent in list(PurePosixPath(path).parents)[:-1]:
                if not stat.S_ISDIR((self.folder / parent).lstat().st_mode):
                    return None
            status = target.lstat()
        except OSError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _make_folder(self, path: str) -> bool:
        """Create the folders of a file; return False when one of them is a link or not a folder."""
        for parent in reversed(list(PurePosixPath(path).parents)[:-1]):
            name = str(parent)
            if name in self._folders:
                continue
            folder = self.folder / parent
            with suppress(FileExistsError):
                folder.mkdir()
            if not stat.S_ISDIR(folder.lstat().st_mode):
                self._say(path, f"{name} is not a folder, or is a link; {FOREIGN}")
                return False
            with self._mutex:
                self._folders.add(name)
        return True

    def _remove_empty_folders(self, path: str) -> None:
        for parent in list(PurePosixPath(path).parents)[:-1]:
            try:
                (self.folder / parent).rmdir()
            except OSError:
                return


def _is_as_written(record: FileRecord, status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and (record.size, record.mtime_ns) == (
        status.st_size,
        status.st_mtime_ns,
    )


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest_of(reader: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := reader.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _digest_of_file(path: Path) -> str:
    try:
        with os.fdopen(open_regular(path), "rb") as reader:
            return _digest_of(reader)
    except OSError:
        return ""
