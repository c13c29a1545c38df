"""Reading the files from which the catalogue is made: entries, records of articles, blocks. Blocking."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache.across.file_blobs import identity_of
from cache.across.seams import Blobs, Kind
from cache.base.entry import MAX_ENTRY_BYTES, Entry
from cache.base.errors import EntryUnreadable
from cache.base.layout import Layout, is_digest
from cache.base.opening import regular_status
from cache.base.shards import SHARDS
from cache.originals.articles import KeptArticle, article_key, read_article
from cache.originals.blocklist import Block, read_block

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EntryFile:
    """An entry file. entry: None if it cannot be read. size: bytes of the file. stamp: changes with the file."""

    entry: Entry | None
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class RecordFile:
    """The record of an article. article: None if it cannot be read."""

    article: KeptArticle | None
    stamp: str


@dataclass(frozen=True, slots=True)
class BlockFile:
    """The block of a source. block: None if its text cannot be read; it applies nevertheless."""

    block: Block | None
    stamp: str


class Files:
    """The files of a store that the catalogue describes."""

    def __init__(self, layout: Layout, entries: Blobs) -> None:
        self._layout = layout
        self._entries = entries
        self._stamps: dict[Kind, Callable[[str], dict[str, str]]] = {
            "entry": self._entry_stamps,
            "article": lambda shard: self._file_stamps("articles", shard),
            "block": lambda shard: self._file_stamps("blocked", shard),
        }

    def place(self) -> str:
        """Return an identity that tells this folder from a copy of it."""
        try:
            return str(self._layout.entries.stat().st_ino)
        except OSError:
            return ""

    def stamps(self, kind: Kind, shard: str) -> dict[str, str]:
        """Return the stamps of all files of a shard, by the digest in their names.

        Raises:
            OSError: the folder cannot be read.
        """
        return self._stamps[kind](shard) if shard in SHARDS else {}

    def entry(self, key: str) -> EntryFile | None:
        """Return an entry file; None if there is none. A file that the disk cannot read counts as unreadable."""
        try:
            blob = self._entries.read(key, MAX_ENTRY_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            log.warning("the entry %s cannot be read: %s", self._entries.where(key), error)
            return EntryFile(None, 0, "")
        stamp = _text_of(blob.state.version)
        try:
            entry = Entry.from_json(blob.data)
        except EntryUnreadable:
            return EntryFile(None, blob.state.size, stamp)
        return EntryFile(entry if entry.key == key else None, blob.state.size, stamp)

    def article(self, key: str) -> RecordFile | None:
        """Return the record of an article; None if there is none."""
        stamp = self._stamp(path := self._layout.article(key))
        if stamp is None:
            return None
        article = read_article(path)
        return RecordFile(article if article and article_key(article.name) == key else None, stamp)

    def block(self, key: str) -> BlockFile | None:
        """Return the block of a source; None if there is none."""
        stamp = self._stamp(path := self._layout.blocked(key))
        return None if stamp is None else BlockFile(read_block(path), stamp)

    def _stamp(self, path: Path) -> str | None:
        status = regular_status(path)
        return None if status is None else _text_of(identity_of(status))

    def _entry_stamps(self, shard: str) -> dict[str, str]:
        found = {}
        for key, _ in self._entries.list(shard):
            if (state := self._entries.state(key)) is not None:
                found[key] = _text_of(state.version)
        return found

    def _file_stamps(self, room: str, shard: str) -> dict[str, str]:
        found = {}
        try:
            with os.scandir(f"{self._layout.root}/{room}/{shard}") as items:
                for item in items:
                    key = item.name.removesuffix(".json")
                    stamp = self._stamp(Path(item.path)) if is_digest(key) else None
                    if stamp is not None:
                        found[key] = stamp
        except (FileNotFoundError, NotADirectoryError):
            pass
        return found


def _text_of(version: tuple[int | str, ...]) -> str:
    return "-".join(map(str, version))
