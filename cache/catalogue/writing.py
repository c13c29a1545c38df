"""Writing the catalogue: the rows of changed files, in the transaction of the caller. Blocking.

A file is read after the transaction began. Write transactions exclude each other, so whichever process writes a row
last has read the newest file.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Mapping

from cache.across.seams import Stamps
from cache.base.entry import Entry
from cache.base.keys import source_key
from cache.catalogue.changes import Changed
from cache.catalogue.failing import forget_purged, origin_of, settle, settle_shown
from cache.catalogue.reading import BlockFile, EntryFile, Files, RecordFile
from cache.catalogue.schema import row_id
from cache.originals.articles import KeptArticle

log = logging.getLogger(__name__)

_PICTURE = """
INSERT INTO picture (id, key, stamp, entry_bytes, source, origin, sha256, size, media_type, width, height,
    fetched_at, validated_at, versions, set_aside, damaged, recovered, failing, blocked)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
    EXISTS (SELECT 1 FROM failure WHERE failure.id = ?1), EXISTS (SELECT 1 FROM block WHERE block.id = ?1))
ON CONFLICT (id) DO UPDATE SET key = excluded.key, stamp = excluded.stamp, entry_bytes = excluded.entry_bytes,
    source = excluded.source, origin = excluded.origin, sha256 = excluded.sha256, size = excluded.size,
    media_type = excluded.media_type, width = excluded.width, height = excluded.height,
    fetched_at = excluded.fetched_at, validated_at = excluded.validated_at, versions = excluded.versions,
    set_aside = excluded.set_aside, damaged = excluded.damaged, recovered = excluded.recovered
"""


def refresh(connection: sqlite3.Connection, files: Files, stamps: Stamps, changes: Iterable[Changed]) -> None:
    """Read files again and write their rows. A source whose entry is gone may have been purged; then its failure of
    before is forgotten.

    Raises:
        OSError: a file cannot be read.
        sqlite3.Error: the disk refused.
    """
    more = 0
    for change in changes:
        if change.kind == "entry":
            found = files.entry(change.key)
            if found is None:
                forget_purged(connection, change.key, stamps)
            more += _write_entry(connection, change.key, found)
        elif change.kind == "article":
            _write_article(connection, change.key, files.article(change.key))
        elif change.kind == "block":
            _write_block(connection, change.key, files.block(change.key))
    if more:
        connection.execute("UPDATE total SET pictures = pictures + ?", (more,))


def write_uses(connection: sqlite3.Connection, uses: Mapping[str, int], *, now: float) -> None:
    """Add to the number of answers with each source, and record the time of the last one (Unix seconds).

    Raises:
        sqlite3.Error: the disk refused.
    """
    rows = ((count, now, row_id(source_key(source))) for source, count in uses.items())
    connection.executemany("UPDATE picture SET uses = uses + ?, used_at = ? WHERE id = ?", rows)


def mark_compared(connection: sqlite3.Connection, kind: str, shard: str) -> None:
    """Record that a shard was compared with the files."""
    connection.execute("INSERT OR REPLACE INTO compared VALUES (?, ?, ?)", (kind, shard, time.time()))


def _write_entry(connection: sqlite3.Connection, key: str, found: EntryFile | None) -> int:
    """Write the row of an entry; return by how many rows the table has grown."""
    number = row_id(key)
    known = connection.execute("SELECT source, stamp FROM picture WHERE id = ?", (number,)).fetchone()
    if known is not None and found is not None and known[1] == found.stamp:
        return 0
    source = found.entry.source if found is not None and found.entry is not None else ""
    if known is not None and known[0] and known[0] != source:
        connection.execute(
            "INSERT INTO address (address, rowid, source) VALUES ('delete', ?, ?)", (number, known[0])
        )
    if known is not None:
        connection.execute("DELETE FROM version WHERE picture = ?", (number,))
    if found is None:
        connection.execute("DELETE FROM picture WHERE id = ?", (number,))
    else:
        connection.execute(_PICTURE, _picture_row(number, key, found))
        if source and (known is None or known[0] != source):
            connection.execute("INSERT INTO address (rowid, source) VALUES (?, ?)", (number, source))
        if found.entry is not None:
            connection.executemany(
                "INSERT OR IGNORE INTO version VALUES (?, ?, ?, ?)", _versions(number, found.entry)
            )
    settle_shown(connection, number)
    return int(found is not None) - int(known is not None)


def _picture_row(number: int, key: str, found: EntryFile) -> tuple[object, ...]:
    start = (number, bytes.fromhex(key), found.stamp, found.size)
    entry = found.entry
    if entry is None:
        return (*start, "", "", b"", 0, "", 0, 0, 0.0, 0.0, 0, 0, 0, 0)
    facts = entry.picture or {}
    return (
        *start, entry.source, origin_of(entry.source), bytes.fromhex(entry.body_sha256), entry.body_size,
        _storable(entry.media_type), _side(facts.get("width")), _side(facts.get("height")), entry.fetched_at,
        entry.validated_at, len(entry.history), sum(bool(item.note) for item in entry.history),
        int(entry.damaged), int(entry.recovered is not None),
    )  # fmt: skip


def _versions(number: int, entry: Entry) -> Iterable[tuple[bytes, int, int, int]]:
    yield bytes.fromhex(entry.body_sha256), number, entry.body_size, 1
    for item in entry.history:
        yield bytes.fromhex(item.body_sha256), number, item.body_size, 0


def _write_article(connection: sqlite3.Connection, key: str, found: RecordFile | None) -> None:
    number = row_id(key)
    known = connection.execute("SELECT stamp FROM article WHERE id = ?", (number,)).fetchone()
    if known is not None and found is not None and known[0] == found.stamp:
        return
    before = {row[0] for row in connection.execute("SELECT picture FROM use WHERE article = ?", (number,))}
    connection.execute("DELETE FROM use WHERE article = ?", (number,))
    if found is None:
        connection.execute("DELETE FROM article WHERE id = ?", (number,))
    article = found.article if found is not None else None
    sources = _numbered(article.sources) if article else {}
    if found is not None:
        name, path, date = (article.name, article.path, article.date) if article else ("", "", None)
        connection.execute(
            "INSERT OR REPLACE INTO article VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            (number, bytes.fromhex(key), found.stamp, as_bytes(name), as_bytes(path), date, len(sources)),
        )
    if article is not None:
        _write_uses_of(connection, number, article, sources)
    for picture in before - sources.keys():
        if connection.execute("SELECT 1 FROM use WHERE picture = ? LIMIT 1", (picture,)).fetchone() is None:
            connection.execute("DELETE FROM shown WHERE id = ?", (picture,))


def _numbered(sources: Iterable[str]) -> dict[int, str]:
    # An edited record may hold anything.
    return {row_id(source_key(source)): source for source in sources if source.isascii()}


def _write_uses_of(
    connection: sqlite3.Connection, number: int, article: KeptArticle, sources: Mapping[int, str]
) -> None:
    connection.executemany(
        "INSERT INTO use VALUES (?, ?, ?)",
        (
            (number, picture, " ".join(map(str, article.lines.get(source, ()))))
            for picture, source in sources.items()
        ),
    )
    for picture, source in sources.items():
        connection.execute("INSERT OR IGNORE INTO shown VALUES (?, ?, 0, '')", (picture, source))
        settle_shown(connection, picture)


def _write_block(connection: sqlite3.Connection, key: str, found: BlockFile | None) -> None:
    number = row_id(key)
    if found is None:
        connection.execute("DELETE FROM block WHERE id = ?", (number,))
    else:
        source, reason = (found.block.source, found.block.reason) if found.block else ("", "")
        connection.execute(
            "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?)",
            (number, bytes.fromhex(key), found.stamp, _storable(source), _storable(reason)),
        )
    settle(connection, number)


def as_bytes(text: str) -> bytes:
    """Return a name as it is stored: names of files may hold bytes that are not UTF-8, as lone surrogates."""
    return text.encode("utf-8", "surrogatepass")


def as_text(stored: bytes) -> str:
    """Return a stored name."""
    return stored.decode("utf-8", "surrogatepass")


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _side(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else 0
