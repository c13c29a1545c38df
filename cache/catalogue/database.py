"""The database of the catalogue: SQLite in WAL mode, in a file that is replaced when it is damaged. Blocking.

A database must not be deleted while another process has it open: at its close SQLite removes the `-wal` file by its
name, which could be that of a new database (sqlite.org/howtocorrupt.html §2.4). Each database therefore has a name of
its own, and the file `current` says which one is used. Every use checks whether the open database is still that one.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cache.base.durable import Durable, Modes
from cache.base.opening import open_regular, read_regular
from cache.catalogue.schema import SCHEMA, VERSION

log = logging.getLogger(__name__)

BUSY_SECONDS = 10.0
"""How long a writer waits for another."""

CACHE_KIB = 2048
BULK_CACHE_KIB = 16_384
"""How much of the database each connection holds in memory; the second number applies while much is written."""

_CHECKPOINT_PAGES = 1_000
_BULK_CHECKPOINT_PAGES = 8_000
QUESTION_SECONDS = 3.0
"""The longest time of a question. A longer one is stopped, so that nobody can occupy a thread with it."""

_STEPS_BETWEEN_CHECKS = 20_000
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class NoCatalogueError(Exception):
    """The store has no catalogue that can be used now."""


class TooManyError(Exception):
    """A question took too long."""


class Database:
    """The current database. Writers exclude each other; readers see the state before or after a change.

    look: the database is only read, and no file is created or changed.
    """

    def __init__(self, folder: Path, modes: Modes, *, look: bool = False) -> None:
        self._look = look
        self._folder = folder
        self._modes = modes
        self._current = folder / "current"
        self._writing = _Connection(self)
        self._reading = _Connection(self)

    def name(self) -> str | None:
        """Return the name of the current database; None if there is none of this version."""
        try:
            name = read_regular(self._current, 200).decode("ascii", "replace").strip()
        except OSError:
            return None
        is_ours = name.startswith(f"catalogue-{VERSION}-") and name.endswith(".db") and "/" not in name
        return name if is_ours and (self._folder / name).exists() else None

    def create(self) -> None:
        """Create a database unless there is one.

        Raises:
            OSError, sqlite3.Error: the disk refused.
        """
        self._replace(None)

    def give_up(self, damaged: str) -> None:
        """Create a new database in place of a damaged one, unless another process has done so or this is only a look.

        Raises:
            OSError, sqlite3.Error: the disk refused.
        """
        log.warning("the catalogue %s is damaged; a service makes it again", damaged)
        if not self._look:
            self._replace(damaged)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the only write transaction for a block; undo it if the block fails.

        Raises:
            NoCatalogueError: there is none, or it was replaced meanwhile and the changes are lost.
            sqlite3.Error: the disk refused, or the lock is not released.
        """
        with self._writing.held() as (name, connection):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                # The transaction may be gone with the disk.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            if self.name() != name:
                raise NoCatalogueError

    @contextlib.contextmanager
    def reading(self, *, seconds: float = QUESTION_SECONDS) -> Iterator[sqlite3.Connection]:
        """Hold one state of the database for a block of questions.

        Raises:
            NoCatalogueError: there is none.
            TooManyError: the block took longer than `seconds`.
            sqlite3.Error: it cannot be read.
        """
        with self._reading.held() as (_, connection):
            until = time.monotonic() + seconds
            connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS_BETWEEN_CHECKS)
            connection.execute("BEGIN")
            try:
                yield connection
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                    raise TooManyError from error
                raise
            finally:
                connection.set_progress_handler(None, 0)
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def use_memory(self, *, much: bool) -> None:
        """Write with much memory from now on, or with little.

        Raises:
            NoCatalogueError, sqlite3.Error: there is none, or it cannot be used.
        """
        with self._writing.held() as (_, connection):
            size, pages = (BULK_CACHE_KIB, _BULK_CHECKPOINT_PAGES) if much else (CACHE_KIB, _CHECKPOINT_PAGES)
            connection.execute(f"PRAGMA cache_size = -{size}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    def close(self) -> None:
        """Close both connections."""
        self._writing.close()
        self._reading.close()

    def open(self) -> tuple[str, sqlite3.Connection]:
        """Open the current database.

        Raises:
            NoCatalogueError: there is none.
            sqlite3.Error: it cannot be opened.
        """
        name = self.name()
        if name is None:
            raise NoCatalogueError
        return name, self._connected(self._folder / name)

    def _connected(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{self._access(path)}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # A power loss may lose the last transactions; everything is then compared (`catching_up.py`).
            connection.execute("PRAGMA synchronous = normal")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            connection.execute(f"PRAGMA journal_size_limit = {4 * _CHECKPOINT_PAGES * 1024}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _access(self, path: Path) -> str:
        if not self._look:
            return "mode=rw"
        # Without a log nobody has it open, so it is whole. SQLite would otherwise create the log's files to read it.
        has_log = path.with_name(f"{path.name}-wal").exists()
        return "mode=ro" if has_log else "mode=ro&immutable=1"

    def _replace(self, damaged: str | None) -> None:
        self._modes.make_folder(self._folder)
        descriptor = open_regular(self._folder / "lock", os.O_RDWR | os.O_CREAT, self._modes.file)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            name = self.name()
            if name is not None and name != damaged:
                return
            self._make()
        finally:
            os.close(descriptor)

    def _make(self) -> None:
        name = f"catalogue-{VERSION}-{secrets.token_hex(8)}.db"
        path = self._folder / name
        # SQLite gives its other files the mode of this one.
        os.close(open_regular(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, self._modes.file))
        with contextlib.closing(self._connected(path)) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        Durable(self._folder, self._modes).write_unsynced(self._current, f"{name}\n".encode("ascii"))
        # Other processes may still have a former database open, but nobody opens it again.
        for other in self._folder.glob("catalogue-*"):
            if not other.name.startswith(name):
                other.unlink(missing_ok=True)


class _Connection:
    """One connection to whatever database is the current one, for one thread at a time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._open: tuple[str, sqlite3.Connection] | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[tuple[str, sqlite3.Connection]]:
        with self._lock:
            if self._open is not None and self._open[0] != self._database.name():
                self._drop()
            if self._open is None:
                self._open = self._database.open()
            try:
                yield self._open
            except sqlite3.DatabaseError as error:
                name = self._open[0]
                self._drop()
                if is_damage(error):
                    self._database.give_up(name)
                    raise NoCatalogueError from error
                raise

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._open is not None:
            with contextlib.suppress(sqlite3.Error):
                self._open[1].close()
            self._open = None


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the database itself is damaged."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED
