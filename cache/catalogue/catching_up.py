"""Catching up: comparing the catalogue with the files, one shard after the other. Blocking, in short steps.

A new catalogue knows nothing, so every file is read. Later comparisons read only files whose stamp differs. They are
made after a restart of the machine, because the last transactions and notes of changes may be lost, and a day after the
last comparison, because somebody may have changed the store by hand. An interrupted comparison continues where it
stopped.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cache.across.seams import KINDS, Kind, Stamps
from cache.across.usage import boot_number
from cache.base.shards import SHARDS
from cache.catalogue.changes import Changed
from cache.catalogue.database import Database
from cache.catalogue.reading import Files
from cache.catalogue.schema import ids_of_shard
from cache.catalogue.writing import mark_compared, refresh

STEP = 100
"""How many files are read in one transaction: some ten milliseconds."""

LISTED = 1_000
"""How many files are listed before the differing ones are read: the shards of a small store are compared together."""

AGAIN_SECONDS = 86_400.0
"""The age at which a comparison is made again."""

_COLUMNS = {"entry": ("picture", "key"), "article": ("article", "digest"), "block": ("block", "key")}


@dataclass(frozen=True, slots=True)
class Part:
    """The files of one kind in one shard."""

    kind: Kind
    shard: str


ALL_PARTS = tuple(Part(kind, shard) for kind in reversed(KINDS) for shard in SHARDS)
"""Every part. Entries come last, because they take the longest."""


def parts_behind(connection: sqlite3.Connection, place: str, *, since: float) -> list[Part]:
    """Return the parts that were not compared since a moment (Unix seconds), or not at `place`, or not since the
    machine started."""
    if not _was_compared_at(connection, place):
        return list(ALL_PARTS)
    rows = connection.execute("SELECT kind, shard FROM compared WHERE at >= ?", (since,))
    done = {(kind, shard) for kind, shard in rows}
    return [part for part in ALL_PARTS if (part.kind, part.shard) not in done]


def is_complete(connection: sqlite3.Connection, place: str) -> bool:
    """Return whether everything was compared since the machine started, with the files at `place`."""
    return not parts_behind(connection, place, since=0.0)


def _stamp_of(place: str) -> str:
    return f"{boot_number()} {place}"


def _was_compared_at(connection: sqlite3.Connection, place: str) -> bool:
    known = connection.execute("SELECT value FROM fact WHERE name = 'compared'").fetchone()
    return known is not None and known[0] == _stamp_of(place)


class CatchingUp:
    """Compares one database with the files."""

    def __init__(self, database: Database, files: Files, stamps: Callable[[], Stamps]) -> None:
        self._database = database
        self._files = files
        self._stamps = stamps

    def begin(self, *, again: bool = False) -> list[Part]:
        """Return the parts to compare; all of them with `again`.

        Raises:
            NoCatalogueError, sqlite3.Error
        """
        place = self._files.place()
        with self._database.writing() as connection:
            if not _was_compared_at(connection, place):
                connection.execute("DELETE FROM compared")
                connection.execute("INSERT OR REPLACE INTO fact VALUES ('compared', ?)", (_stamp_of(place),))
            return parts_behind(connection, place, since=time.time() - (0.0 if again else AGAIN_SECONDS))

    def steps(self, parts: Sequence[Part]) -> Iterator[tuple[int, int]]:
        """Compare parts. Yield after each short step how many files were read, and how many parts were finished.

        Raises:
            OSError: a folder or a file of the store cannot be read.
            NoCatalogueError, sqlite3.Error
        """
        listed: list[tuple[Part, Mapping[str, str]]] = []
        seen = 0
        for part in parts:
            # The process that makes a later change notes it.
            present = self._files.stamps(part.kind, part.shard)
            listed.append((part, present))
            seen += len(present)
            if seen >= LISTED or part is parts[-1]:
                yield from ((count, 0) for count in self._read(self._differing(listed)))
                with self._database.writing() as connection:
                    for each, _ in listed:
                        mark_compared(connection, each.kind, each.shard)
                yield 0, len(listed)
                listed, seen = [], 0

    def _read(self, changes: Sequence[Changed]) -> Iterator[int]:
        for begin in range(0, len(changes), STEP):
            step = changes[begin : begin + STEP]
            with self._database.writing() as connection:
                refresh(connection, self._files, self._stamps(), step)
            yield len(step)

    def _differing(self, listed: Sequence[tuple[Part, Mapping[str, str]]]) -> list[Changed]:
        with self._database.reading(seconds=60.0) as connection:
            return [change for part, present in listed for change in _differing_in(connection, part, present)]


def _differing_in(
    connection: sqlite3.Connection, part: Part, present: Mapping[str, str]
) -> Iterator[Changed]:
    table, column = _COLUMNS[part.kind]
    rows = connection.execute(
        f"SELECT {column}, stamp FROM {table} WHERE id BETWEEN ? AND ?",  # noqa: S608 - from a table above
        ids_of_shard(part.shard),
    )
    known = {key.hex(): stamp for key, stamp in rows}
    changed = {key for key, stamp in present.items() if known.get(key) != stamp}
    return (Changed(part.kind, key) for key in sorted(changed | (known.keys() - present.keys())))
