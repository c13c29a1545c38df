"""A shelf: one diskcache used by one thread, reopened when its folder or its database is broken. Blocking.

Every operation returns a result or raises `ShelfFault`, and nothing else, whatever happened to the folder. A shelf
runs in its own thread, because SQLite connections belong to threads and can only be closed there. Does not know what
is stored.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from cache.base.durable import GROUP, PRIVATE, Modes
from cache.base.errors import CacheError
from cache.base.layout import CACHE_TAG
from cache.base.opening import PRIVATE_FILE, open_regular, regular_status
from cache.variants.safe_disk import GroupDisk, SafeDisk

log = logging.getLogger(__name__)

R = TypeVar("R")
DATABASE = "cache.db"
BUSY_SECONDS = 2.0
"""How long SQLite waits for another process: longer than any of our transactions, shorter than a visitor would wait."""

_HOPELESS = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_FAULTS = (
    sqlite3.Error,
    sqlite3.Warning,
    OSError,
    diskcache.Timeout,
    CacheError,
    ValueError,
    TypeError,
    LookupError,
)
"""Errors that diskcache lets through: those of SQLite, of the disk, and of planted or damaged rows and settings."""


class ShelfFault(CacheError):
    """The operation failed. The shelf was closed and will be opened again."""


class Shelf:
    """One connection.

    1. Before each operation the database file is compared with the one that was opened: an open connection to
       a deleted file keeps "succeeding". When it differs, it is closed and opened again.
    2. An operation that fails is tried once more on a newly opened database.
    3. A database that SQLite calls corrupt is deleted (it can be rebuilt), unless another process has
       replaced it by then.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object],
        *,
        modes: Modes = PRIVATE,
        on_fault: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._modes = modes
        self._settings = settings
        self._on_fault = on_fault
        self._cache: Any = None
        self._identity: tuple[int, int] | None = None
        self._busy = threading.Lock()

    def use(self, operation: Callable[[Any], R]) -> R:
        """Run an operation on the open diskcache.

        Raises:
            ShelfFault: the operation failed twice.
        """
        with self._busy:
            try:
                return operation(self._opened())
            except _FAULTS as error:
                self._give_up(error)
            try:
                return operation(self._opened())
            except _FAULTS as error:
                self._give_up(error)
                raise ShelfFault(str(error)) from error

    def close(self) -> None:
        """Close the connection of this thread."""
        cache, self._cache, self._identity = self._cache, None, None
        if cache is not None:
            with contextlib.suppress(*_FAULTS):
                cache.close()

    def _opened(self) -> Any:
        if self._cache is not None and self._identity == _identity(self._folder / DATABASE):
            return self._cache
        if self._cache is not None:
            self._on_fault()
            log.warning("the variants in %s were deleted or replaced; opening them again", self._folder)
            self.close()
        make_folder(self._folder, self._modes)
        _require_regular(self._folder)
        _make_private_database(self._folder / DATABASE)
        disk = GroupDisk if self._modes is GROUP else SafeDisk
        self._cache = diskcache.Cache(str(self._folder), timeout=BUSY_SECONDS, disk=disk, **self._settings)
        self._identity = _identity(self._folder / DATABASE)
        return self._cache

    def _give_up(self, error: BaseException) -> None:
        self._on_fault()
        log.warning("the variants in %s failed: %s: %s", self._folder, type(error).__name__, error)
        identity = self._identity
        self.close()
        if isinstance(error, sqlite3.DatabaseError) and (_code(error) & 0xFF) in _HOPELESS:
            self._start_over(identity)

    def _start_over(self, identity: tuple[int, int] | None) -> None:
        database = self._folder / DATABASE
        if identity is not None and identity != _identity(database):
            return
        log.warning("%s is corrupt and is created anew", database)
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                database.with_name(DATABASE + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def looked_into(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of a shelf for reading, without changing any file.

    Raises:
        sqlite3.Error: there is no database, or it cannot be read.
    """
    database = (folder / DATABASE).absolute()
    # If no process has the database open, there is no log of changes, and SQLite would create one in order to read.
    has_log = database.with_name(f"{DATABASE}-wal").exists()
    mode = "mode=ro" if has_log else "immutable=1"
    with contextlib.closing(
        sqlite3.connect(f"{database.as_uri()}?{mode}", uri=True, timeout=BUSY_SECONDS)
    ) as connection:
        yield connection


def _make_private_database(database: Path) -> None:
    """Create an empty database with our mode; SQLite would let the umask choose it.

    The file is never opened here. Closing a descriptor releases every lock of this process on the file, including those
    of an open connection (sqlite.org/howtocorrupt.html §2.2). Another process would then believe that it is the last
    one, and delete the write-ahead log while we use it.
    """
    with contextlib.suppress(FileExistsError, PermissionError):
        # PermissionError: macOS permits this only to root. SQLite creates the file in a folder that is private.
        os.mknod(database, stat.S_IFREG | PRIVATE_FILE)


def make_folder(folder: Path, modes: Modes = PRIVATE) -> None:
    """Create the folder of variants: private or for our group, and marked as not worth a backup."""
    folder.mkdir(mode=modes.folder, parents=True, exist_ok=True)
    tag = folder / "CACHEDIR.TAG"
    with (
        contextlib.suppress(FileExistsError),
        os.fdopen(open_regular(tag, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as writer,
    ):
        writer.write(CACHE_TAG)


def _require_regular(folder: Path) -> None:
    """Refuse database files that would block SQLite or lead it elsewhere.

    Raises:
        OSError: a file of the database is not a regular file.
    """
    for suffix in ("", "-wal", "-shm"):
        path = folder / f"{DATABASE}{suffix}"
        if os.path.lexists(path) and regular_status(path) is None:
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def _code(error: sqlite3.DatabaseError) -> int:
    code = getattr(error, "sqlite_errorcode", 0)
    return code if isinstance(code, int) else 0


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
