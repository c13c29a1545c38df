"""Census: counting what is kept by looking at every file. Blocking; one folder of 256 at a time, so that the
caller can show progress and give way to others between them. Safe beside a running service.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cache.entry import Entry
from cache.errors import EntryUnreadable
from cache.keeper import read_bounded
from cache.layout import Layout, is_digest
from cache.usage import Counts

SHARDS = tuple(f"{number:02x}" for number in range(256))


@dataclass(frozen=True, slots=True)
class StoreStat:
    """What is kept. `shared_bytes` is what would be stored again if equal bytes were not stored once."""

    entries: int = 0
    bodies: int = 0
    entry_bytes: int = 0
    body_bytes: int = 0
    shared_bytes: int = 0
    damaged: int = 0
    blocked: int = 0
    recovered: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of bodies and entries."""
        return self.entry_bytes + self.body_bytes


def count_shard(layout: Layout, shard: str) -> Counts:
    """Count the bodies and entries of one folder."""
    bodies = [size for name, size in sized_files(layout.bodies / shard) if is_digest(name)]
    entries = [
        size for name, size in sized_files(layout.entries / shard) if is_digest(name.removesuffix(".json"))
    ]
    return Counts(sum(bodies) + sum(entries), len(bodies), len(entries))


def shards_of(*rooms: Path) -> list[str]:
    """Return the names of the folders that the rooms have, each once, sorted."""
    found = {path.name for room in rooms for path in room.glob("??") if path.is_dir()}
    return sorted(found.intersection(SHARDS))


class Census:
    """A count of everything, entries read."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._named_bytes = 0
        self._damaged = 0
        self._recovered = 0
        self._seen: dict[bytes, int] = {}
        self._counts = Counts()
        self._entry_bytes = 0

    def take(self, shard: str) -> None:
        """Count one folder of each kind."""
        self._counts += count_shard(self._layout, shard)
        for path in entry_files(self._layout, shard):
            try:
                text = read_bounded(path)
                self._note(Entry.from_json(text), len(text))
            except (OSError, EntryUnreadable):
                continue

    def result(self) -> tuple[StoreStat, Counts]:
        """Return what was counted, in full and as the running count has it."""
        counts = self._counts
        stat = StoreStat(
            entries=counts.entries,
            bodies=counts.bodies,
            entry_bytes=self._entry_bytes,
            body_bytes=counts.bytes - self._entry_bytes,
            shared_bytes=self._named_bytes - sum(self._seen.values()),
            damaged=self._damaged,
            blocked=sum(len(sized_files(path)) for path in self._layout.root.glob("blocked/??")),
            recovered=self._recovered,
        )
        return stat, counts

    def _note(self, entry: Entry, size: int) -> None:
        self._entry_bytes += size
        self._named_bytes += entry.body_size
        self._damaged += entry.damaged
        self._recovered += entry.recovered is not None
        self._seen[bytes.fromhex(entry.body_sha256)] = entry.body_size


def entry_files(layout: Layout, shard: str) -> Iterator[Path]:
    """Yield the entry files of one folder."""
    for name, _ in sized_files(layout.entries / shard):
        if is_digest(name.removesuffix(".json")):
            yield layout.entries / shard / name


def sized_files(folder: Path) -> list[tuple[str, int]]:
    """Return names and sizes of the regular files of a folder, sorted; none when it does not exist."""
    found = []
    try:
        with os.scandir(folder) as items:
            for item in items:
                try:
                    if item.is_file(follow_symlinks=False):
                        found.append((item.name, item.stat(follow_symlinks=False).st_size))
                except FileNotFoundError:
                    continue  # purged this instant
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found)
