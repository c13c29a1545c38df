"""Backup: copies this store into a second one while a service may be running. Blocking, one folder at a time.

Copies in an order in which no copied entry lacks a body. Does not know how progress is shown. The copy is a complete
store: it can be verified, and copied back as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cache.base.durable import Durable, create_aside, sync_descriptor, write_all
from cache.base.entry import Entry
from cache.base.errors import EntryUnreadable, StoreRefused
from cache.base.layout import Layout, is_digest, prepare, size_of
from cache.base.opening import open_regular, read_regular
from cache.base.shards import entry_files, shards_of, sized_files
from cache.originals.bodies import digest_of
from cache.originals.entryfiles import named_in, read_bounded

log = logging.getLogger(__name__)

PIECE_BYTES = 1 << 20
_CLONE = 0x40049409
"""`FICLONE` of Linux: the new file shares the blocks of the old one until one of them changes."""

_SMALL = ("blocked", "articles")


@dataclass(slots=True)
class BackupReport:
    """The result of a backup.

    entries: entries now in the copy. new_bodies: bodies copied in this run. linked_bodies: those of them that share
    their blocks with ours. copied_bytes: the bytes of the others. removed: entries removed because they were purged
    here. damaged: sources, or entry files, whose current body is missing or changed; the copy has what an earlier run
    copied. versions_left_out: older versions with missing or changed bytes.
    """

    entries: int = 0
    new_bodies: int = 0
    linked_bodies: int = 0
    copied_bytes: int = 0
    removed: int = 0
    versions_left_out: int = 0
    damaged: list[str] = field(default_factory=list)


class Backup:
    """Updates a copy.

    1. Read each entry, copy the bodies that it names, then write the entry. A commit here writes the body before the
       entry, so the bodies exist unless the source was purged or changed meanwhile; then read the entry again.
    2. Clone, link or copy a body, in this order of preference, and compare it with its digest.
    3. Copy blocks and articles.
    4. Remove entries that are gone here from the copy, then bodies that none of its entries names.
    """

    def __init__(self, ours: Layout, theirs: Layout) -> None:
        self.report = BackupReport()
        self._ours = ours
        self._theirs = theirs
        self._durable = Durable(theirs.incoming, theirs.modes)
        self._named: set[bytes] = set()

    def steps(self) -> list[Callable[[], None]]:
        """Return the pieces of work, in order.

        Raises:
            StoreRefused: this store is empty but the copy is not. A lost store must not empty its backup.
        """
        shards = shards_of(self._ours.entries)
        old = shards_of(self._theirs.entries)
        if not any(True for shard in shards for _ in entry_files(self._ours, shard)) and any(
            True for shard in old for _ in entry_files(self._theirs, shard)
        ):
            raise StoreRefused(f"{self._ours.root} keeps nothing, and would empty {self._theirs.root}")
        return [
            *(functools.partial(self._bring, shard) for shard in shards),
            *(functools.partial(self._bring_small, name) for name in _SMALL),
            *(functools.partial(self._forget, shard) for shard in sorted({*shards, *old})),
            *(functools.partial(self._drop_unnamed, shard) for shard in shards_of(self._theirs.bodies)),
        ]

    def _bring(self, shard: str) -> None:
        for path in entry_files(self._ours, shard):
            before = None
            # If the entry changed while its bodies were copied, read it again.
            while (text := _text_of(path)) is not None and text != before:
                before = text
                if self._bring_entry(path, text):
                    break
            else:
                if text is not None:
                    self._note_damage(path, text)

    def _bring_entry(self, path: Path, text: bytes) -> bool:
        """Copy an entry with its bodies; return False when its current body is not available."""
        try:
            entry = Entry.from_json(text)
        except EntryUnreadable:
            return False
        absent = {digest for digest in entry.digests if not self._has_body(digest)}
        if entry.body_sha256 in absent:
            return False
        self.report.versions_left_out += len(absent)
        copy = self._theirs.entry(path.stem)
        wanted = entry.without(absent).to_json() if absent else text
        if _text_of(copy) != wanted:
            self._durable.write(copy, wanted)
        self.report.entries += 1
        return True

    def _note_damage(self, path: Path, text: bytes) -> None:
        try:
            self.report.damaged.append(Entry.from_json(text).source)
        except EntryUnreadable:
            self.report.damaged.append(str(path))

    def _has_body(self, sha256: str) -> bool:
        """Copy a body unless the copy has it; return whether the copy now has it undamaged."""
        ours, copy = self._ours.body(sha256), self._theirs.body(sha256)
        size = size_of(copy)
        if size is not None and size == size_of(ours):
            return True
        try:
            source = open_regular(ours)
        except OSError:
            return size is not None and digest_of(copy) == sha256
        try:
            return self._brought(source, sha256) or (size is not None and digest_of(copy) == sha256)
        finally:
            os.close(source)

    def _brought(self, source: int, sha256: str) -> bool:
        """Copy an open body; return False when it does not match its digest."""
        descriptor, aside = create_aside(self._theirs.incoming, suffix=".part", modes=self._theirs.modes)
        link = aside.with_suffix(".link")
        try:
            shared = _cloned(source, descriptor)
            linked = not shared and self._linked(sha256, link)
            if not shared and not linked:
                _copy(source, descriptor)
            arrived = link if linked else aside
            if digest_of(arrived) != sha256:
                return False
            sync_descriptor(source if linked else descriptor)
            self._durable.place(arrived, self._theirs.body(sha256))
        finally:
            aside.unlink(missing_ok=True)
            link.unlink(missing_ok=True)
            os.close(descriptor)
        self.report.new_bodies += 1
        self.report.linked_bodies += shared or linked
        self.report.copied_bytes += 0 if shared or linked else os.fstat(source).st_size
        return True

    def _linked(self, sha256: str, link: Path) -> bool:
        # Bodies are replaced by rename and never written to, so two names of one file do not meet.
        try:
            os.link(self._ours.body(sha256), link, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _bring_small(self, name: str) -> None:
        ours, theirs = self._ours.root / name, self._theirs.root / name
        for shard in shards_of(ours, theirs):
            here = {item for item, _ in sized_files(ours / shard)}
            for item in here:
                with contextlib.suppress(FileNotFoundError):
                    text = read_regular(ours / shard / item)
                    if _text_of(theirs / shard / item) != text:
                        self._durable.write(theirs / shard / item, text)
            for item, _ in sized_files(theirs / shard):
                if item not in here:
                    self._durable.remove(theirs / shard / item)

    def _forget(self, shard: str) -> None:
        for path in entry_files(self._theirs, shard):
            if not os.path.lexists(self._ours.entry(path.stem)):
                self._durable.remove(path)
                self.report.removed += 1
            else:
                self._named.update(map(bytes.fromhex, named_in(read_bounded(path))))

    def _drop_unnamed(self, shard: str) -> None:
        for name, _ in sized_files(self._theirs.bodies / shard):
            if is_digest(name) and bytes.fromhex(name) not in self._named:
                self._durable.remove(self._theirs.bodies / shard / name)


def copy_of(ours: Layout, target: Path) -> Layout:
    """Return the store in `target`, creating it if necessary.

    Raises:
        StoreRefused: `target` contains something else, lies in our store, or contains our store.
        StoreUnreadable: it cannot be used.
    """
    root, other = ours.root.resolve(), target.resolve()
    if root.is_relative_to(other) or other.is_relative_to(root):
        raise StoreRefused(f"{target} must lie outside of {ours.root}, and not hold it")
    return prepare(target, modes=ours.modes)


def _text_of(path: Path) -> bytes | None:
    try:
        return read_regular(path)
    except OSError:
        return None


def _cloned(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _CLONE, source)
    except OSError:
        return False
    return True


def _copy(source: int, target: int) -> None:
    offset = 0
    while piece := os.pread(source, PIECE_BYTES, offset):
        write_all(target, piece)
        offset += len(piece)
