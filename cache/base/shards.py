"""Shards: the 256 folders into which the rooms of a store are divided, and their contents. Blocking."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cache.base.layout import Layout, is_digest

SHARDS = tuple(f"{number:02x}" for number in range(256))


def shards_of(*rooms: Path) -> list[str]:
    """Return the names of all shard folders of the rooms, each once, sorted."""
    found = {path.name for room in rooms for path in room.glob("??") if path.is_dir()}
    return sorted(found.intersection(SHARDS))


def entry_files(layout: Layout, shard: str) -> Iterator[Path]:
    """Yield the entry files of one folder."""
    for name, _ in sized_files(layout.entries / shard):
        if is_digest(name.removesuffix(".json")):
            yield layout.entries / shard / name


def sized_files(folder: Path) -> list[tuple[str, int]]:
    """Return names and sizes of the regular files of a folder, sorted; none if it does not exist."""
    found = []
    try:
        with os.scandir(folder) as items:
            for item in items:
                try:
                    if item.is_file(follow_symlinks=False):
                        found.append((item.name, item.stat(follow_symlinks=False).st_size))
                except FileNotFoundError:
                    continue  # purged at this moment
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found)
