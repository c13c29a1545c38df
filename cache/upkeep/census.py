"""Census: counting what is kept by looking at every file. Blocking; one folder of 256 at a time, so that the
caller can show progress and give way to others between them. Safe beside a running service.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from cache.across.seams import StoreSeams
from cache.across.usage import Counts
from cache.base.entry import MAX_ENTRY_BYTES, Entry
from cache.base.errors import EntryUnreadable
from cache.originals.entryfiles import named_in

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoreStat:
    """The figures of a store.

    shared_bytes: bytes saved by storing equal bodies once. former: versions in histories. former_bytes: bytes that a
    purge of all history would free. orphans, orphan_bytes: bodies that no entry names.
    """

    entries: int = 0
    bodies: int = 0
    entry_bytes: int = 0
    body_bytes: int = 0
    shared_bytes: int = 0
    damaged: int = 0
    blocked: int = 0
    recovered: int = 0
    former: int = 0
    former_bytes: int = 0
    set_aside: int = 0
    orphans: int = 0
    orphan_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of bodies and entries."""
        return self.entry_bytes + self.body_bytes


Note = Callable[[Entry], None]
"""Called with every entry that a census reads."""


def count_shard(seams: StoreSeams, shard: str) -> Counts:
    """Count the bodies and entries whose names begin with the two digits of a shard."""
    bodies = [size for _, size in seams.bodies.list(shard)]
    entries = [size for _, size in seams.entries.list(shard)]
    return Counts(sum(bodies) + sum(entries), len(bodies), len(entries))


class Census:
    """Counts everything and reads every entry. `note` is called with each of them.

    `is_sure` becomes False when an entry could not be read; then it is unknown which bodies are orphans.
    """

    def __init__(self, seams: StoreSeams, note: Note | None = None) -> None:
        self.is_sure = True
        self._seams = seams
        self._recovered = 0
        self._show = note
        self._present_bytes = 0
        self._damaged = self._former = self._set_aside = 0
        self._present: dict[bytes, int] = {}
        self._only_former: dict[bytes, int] = {}
        self._on_disk: dict[bytes, int] = {}
        self._counts = Counts()
        self._entry_bytes = 0

    def take_bodies(self, shard: str) -> None:
        """Count one folder of bodies. Count all bodies before the entries, so that no new body counts as an orphan."""
        for name, size in self._seams.bodies.list(shard):
            self._on_disk[bytes.fromhex(name)] = size
            self._counts += Counts(size, bodies=1)

    def take_entries(self, shard: str) -> None:
        """Count one folder of entries."""
        for key, _ in self._seams.entries.list(shard):
            try:
                text = self._seams.entries.read(key, MAX_ENTRY_BYTES + 1).data
            except FileNotFoundError:
                continue  # purged this instant
            except OSError as error:
                log.warning("the entry %s cannot be read: %s", self._seams.entries.where(key), error)
                self.is_sure = False
                continue
            self._entry_bytes += len(text)
            self._counts += Counts(len(text), entries=1)
            try:
                self._note(Entry.from_json(text))
            except EntryUnreadable:
                # It is not known what the entry names, so every digest in it counts as named.
                for digest in named_in(text):
                    self._only_former.setdefault(bytes.fromhex(digest), 0)

    @property
    def orphans(self) -> tuple[str, ...]:
        """The bodies that no entry names. Reliable only for bodies that existed before the entries were read."""
        return tuple(digest.hex() for digest in self._on_disk if not self._is_named(digest))

    def result(self, *, blocked: int = 0) -> tuple[StoreStat, Counts]:
        """Return the figures, in full and in the form of the running count. blocked: how many sources are."""
        counts = self._counts
        only_former = {key: size for key, size in self._only_former.items() if key not in self._present}
        orphans = [size for key, size in self._on_disk.items() if not self._is_named(key)]
        stat = StoreStat(
            entries=counts.entries,
            bodies=counts.bodies,
            entry_bytes=self._entry_bytes,
            body_bytes=counts.bytes - self._entry_bytes,
            shared_bytes=self._present_bytes - sum(self._present.values()),
            damaged=self._damaged,
            blocked=blocked,
            recovered=self._recovered,
            former=self._former,
            former_bytes=sum(only_former.values()),
            set_aside=self._set_aside,
            orphans=len(orphans),
            orphan_bytes=sum(orphans),
        )
        return stat, counts

    def _is_named(self, digest: bytes) -> bool:
        return digest in self._present or digest in self._only_former

    def _note(self, entry: Entry) -> None:
        self._present_bytes += entry.body_size
        self._damaged += entry.damaged
        self._recovered += entry.recovered is not None
        self._present[bytes.fromhex(entry.body_sha256)] = entry.body_size
        for item in entry.history:
            self._former += 1
            self._set_aside += bool(item.note)
            self._only_former[bytes.fromhex(item.body_sha256)] = item.body_size
        if self._show:
            self._show(entry)
