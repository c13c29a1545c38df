"""Remembers answers whose bytes are in a file of the store that this process has read before. Event loop.

The memory tier holds whole pictures. This holds everything except their bytes, which the kernel keeps in memory if they
are requested often. The same conditions as in the memory tier apply: an answer must be fresh, and its source must not
have been purged or changed since. The store checks that the file exists, unchanged since its bytes were compared with
their check. Nothing here waits, so a hit needs no change of thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Protocol

from cache.base.page_cache import KeptFile
from proxy.services.serving.values import Picture

MAX_ANSWERS = 8192
"""The number of answers to hold, about 1 KB each."""


@dataclass(frozen=True, slots=True)
class HandedFile:
    """A picture without its bytes, and the file that contains them. source: the source of the picture."""

    picture: Picture
    file: KeptFile
    source: str


class FilesAtHand(Protocol):
    """Checks whether a file has not changed since it was found. Never waits."""

    def read_at_hand(self, file: KeptFile) -> bytes | None:
        """Return the bytes of a file."""

    def is_at_hand(self, file: KeptFile) -> bool:
        """Return whether a file has not changed since it was found."""


class AtHand:
    """The most recently used answers from files, without their bytes."""

    def __init__(
        self, store: FilesAtHand, *, stamp_of: Callable[[str], int], now: Callable[[], float]
    ) -> None:
        self._store = store
        self._stamp_of = stamp_of
        self._now = now
        self._held: OrderedDict[Hashable, HandedFile] = OrderedDict()

    def note(self, key: Hashable, source: str, picture: Picture, file: KeptFile | None) -> None:
        """Remember the file in which an answer was found."""
        if file is None:
            return
        self._held[key] = HandedFile(replace(picture, body=b""), file, source)
        self._held.move_to_end(key)
        if len(self._held) > MAX_ANSWERS:
            self._held.popitem(last=False)

    def picture(self, key: Hashable) -> Picture | None:
        """Return an answer with its bytes, or None if it is no longer valid or reading it would have to wait."""
        held = self._true(key)
        if held is None:
            return None
        body = self._store.read_at_hand(held.file)
        return None if body is None else replace(held.picture, body=body)

    def file(self, key: Hashable) -> HandedFile | None:
        """Return an answer as a file, or None as in `picture`."""
        held = self._true(key)
        return held if held is not None and self._store.is_at_hand(held.file) else None

    def _true(self, key: Hashable) -> HandedFile | None:
        held = self._held.get(key)
        if held is None:
            return None
        picture = held.picture
        if picture.stamp != self._stamp_of(held.source) or picture.fresh_until <= self._now():
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return held
