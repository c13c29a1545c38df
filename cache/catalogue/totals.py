"""Sums of the catalogue over everything that is kept, by origin and by article. Blocking; they read every row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from cache.catalogue.writing import as_text

MAX_SUSPECTS = 100


@dataclass(frozen=True, slots=True)
class SharedBody:
    """Bytes that several sources of one origin have at present."""

    origin: str
    sha256: str
    sources: int


@dataclass(frozen=True, slots=True)
class KeptShare:
    """The figures of one origin, or of one article.

    originals: entries. bytes: of current bodies, once for each source. former, former_bytes: older versions.
    missing: of an article, the sources that are not kept.
    """

    name: str
    originals: int
    bytes: int
    former: int
    former_bytes: int
    set_aside: int
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over everything. present_bytes: of current bodies, once for each source; distinct_bytes: once for each
    body. former_bytes: of bodies that are only history."""

    pictures: int
    entry_bytes: int
    present_bytes: int
    distinct_bytes: int
    versions: int
    former_bytes: int
    set_aside: int
    damaged: int
    recovered: int
    unreadable: int
    blocked: int
    articles: int


_SHARE = """
    count(picture.id), coalesce(sum(picture.size), 0), coalesce(sum(versions), 0),
    coalesce(sum(CASE WHEN versions THEN (SELECT sum(size) FROM version
        WHERE version.picture = picture.id AND NOT is_current) ELSE 0 END), 0), coalesce(sum(set_aside), 0)
"""


def sums(connection: sqlite3.Connection) -> Sums:
    """Return the sums over everything."""

    def one(sql: str) -> tuple[int, ...]:
        return tuple(value or 0 for value in connection.execute(sql).fetchone())

    count, entry_bytes, size, versions, aside, damaged, recovered, unreadable = one(
        "SELECT count(*), sum(entry_bytes), sum(size), sum(versions), sum(set_aside), sum(damaged), sum(recovered),"
        " sum(source = '') FROM picture"
    )
    return Sums(
        pictures=count,
        entry_bytes=entry_bytes,
        present_bytes=size,
        distinct_bytes=one(
            "SELECT sum(size) FROM (SELECT max(size) AS size FROM version WHERE is_current GROUP BY sha256)"
        )[0],
        versions=versions,
        former_bytes=one(
            "SELECT sum(size) FROM (SELECT max(size) AS size FROM version GROUP BY sha256 HAVING max(is_current) = 0)"
        )[0],
        set_aside=aside,
        damaged=damaged,
        recovered=recovered,
        unreadable=unreadable,
        blocked=one("SELECT count(*) FROM block")[0],
        articles=one("SELECT count(*) FROM article WHERE name != x''")[0],
    )


def by_origin(connection: sqlite3.Connection) -> list[KeptShare]:
    """Return the figures of each origin, the largest first."""
    sql = f"SELECT origin, {_SHARE} FROM picture WHERE source != '' GROUP BY origin ORDER BY 3 DESC, 1"  # noqa: S608 - texts of this file
    return [KeptShare(*row) for row in connection.execute(sql)]


def by_article(connection: sqlite3.Connection) -> list[KeptShare]:
    """Return the figures of each known article, the largest first."""
    sql = f"""
        SELECT name, {_SHARE}, pictures - count(picture.id) FROM article
        LEFT JOIN use ON use.article = article.id
        LEFT JOIN picture ON picture.id = use.picture AND picture.source != ''
        WHERE name != x'' GROUP BY article.id ORDER BY 3 DESC, name
    """  # noqa: S608 - texts of this file
    return [KeptShare(as_text(name), *figures) for name, *figures in connection.execute(sql)]


def shared_bodies(connection: sqlite3.Connection, *, least: int) -> list[SharedBody]:
    """Return bodies that at least this many sources of one origin have now, the most common first."""
    sql = """
        SELECT origin, lower(hex(sha256)), count(*) FROM picture WHERE source != '' GROUP BY origin, sha256
        HAVING count(*) >= ? ORDER BY 3 DESC, 1, 2 LIMIT ?
    """
    return [SharedBody(*row) for row in connection.execute(sql, (least, MAX_SUSPECTS))]


def named_bodies(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Yield the digests of all bodies that entries name."""
    return (row[0] for row in connection.execute("SELECT DISTINCT sha256 FROM version"))


def sources_of_origin(connection: sqlite3.Connection, origin: str) -> list[str]:
    """Return the kept sources of an origin, sorted."""
    sql = "SELECT source FROM picture WHERE origin = ? AND source != '' ORDER BY source"
    return [row[0] for row in connection.execute(sql, (origin,))]
