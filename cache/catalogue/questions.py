"""Questions to the catalogue about pictures, and their answers. Blocking.

The first page of every list must come at once from a million rows. A list with filters therefore has two plans. If one
filter leaves few rows, they are looked up and sorted. Otherwise many rows pass, so walking along the index of the
sorting finds a page soon.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from cache.catalogue.schema import row_id
from cache.originals.articles import article_key

FEW = 3_000
"""How many rows a filter may leave so that all of them are looked up."""

MIN_TEXT = 3
"""The fewest characters of a text to search for: addresses are indexed by three."""
MAX_TEXT = 200
"""Longer texts to search for are cut."""

Sorting = Literal["age", "size", "use", "address"]
PictureState = Literal[
    "", "damaged", "recovered", "versions", "set_aside", "failing", "blocked", "unreadable"
]

_SORTINGS: dict[Sorting, tuple[str, str, str]] = {
    "age": ("fetched_at", "DESC", "<"),
    "size": ("size", "DESC", "<"),
    "use": ("uses", "DESC", "<"),
    "address": ("source", "ASC", ">"),
}
"""By sorting: column, direction, and how a later row compares with an earlier one."""

_STATES: dict[PictureState, tuple[str, str]] = {
    "damaged": ("SELECT id FROM picture WHERE damaged", "damaged"),
    "recovered": ("SELECT id FROM picture WHERE recovered", "recovered"),
    "versions": ("SELECT id FROM picture WHERE versions", "versions"),
    "set_aside": ("SELECT id FROM picture WHERE set_aside", "set_aside"),
    "failing": ("SELECT id FROM picture WHERE failing", "failing"),
    "blocked": ("SELECT id FROM picture WHERE blocked", "blocked"),
    "unreadable": ("SELECT id FROM picture WHERE source = ''", "source = ''"),
}
"""By state: the ids of the pictures in it, and the condition for one picture."""

_COLUMNS = """
    picture.id, lower(hex(picture.key)), picture.source, picture.origin, lower(hex(picture.sha256)), picture.size,
    picture.media_type, picture.width, picture.height, picture.fetched_at, picture.validated_at, picture.versions,
    picture.set_aside, picture.damaged, picture.recovered, picture.uses, picture.used_at,
    picture.blocked,
    coalesce((SELECT kind FROM failure WHERE failure.id = picture.id), ''),
    (SELECT count(*) FROM use WHERE use.picture = picture.id)
"""


@dataclass(frozen=True, slots=True)
class PictureQuestion:
    """The kept pictures to select; a field that is empty or None selects all.

    text: part of the address, in any case, at least `MIN_TEXT` characters. origin: scheme, host and port. article: its
    name. sha256: the first digits of the digest of a version, in hexadecimal. since, until: when the current bytes
    first arrived, Unix seconds.
    after: `PicturePage.after` of the page before.
    """

    text: str = ""
    origin: str = ""
    article: str = ""
    sha256: str = ""
    since: float | None = None
    until: float | None = None
    state: PictureState = ""
    sorting: Sorting = "age"
    after: tuple[float | str, int] | None = None
    most: int = 50


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A kept picture as the catalogue knows it.

    Times are Unix seconds; 0 for `used_at` if it was not used. versions: older ones. failure: the kind of the last
    failure of its origin; empty after a success. articles: how many show it. source is empty if the entry is
    unreadable.
    """

    id: int
    key: str
    source: str
    origin: str
    sha256: str
    size: int
    media_type: str
    width: int
    height: int
    fetched_at: float
    validated_at: float
    versions: int
    set_aside: int
    is_damaged: bool
    is_recovered: bool
    uses: int
    used_at: float
    is_blocked: bool
    failure: str
    articles: int


@dataclass(frozen=True, slots=True)
class PicturePage:
    """A page of pictures. after: None on the last one. total: of all pages; None if they are too many to count."""

    rows: tuple[PictureRow, ...]
    after: tuple[float | str, int] | None
    total: int | None


@dataclass(slots=True)
class _Filter:
    """One filter: the ids that pass, and the condition for one row."""

    ids: str
    condition: str
    values: tuple[object, ...]
    row_values: tuple[object, ...] = field(default=())

    def few(self, connection: sqlite3.Connection) -> list[int] | None:
        """Return the ids that pass if they are few."""
        ids = connection.execute(f"{self.ids} LIMIT {FEW + 1}", self.values).fetchall()
        return [row[0] for row in ids] if len(ids) <= FEW else None


def pictures(connection: sqlite3.Connection, question: PictureQuestion) -> PicturePage:
    """Return a page of kept pictures.

    Raises:
        ValueError: the text is too short.
        sqlite3.Error: the catalogue cannot be read.
    """
    filters = _filters(question)
    few = [ids for item in filters if (ids := item.few(connection)) is not None]
    plan = _looked_up(min(few, key=len)) if few else _walked(question.sorting)
    for item in filters:
        plan.require(item.condition, item.row_values)
    if question.state != "unreadable":
        plan.require("source != ''")
    total = None
    if few:
        total = plan.count(connection)
    elif not filters:
        total = int(connection.execute("SELECT pictures FROM total").fetchone()[0])
    column, direction, later = _SORTINGS[question.sorting]
    if question.after is not None:
        plan.require(f"({column}, picture.id) {later} (?, ?)", question.after)
    order = f"{column} {direction}, picture.id {direction}"
    found = plan.rows(connection, f"{_COLUMNS}, {column}", order, most=question.most + 1)
    rows = found[: question.most]
    after = (rows[-1][-1], rows[-1][0]) if len(found) > len(rows) and rows else None
    return PicturePage(tuple(_picture_row(row) for row in rows), after, total)


@dataclass(slots=True)
class _Plan:
    """A statement on pictures. begin: what precedes SELECT. table: what is selected from."""

    begin: str
    table: str
    values: list[object]
    conditions: list[str] = field(default_factory=list)

    def require(self, condition: str, values: Sequence[object] = ()) -> None:
        """Add a condition."""
        self.conditions.append(condition)
        self.values += values

    def count(self, connection: sqlite3.Connection) -> int:
        """Return how many pictures pass."""
        return int(
            connection.execute(f"{self.begin} SELECT count(*) {self._rest()}", self.values).fetchone()[0]
        )

    def rows(
        self, connection: sqlite3.Connection, columns: str, order: str, *, most: int
    ) -> list[tuple[Any, ...]]:
        """Return the first rows."""
        statement = f"{self.begin} SELECT {columns} {self._rest()} ORDER BY {order} LIMIT ?"
        return connection.execute(statement, (*self.values, most)).fetchall()

    def _rest(self) -> str:
        return f"FROM {self.table} WHERE {' AND '.join(self.conditions) or '1'}"


def _looked_up(ids: list[int]) -> _Plan:
    begin = "WITH chosen (id) AS MATERIALIZED (SELECT DISTINCT value FROM json_each(?))"
    return _Plan(begin, "chosen CROSS JOIN picture ON picture.id = chosen.id", [json.dumps(ids)])


def _walked(sorting: Sorting) -> _Plan:
    return _Plan("", f"picture INDEXED BY picture_{_SORTINGS[sorting][0]}", [])


def _filters(question: PictureQuestion) -> list[_Filter]:
    found = []
    if question.text:
        found.append(_text_filter(question.text[:MAX_TEXT]))
    if question.origin:
        value = (question.origin,)
        found.append(_Filter("SELECT id FROM picture WHERE origin = ?", "origin = ?", value, value))
    if question.article:
        number = (row_id(article_key(question.article)),)
        condition = "EXISTS (SELECT 1 FROM use WHERE article = ? AND use.picture = picture.id)"
        found.append(_Filter("SELECT picture FROM use WHERE article = ?", condition, number, number))
    if question.sha256:
        bounds = _digests(question.sha256)
        condition = (
            "EXISTS (SELECT 1 FROM version WHERE sha256 >= ? AND sha256 < ? AND version.picture = picture.id)"
        )
        ids = "SELECT picture FROM version WHERE sha256 >= ? AND sha256 < ?"
        found.append(_Filter(ids, condition, bounds, bounds))
    if question.since is not None or question.until is not None:
        times = (question.since or 0.0, 1e18 if question.until is None else question.until)
        condition = "fetched_at >= ? AND fetched_at < ?"
        found.append(_Filter(f"SELECT id FROM picture WHERE {condition}", condition, times, times))  # noqa: S608
    if question.state:
        ids, condition = _STATES[question.state]
        found.append(_Filter(ids, condition, ()))
    return found


def _text_filter(text: str) -> _Filter:
    if len(text) < MIN_TEXT:
        raise ValueError(f"a text to search for has at least {MIN_TEXT} characters")
    words = sorted({text[at : at + MIN_TEXT] for at in range(len(text) - MIN_TEXT + 1)})
    match = " AND ".join('"' + word.replace('"', '""') + '"' for word in words)
    ids = "SELECT rowid FROM address WHERE address MATCH ?"
    return _Filter(ids, "source LIKE ? ESCAPE '\\'", (match,), (like(text),))


def like(text: str) -> str:
    """Return the pattern of LIKE for a text anywhere, with backslash as the escape."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _digests(prefix: str) -> tuple[bytes, bytes]:
    """Return the first digest with these hexadecimal digits, and the first one after them."""
    first = bytes.fromhex(prefix.ljust(64, "0"))
    last = bytes.fromhex(prefix.ljust(64, "f"))
    return first, last + b"\0"


def _picture_row(row: tuple[Any, ...]) -> PictureRow:
    values: list[Any] = list(row[: len(fields(PictureRow))])
    for index in _BOOLEANS:
        values[index] = bool(values[index])
    return PictureRow(*values)


_BOOLEANS = [index for index, item in enumerate(fields(PictureRow)) if item.name.startswith("is_")]
