"""Answers whose bytes lie in a file of the variant store that this process has read before. Event loop.

The memory tier holds whole pictures; this holds everything but their bytes, which the kernel has in memory when they
are asked for often. An answer is true on the same terms as one in the memory tier: it is fresh, and its source was
neither purged nor changed since. The store looks after the file: it is there, and in the state in which its bytes
were compared with their check. Nothing here waits, so a hit changes no thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace

from cache.store import VariantStore
from cache.variants.bounded_tier import VariantFile
from proxy.services.outcome import Picture

MAX_ANSWERS = 8192
"""Answers held, about 1 KB each."""


@dataclass(frozen=True, slots=True)
class HandedFile:
    """A picture without its bytes, and the file that holds them. source: what it was made of."""

    picture: Picture
    file: VariantFile
    source: str


class AtHand:
    """The most recently used answers from the variant store, without their bytes."""

    def __init__(
        self, store: VariantStore, *, stamp_of: Callable[[str], int], now: Callable[[], float]
    ) -> None:
        self._store = store
        self._stamp_of = stamp_of
        self._now = now
        self._held: OrderedDict[Hashable, HandedFile] = OrderedDict()

    def note(self, key: Hashable, source: str, picture: Picture, file: VariantFile | None) -> None:
        """Remember where an answer was found."""
        if file is None:
            return
        self._held[key] = HandedFile(replace(picture, body=b""), file, source)
        self._held.move_to_end(key)
        if len(self._held) > MAX_ANSWERS:
            self._held.popitem(last=False)

    def picture(self, key: Hashable) -> Picture | None:
        """Return an answer with its bytes; None when it is not true any more, or reading it would take a wait."""
        held = self._true(key)
        if held is None:
            return None
        body = self._store.read_at_hand(held.file)
        return None if body is None else replace(held.picture, body=body)

    def file(self, key: Hashable) -> HandedFile | None:
        """Return an answer as a file; None as for `picture`."""
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
