"""The catalogue of a store: it follows every change, is compared with the files, and answers questions.

It is derived: entries, blocks and records of articles are the truth, and the catalogue reads from them again whatever
it does not know. Only two facts are recorded nowhere else and start again with a new catalogue: how often a picture was
used, and since when a source fails.

A fault of the catalogue never fails a commit or an answer. A thread of its own writes changes two seconds later.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TypeVar

from cache.across.seams import Blobs, Kind, Stamps
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.catalogue.catching_up import CatchingUp, Part, is_complete
from cache.catalogue.changes import Changed, Changes, Changing, has_left_behind, has_news, left_behind
from cache.catalogue.database import QUESTION_SECONDS, Database, NoCatalogueError
from cache.catalogue.failing import (
    FailureNote,
    ForgottenTimes,
    forget_of_origin,
    forget_oldest,
    forget_times,
    origin_of,
    write_failures,
)
from cache.catalogue.reading import Files
from cache.catalogue.writing import refresh, write_uses

log = logging.getLogger(__name__)

BATCH_SECONDS = 2.0
"""How long changes are collected before they are written together: the fewer transactions, the less each row costs."""

RETRY_SECONDS = 5.0
"""How long after a failure to write the next attempt is made."""

USES_SECONDS = 10.0
"""How long uses of pictures are collected."""

MAX_BATCH = 500
MAX_NOTES = 10_000
"""The most failures, and the most sources with uses, that wait to be written. Further ones are not recorded."""

_FORGET_AFTER = 1_000

R = TypeVar("R")


class Catalogue:
    """The catalogue of one store. Safe for several threads; questions and comparisons block.

    stamps: returns the stamps of the store, which are opened later than its catalogue.
    """

    def __init__(
        self, layout: Layout, entries: Blobs, stamps: Callable[[], Stamps], *, look: bool = False
    ) -> None:
        folder = layout.root / "catalogue"
        self._pending = folder / "pending"
        self.database = Database(folder, layout.modes, look=look)
        self._files = Files(layout, entries)
        self._changes = Changes(self._pending, folder / "current", layout.modes)
        self._stamps = stamps
        self._catching_up = CatchingUp(self.database, self._files, stamps)
        self._failures: deque[FailureNote] = deque(maxlen=MAX_NOTES)
        self._forgotten: list[ForgottenTimes] = []
        self._uses: dict[str, int] = {}
        self._uses_due = 0.0
        self._since_forgetting = 0
        self._writer: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stopping = threading.Event()
        self._flushing = threading.Lock()
        self._complained = False

    # Being told

    def changing(self, kind: Kind, key: str) -> Changing:
        """Return a block that changes a file of the store; see `ChangeNotes`."""
        if self._writer is None and self._changes.are_noted:
            self.start()
        return self._changes.changing(kind, key)

    def note_failure(
        self, source: str, kind: str, *, status: int, at: float, stamp: int | None = None
    ) -> None:
        """Record that the origin of a source failed. at: Unix seconds. stamp: of the source when its origin was asked;
        the present one unless it is given. Never waits."""
        if self._writer is not None:
            stamps = self._stamps()
            seen = stamps.stamp(source) if stamp is None else stamp
            origin_stamp = stamps.stamp_of_key(source_key(origin_of(source)))
            self._note(FailureNote(source, kind, status, at, seen, origin_stamp))

    def note_success(self, source: str) -> None:
        """Record that a source was fetched. Never waits."""
        self._note(FailureNote(source, ""))

    def note_forgotten(self, *, since: float, before: float, at: float) -> None:
        """Record that a purge at a moment has named the failures of some time; all in Unix seconds. Never waits."""
        if self._changes.are_noted:
            self.start()
            self._forgotten.append(ForgottenTimes(since, before, at))
            self._changes.wake()

    def note_use(self, source: str) -> None:
        """Record an answer with a picture. Never waits."""
        uses = self._uses
        if source in uses:
            uses[source] += 1
        elif len(uses) < MAX_NOTES:
            uses[source] = 1

    # Keeping up

    def start(self) -> None:
        """Start to write the changes and the notes of this process."""
        with self._starting:
            if self._writer is None and not self._stopping.is_set():
                self._writer = threading.Thread(target=self._keep_writing, name="catalogue", daemon=True)
                self._writer.start()

    def create(self) -> None:
        """Create the catalogue unless there is one, and start to keep it up to date.

        Raises:
            OSError, sqlite3.Error: the disk refused.
        """
        self.database.create()
        self.start()

    def compare(self, *, again: bool = False) -> Iterator[tuple[int, int, int]]:
        """Compare the catalogue with the files in short steps.

        Yield the number of files read in a step, the parts that are done, and the number of parts. `again`: compare
        everything, even parts that were compared recently.

        Raises:
            OSError: a folder or a file of the store cannot be read.
            NoCatalogueError: there is none.
            sqlite3.Error: the disk refused.
        """
        self.take_over()
        parts: list[Part] = self._catching_up.begin(again=again)
        if parts:
            self.database.use_memory(much=True)
        done = 0
        for count, finished in self._catching_up.steps(parts):
            done += finished
            yield count, done, len(parts)
        if parts:
            self.database.use_memory(much=False)
        yield 0, len(parts), len(parts)

    def take_over(self) -> int:
        """Record the changes of processes that died; return their number.

        Raises:
            OSError: a file of the store cannot be read.
            NoCatalogueError: there is none.
            sqlite3.Error: the disk refused.
        """
        with left_behind(self._pending) as changes:
            self._refresh(changes)
            return len(changes)

    def flush(self) -> None:
        """Write everything that waits.

        Raises:
            OSError, NoCatalogueError, sqlite3.Error: it could not be written. The changes keep waiting.
        """
        self._write(uses=True)

    def close(self) -> None:
        """Write the waiting changes, and stop."""
        self._stopping.set()
        self._changes.wake()
        if self._writer is not None:
            self._writer.join(RETRY_SECONDS)
            if self._writer.is_alive():
                return  # the disk hangs; the changes of this process stay in its file
            try:
                self.flush()
            except NoCatalogueError:
                pass
            except (OSError, sqlite3.Error) as error:
                log.warning("the catalogue could not be written: %s", error)
        self._changes.close()
        self.database.close()

    # Being asked

    def is_whole(self) -> bool:
        """Return whether the catalogue knows everything except the changes being made now."""
        try:
            with self.database.reading() as connection:
                return is_complete(connection, self._files.place()) and not has_left_behind(self._pending)
        except (NoCatalogueError, sqlite3.Error, OSError):
            return False

    def has_news(self) -> bool:
        """Return whether any process has changed something that is not written yet."""
        return has_news(self._pending)

    def ask(self, question: Callable[[sqlite3.Connection], R], *, seconds: float = QUESTION_SECONDS) -> R:
        """Return the answer to a question.

        Raises:
            NoCatalogueError: there is none.
            TooManyError: the answer takes too long.
            sqlite3.Error: it cannot be read.
        """
        with self.database.reading(seconds=seconds) as connection:
            return question(connection)

    # Inside

    def _note(self, note: FailureNote) -> None:
        if self._writer is not None:
            self._failures.append(note)
            self._changes.wake()

    def _keep_writing(self) -> None:
        while not self._stopping.is_set():
            self._changes.wait(USES_SECONDS)
            self._stopping.wait(BATCH_SECONDS)
            try:
                self._write(uses=time.monotonic() >= self._uses_due)
                self._complained = False
            except NoCatalogueError:
                # It was deleted, or was damaged and is made anew. The next comparison reads everything.
                self._stopping.wait(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - see below
                # The thread must survive any content of a file.
                if not self._complained:
                    log.warning("the catalogue cannot be kept up: %r", error)
                self._complained = True
                self._stopping.wait(RETRY_SECONDS)

    def _write(self, *, uses: bool) -> None:
        with self._flushing:
            changes = self._changes.take()
            try:
                self._refresh(changes)
                self._write_notes(uses=uses)
            except BaseException:
                self._changes.give_back(changes)
                raise
            self._changes.settle()

    def _refresh(self, changes: Collection[Changed]) -> None:
        # In the order of their rows, which are neighbours in the database then: a quarter of the cost less.
        ordered = sorted(changes, key=lambda change: (change.kind, change.key))
        of_files = [change for change in ordered if change.kind != "origin"]
        for begin in range(0, len(of_files), MAX_BATCH):
            with self.database.writing() as connection:
                refresh(connection, self._files, self._stamps(), of_files[begin : begin + MAX_BATCH])
        for change in ordered:
            if change.kind == "origin":
                self._until_done(partial(forget_of_origin, key=change.key, stamps=self._stamps()))

    def _until_done(self, step: Callable[[sqlite3.Connection], bool]) -> None:
        """Repeat a step, each time in a transaction of its own, until it returns True."""
        done = False
        while not done:
            with self.database.writing() as connection:
                done = step(connection)

    def _write_notes(self, *, uses: bool) -> None:
        for times in tuple(self._forgotten):
            self._until_done(partial(forget_times, times=times))
            self._forgotten.remove(times)
        failures = list(self._failures)
        used: dict[str, int] = {}
        if uses:
            # The event loop may still add to the former one.
            former, self._uses = self._uses, {}
            used = former.copy()
            self._uses_due = time.monotonic() + USES_SECONDS
        if not failures and not used:
            return
        with self.database.writing() as connection:
            write_failures(connection, failures, self._stamps())
            write_uses(connection, used, now=time.time())
            self._since_forgetting += len(failures)
            if self._since_forgetting >= _FORGET_AFTER:
                self._since_forgetting = 0
                forget_oldest(connection)
        for _ in failures:
            self._failures.popleft()
