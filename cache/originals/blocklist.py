"""Blocks: sources that a purge has refused for good. Blocking: runs in the store's threads."""

from __future__ import annotations

import errno
import json

from cache.base.durable import Durable, files_in, refusal
from cache.base.errors import StoreUnreadable
from cache.base.keys import source_key
from cache.base.layout import Layout
from cache.base.opening import read_regular
from cache.base.spelling import former_spelling

MAX_BLOCK_BYTES = 64 * 1024
_ABSENT = {errno.ENOENT, errno.ENOTDIR}


class Blocks:
    """One plain file for each blocked source. Its presence is the block, and its text is for people."""

    def __init__(self, layout: Layout, durable: Durable) -> None:
        self._layout = layout
        self._durable = durable

    def contains(self, url: str) -> bool:
        """Return whether the source is blocked.

        Raises:
            StoreUnreadable: this cannot be determined, and answering "no" might break a promise.
        """
        return any(self._has(spelling) for spelling in _spellings(url))

    def add(self, url: str, reason: str, *, now: float) -> None:
        """Block a source for good. The block is durable on return."""
        text = json.dumps({"source": url, "reason": reason, "blocked_at": now}, indent=2)
        try:
            self._durable.write(self._layout.blocked(source_key(url)), text.encode("ascii") + b"\n")
        except OSError as error:
            raise refusal(error) from error

    def everything(self) -> list[tuple[str, str]]:
        """Return every blocked source that its file still names, with the reason, sorted."""
        found = []
        for path in self._layout.root.glob("blocked/??/*.json"):
            try:
                known = json.loads(read_regular(path, MAX_BLOCK_BYTES))
            except (OSError, ValueError, RecursionError):
                continue  # the block applies nevertheless, because its file exists
            match known:
                case {"source": str(url), "reason": str(reason)} if url.isascii():
                    found.append((url, reason))
        return sorted(found)

    def count(self) -> int:
        """Return how many files of blocks there are."""
        return sum(len(files_in(folder)) for folder in self._layout.root.glob("blocked/??"))

    def remove(self, url: str) -> bool:
        """Lift a block; return whether there was one."""
        try:
            removed = [
                self._durable.remove(self._layout.blocked(source_key(each))) for each in _spellings(url)
            ]
        except OSError as error:
            raise refusal(error) from error
        return any(removed)

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


def _spellings(url: str) -> tuple[str, ...]:
    former = former_spelling(url)
    return (url,) if former is None else (url, former)
