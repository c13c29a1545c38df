"""Blocks: sources that a purge refuses from then on. Blocking: runs in the store's threads."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path

from cache.across.seams import ChangeNotes
from cache.base.durable import Durable, files_in, refusal
from cache.base.errors import StoreUnreadable
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.base.opening import read_regular
from cache.base.spelling import former_spelling

MAX_BLOCK_BYTES = 64 * 1024
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class Block:
    """The text of a block: the source and the reason."""

    source: str
    reason: str


class Blocks:
    """One plain file for each blocked source. Its presence is the block, and its text is for people."""

    def __init__(self, layout: Layout, durable: Durable, notes: ChangeNotes) -> None:
        self._layout = layout
        self._durable = durable
        self._notes = notes

    def contains(self, url: str) -> bool:
        """Return whether the source is blocked.

        Raises:
            StoreUnreadable: this cannot be determined, and answering "no" might break a promise.
        """
        return any(self._has(spelling) for spelling in _spellings(url))

    def add(self, url: str, reason: str, *, now: float) -> None:
        """Block a source. The block is durable on return."""
        text = json.dumps({"source": url, "reason": reason, "blocked_at": now}, indent=2)
        key = source_key(url)
        try:
            with self._notes.changing("block", key):
                self._durable.write(self._layout.blocked(key), text.encode("ascii") + b"\n")
        except OSError as error:
            raise refusal(error) from error

    def reason_of(self, url: str) -> str:
        """Return why a source is blocked; empty if it is not, or if its file does not say."""
        found = (read_block(self._layout.blocked(source_key(spelling))) for spelling in _spellings(url))
        return next((block.reason for block in found if block), "")

    def everything(self) -> list[tuple[str, str]]:
        """Return every blocked source that its file still names, with the reason, sorted."""
        found = map(read_block, self._layout.root.glob("blocked/??/*.json"))
        return sorted((block.source, block.reason) for block in found if block)

    def count(self) -> int:
        """Return how many files of blocks there are."""
        return sum(len(files_in(folder)) for folder in self._layout.root.glob("blocked/??"))

    def remove(self, url: str) -> bool:
        """Remove a block; return whether there was one."""
        try:
            removed = [self._remove(source_key(each)) for each in _spellings(url)]
        except OSError as error:
            raise refusal(error) from error
        return any(removed)

    def _remove(self, key: str) -> bool:
        with self._notes.changing("block", key):
            return self._durable.remove(self._layout.blocked(key))

    def _has(self, spelling: str) -> bool:
        try:
            self._layout.blocked(source_key(spelling)).stat()
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise StoreUnreadable(
                f"the folder `blocked` cannot be read: {error.strerror or error}"
            ) from error
        return True


def read_block(path: Path) -> Block | None:
    """Return the text of a block, or None if it cannot be read; the file blocks the source nevertheless."""
    try:
        known = json.loads(read_regular(path, MAX_BLOCK_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    match known:
        case {"source": str(url), "reason": str(reason)} if url.isascii():
            return Block(url, reason)
    return None


def _spellings(url: str) -> tuple[str, ...]:
    former = former_spelling(url)
    return (url,) if former is None else (url, former)
