"""Failures of sources in the catalogue: writing them, and forgetting them with a purge. Blocking.

A failure carries the stamps of its source and of its origin, as the failure memory of the services does. A purge
changes a stamp, so a failure of before the purge is told from one of after it, whichever process writes it and however
late. A purge by time changes no stamp; the database remembers the last one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from cache.across.seams import Stamps
from cache.base.keys import source_key
from cache.catalogue.schema import row_id

MAX_FAILURES = 100_000
"""The most failures of sources that are not kept and that no article shows. The oldest are forgotten first."""

FORGOTTEN_AT_ONCE = 5_000
"""The most failures that one transaction forgets, so that no other writer waits for long."""

_SETTLE_SHOWN = """
UPDATE shown SET
    missing = NOT EXISTS (SELECT 1 FROM picture WHERE picture.id = shown.id AND picture.source != ''),
    reason = CASE WHEN EXISTS (SELECT 1 FROM block WHERE block.id = shown.id) THEN 'given_up'
        ELSE coalesce((SELECT kind FROM failure WHERE failure.id = shown.id), '') END
WHERE id = ?
"""

_SETTLE_PICTURE = """
UPDATE picture SET failing = EXISTS (SELECT 1 FROM failure WHERE failure.id = picture.id),
    blocked = EXISTS (SELECT 1 FROM block WHERE block.id = picture.id)
WHERE id = ?
"""

_FAILURE = """
INSERT INTO failure (id, kind, status, count, first_at, last_at, stamp, origin, origin_stamp)
VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, status = excluded.status, last_at = excluded.last_at,
    count = count + 1, stamp = excluded.stamp, origin_stamp = excluded.origin_stamp
"""

_FORGET_OLDEST = """
DELETE FROM failure WHERE id IN (
    SELECT id FROM failure WHERE NOT EXISTS (SELECT 1 FROM shown WHERE shown.id = failure.id)
        AND NOT EXISTS (SELECT 1 FROM picture WHERE picture.id = failure.id)
    ORDER BY last_at DESC LIMIT -1 OFFSET ?)
"""

_FORGOTTEN = "failures forgotten"


@dataclass(frozen=True, slots=True)
class FailureNote:
    """A failure of a source, or with an empty `kind` a success.

    at: Unix seconds. status: the origin's, or 0. stamp, origin_stamp: of the source and of its origin when the origin
    was asked.
    """

    source: str
    kind: str
    status: int = 0
    at: float = 0.0
    stamp: int = 0
    origin_stamp: int = 0


@dataclass(frozen=True, slots=True)
class ForgottenTimes:
    """A purge by time: failures from `since` on and before `before` are forgotten, unless they happen after `at`. Unix
    seconds."""

    since: float
    before: float
    at: float

    def holds(self, moment: float) -> bool:
        """Return whether a failure of this moment is forgotten."""
        return self.since <= moment < self.before and moment <= self.at


def write_failures(connection: sqlite3.Connection, notes: Iterable[FailureNote], stamps: Stamps) -> None:
    """Record failures and successes, in the order in which they happened, except those of before a purge.

    Raises:
        sqlite3.Error: the disk refused.
    """
    forgotten = _last_forgotten(connection)
    for note in notes:
        key, origin = source_key(note.source), source_key(origin_of(note.source))
        number = row_id(key)
        if note.kind:
            if (stamps.stamp_of_key(key), stamps.stamp_of_key(origin)) != (note.stamp, note.origin_stamp):
                continue
            if forgotten.holds(note.at):
                continue
            marks = _stored(note.stamp), row_id(origin), _stored(note.origin_stamp)
            connection.execute(_FAILURE, (number, note.kind, note.status, note.at, *marks))
        elif not connection.execute("DELETE FROM failure WHERE id = ?", (number,)).rowcount:
            continue
        settle(connection, number)


def forget_purged(connection: sqlite3.Connection, key: str, stamps: Stamps) -> None:
    """Forget the failure of a source that is from before the last change of its stamp. The caller settles its rows.

    Raises:
        sqlite3.Error: the disk refused.
    """
    now = _stored(stamps.stamp_of_key(key))
    connection.execute("DELETE FROM failure WHERE id = ? AND stamp != ?", (row_id(key), now))


def forget_of_origin(connection: sqlite3.Connection, key: str, stamps: Stamps) -> bool:
    """Forget failures of an origin that are from before the last change of its stamp; return whether that was all.

    Raises:
        sqlite3.Error: the disk refused.
    """
    now = _stored(stamps.stamp_of_key(key))
    return _forget(connection, "origin = ? AND origin_stamp != ?", (row_id(key), now))


def forget_times(connection: sqlite3.Connection, times: ForgottenTimes) -> bool:
    """Forget failures whose last one is of the given times; return whether that was all. Later ones of these times,
    which other processes have yet to write, are not recorded.

    Raises:
        sqlite3.Error: the disk refused.
    """
    value = f"{times.since!r} {times.before!r} {times.at!r}"
    connection.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (_FORGOTTEN, value))
    values = (times.since, times.before, times.at)
    return _forget(connection, "last_at >= ? AND last_at < ? AND last_at <= ?", values)


def forget_oldest(connection: sqlite3.Connection, most: int = MAX_FAILURES) -> None:
    """Forget the oldest failures of sources that are not kept and that no article shows.

    Raises:
        sqlite3.Error: the disk refused.
    """
    connection.execute(_FORGET_OLDEST, (most,))


def settle(connection: sqlite3.Connection, number: int) -> None:
    """Write anew what the rows of a picture say of its failure and its block."""
    connection.execute(_SETTLE_PICTURE, (number,))
    settle_shown(connection, number)


def settle_shown(connection: sqlite3.Connection, number: int) -> None:
    """Write anew whether a picture that an article shows is missing, and why."""
    connection.execute(_SETTLE_SHOWN, (number,))


def origin_of(source: str) -> str:
    """Return scheme, host and port of a canonical URL; empty for what is none, as in an edited entry."""
    scheme, mark, rest = source.partition("://")
    host = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}{mark}{host}" if host else ""


def _forget(connection: sqlite3.Connection, condition: str, values: tuple[float, ...]) -> bool:
    sql = f"SELECT id FROM failure WHERE {condition} LIMIT {FORGOTTEN_AT_ONCE}"  # noqa: S608 - texts of this file
    found = connection.execute(sql, values).fetchall()
    connection.executemany("DELETE FROM failure WHERE id = ?", found)
    for (number,) in found:
        settle(connection, number)
    return len(found) < FORGOTTEN_AT_ONCE


def _last_forgotten(connection: sqlite3.Connection) -> ForgottenTimes:
    row = connection.execute("SELECT value FROM fact WHERE name = ?", (_FORGOTTEN,)).fetchone()
    return ForgottenTimes(*map(float, row[0].split())) if row else ForgottenTimes(0.0, 0.0, 0.0)


def _stored(stamp: int) -> int:
    """Return a stamp as SQLite holds it: 64 bits with a sign."""
    return (stamp + (1 << 63)) % (1 << 64) - (1 << 63)
