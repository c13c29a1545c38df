"""Questions to the catalogue about articles and the pictures that they show. Blocking."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cache.base.keys import source_key
from cache.catalogue.questions import FEW, like
from cache.catalogue.schema import row_id
from cache.catalogue.writing import as_bytes, as_text
from cache.originals.articles import article_key

MAX_ARTICLES_OF_ROW = 20
"""The most articles that are named for one missing picture."""


@dataclass(frozen=True, slots=True)
class ShownIn:
    """An article that shows a picture. lines: in its file, from 1; empty if they are not known."""

    article: str
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MissingRow:
    """A source that an article shows and that is not kept.

    reason: the kind of its last failure; `given_up` if it is blocked; empty if no failure is known. Times are Unix
    seconds, 0 without a failure. uses: the first articles that show it; articles: how many show it. block: the reason
    of its block; empty if it is not blocked.
    """

    source: str
    reason: str
    status: int
    count: int
    first_at: float
    last_at: float
    uses: tuple[ShownIn, ...]
    articles: int
    block: str


@dataclass(frozen=True, slots=True)
class MissingRows:
    """A page of missing pictures in the order of their addresses. after: None on the last one."""

    rows: tuple[MissingRow, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class ArticleRow:
    """A known article. date: Unix seconds. bytes: of the originals of its pictures that are kept."""

    name: str
    path: str
    date: float | None
    pictures: int
    missing: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ArticlePage:
    """A page of articles by name. after: None on the last one."""

    rows: tuple[ArticleRow, ...]
    after: str | None
    total: int | None


def missing_by_reason(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many pictures of articles are missing, by reason."""
    return dict(connection.execute("SELECT reason, pictures FROM lack WHERE pictures"))


def missing(  # noqa: PLR0913 - one filter each
    connection: sqlite3.Connection,
    *,
    reasons: Iterable[str] | None = None,
    text: str = "",
    article: str = "",
    after: str = "",
    most: int = 50,
) -> MissingRows:
    """Return a page of missing pictures; of `reasons` only, unless that is None."""
    conditions, values = ["missing", "source > ?"], [after]
    index = "shown_missing"
    if reasons is not None:
        chosen = list(reasons)
        counts = missing_by_reason(connection)
        if sum(counts.get(reason, 0) for reason in chosen) <= FEW:
            index = "shown_reason"
        conditions.append(f"reason IN ({', '.join('?' * len(chosen))})")
        values += chosen
    if text:
        conditions.append("source LIKE ? ESCAPE '\\'")
        values.append(like(text))
    table, more = f"shown INDEXED BY {index}", []
    if article:
        table = "use CROSS JOIN shown ON shown.id = use.picture"
        conditions.append("use.article = ?")
        more.append(row_id(article_key(article)))
    sql = f"SELECT shown.id, source, reason FROM {table} WHERE {' AND '.join(conditions)} ORDER BY source LIMIT ?"  # noqa: S608 - texts of this file
    found = connection.execute(sql, (*values, *more, most + 1)).fetchall()
    rows = tuple(_missing_row(connection, *row) for row in found[:most])
    return MissingRows(rows, rows[-1].source if len(found) > most else None)


def missing_in(connection: sqlite3.Connection, article: str) -> int:
    """Return how many pictures of an article are missing."""
    sql = "SELECT missing FROM article WHERE id = ?"
    row = connection.execute(sql, (row_id(article_key(article)),)).fetchone()
    return int(row[0]) if row else 0


def missing_of(connection: sqlite3.Connection, sources: Iterable[str]) -> dict[str, MissingRow]:
    """Return the facts known about those sources that are shown and not kept."""
    found = {}
    for source in sources:
        sql = "SELECT id, source, reason FROM shown WHERE id = ? AND missing"
        if row := connection.execute(sql, (row_id(source_key(source)),)).fetchone():
            found[source] = _missing_row(connection, *row)
    return found


def uses_of(connection: sqlite3.Connection, source: str, *, most: int = -1) -> list[ShownIn]:
    """Return the articles that show a source, by name; at most `most` unless that is negative."""
    return _uses(connection, row_id(source_key(source)), most=most)


def articles(
    connection: sqlite3.Connection,
    *,
    text: str = "",
    after: str = "",
    only_missing: bool = False,
    most: int = 50,
) -> ArticlePage:
    """Return a page of the known articles whose names hold a text."""
    conditions, values = ["name != x''"], []
    if text:
        conditions.append("CAST(name AS TEXT) LIKE ? ESCAPE '\\'")
        values.append(like(text))
    if only_missing:
        conditions.append("missing")
    where = " AND ".join(conditions)
    total = int(connection.execute(f"SELECT count(*) FROM article WHERE {where}", values).fetchone()[0])  # noqa: S608 - texts of this file
    columns = "id, name, path, date, pictures, missing"
    sql = f"SELECT {columns} FROM article WHERE {where} AND name > ? ORDER BY name LIMIT ?"  # noqa: S608 - as above
    found = connection.execute(sql, (*values, as_bytes(after), most + 1)).fetchall()
    rows = tuple(_article_row(connection, row) for row in found[:most])
    return ArticlePage(rows, rows[-1].name if len(found) > most else None, total)


def showing(connection: sqlite3.Connection, sources: Iterable[str]) -> list[str]:
    """Return the keys of the articles that show any of the sources."""
    numbers = json.dumps([row_id(source_key(source)) for source in sources if source.isascii()])
    sql = """
        SELECT DISTINCT lower(hex(digest)) FROM use CROSS JOIN article ON article.id = use.article
        WHERE picture IN (SELECT value FROM json_each(?)) ORDER BY 1
    """
    return [row[0] for row in connection.execute(sql, (numbers,))]


def _missing_row(connection: sqlite3.Connection, number: int, source: str, reason: str) -> MissingRow:
    sql = "SELECT status, count, first_at, last_at FROM failure WHERE id = ?"
    status, failures, first_at, last_at = connection.execute(sql, (number,)).fetchone() or (0, 0, 0.0, 0.0)
    count = int(connection.execute("SELECT count(*) FROM use WHERE picture = ?", (number,)).fetchone()[0])
    uses = _uses(connection, number, most=MAX_ARTICLES_OF_ROW)
    block = connection.execute("SELECT reason FROM block WHERE id = ?", (number,)).fetchone()
    return MissingRow(
        source, reason, status, failures, first_at, last_at, tuple(uses), count, block[0] if block else ""
    )


def _uses(connection: sqlite3.Connection, number: int, *, most: int) -> list[ShownIn]:
    sql = """
        SELECT name, lines FROM use CROSS JOIN article ON article.id = use.article WHERE picture = ?
        ORDER BY name LIMIT ?
    """
    rows = connection.execute(sql, (number, most))
    return [ShownIn(as_text(name), tuple(map(int, lines.split()))) for name, lines in rows]


def _article_row(connection: sqlite3.Connection, row: tuple[Any, ...]) -> ArticleRow:
    number, name, path, date, count, absent = row
    sql = """
        SELECT coalesce(sum(size), 0) FROM use CROSS JOIN picture ON picture.id = use.picture WHERE use.article = ?
    """
    size = connection.execute(sql, (number,)).fetchone()[0]
    return ArticleRow(as_text(name), as_text(path), date, count, absent, size)
