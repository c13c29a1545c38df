"""Compares the catalogue of a store with one that is made anew from its files."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

from cache.catalogue import lists, totals
from cache.durable_tier import Originals

_TABLES = {
    "picture": "id, key, stamp, entry_bytes, source, origin, sha256, size, versions, set_aside, damaged, blocked",
    "version": "sha256, picture, size, is_current",
    "article": "id, stamp, name, path, date, pictures",
    "use": "article, picture, lines",
    "shown": "id, source, missing",
    "block": "id, key, stamp, source, reason",
}


def _rows(connection: sqlite3.Connection) -> dict[str, set[tuple[Any, ...]]]:
    found: dict[str, set[tuple[Any, ...]]] = {}
    for table, columns in _TABLES.items():
        found[table] = set(connection.execute(f"SELECT {columns} FROM {table}"))  # noqa: S608 - from the table above
    found["total"] = set(connection.execute("SELECT pictures FROM total"))
    assert found["total"] == set(connection.execute("SELECT count(*) FROM picture"))
    lacking = dict(connection.execute("SELECT reason, count(*) FROM shown WHERE missing GROUP BY reason"))
    assert lists.missing_by_reason(connection) == lacking
    counted = """
        SELECT id, (
            SELECT count(*) FROM use JOIN shown ON shown.id = picture WHERE article = article.id AND shown.missing
        ) FROM article
    """
    found["missing of articles"] = set(connection.execute("SELECT id, missing FROM article"))
    assert found["missing of articles"] == set(connection.execute(counted))
    # The texts of the search are not stored, so each address is searched.
    found["address"] = {
        row
        for row in connection.execute("SELECT id, source FROM picture WHERE source != ''")
        if (row[0],)
        in set(connection.execute("SELECT rowid FROM address WHERE address MATCH ?", (_match(row[1]),)))
    }
    return found


def _match(text: str) -> str:
    return " AND ".join(f'"{text[at : at + 3]}"' for at in range(len(text) - 2))


async def differences(root: Path) -> list[str]:
    """Return what the caught-up catalogue of a closed store says differently from one that is made anew."""
    store = await Originals.open(root)
    await store.catalogue.catch_up()
    assert await store.catalogue.is_whole()
    kept = await store.catalogue.ask(_rows)
    sums = await store.catalogue.ask(totals.sums)
    await store.close()
    shutil.rmtree(root / "catalogue")
    store = await Originals.open(root)
    await store.catalogue.catch_up()
    anew = await store.catalogue.ask(_rows)
    assert sums == await store.catalogue.ask(totals.sums)
    await store.close()
    return [
        f"{table}: {sorted(kept[table] ^ anew[table])[:3]}" for table in kept if kept[table] != anew[table]
    ]
