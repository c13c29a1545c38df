"""The memory tier: the most recently used objects within a budget of bytes.

Knows sizes, not meanings. The caller checks whether a value is still valid (fresh and not purged), by the stamp that it
put inside. Event loop; not thread-safe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

OVERHEAD_BYTES = 512
"""The cost of an object in addition to its stated size: its key, the node of the table, small fields."""

LARGEST_SHARE = 8
"""The largest fraction of the budget for one object, so that a single huge picture does not displace all others."""


class MemoryTier:
    """A mapping that drops the least recently used objects beyond its budget. Every operation is O(1)."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._held: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> object | None:
        """Return the value of `key` and make it the most recently used, or None."""
        held = self._held.get(key)
        if held is None:
            self.misses += 1
            return None
        self._held.move_to_end(key)
        self.hits += 1
        return held[0]

    def admits(self, size: int) -> bool:
        """Return whether an object of this size can be held."""
        return size + OVERHEAD_BYTES <= self.max_bytes // LARGEST_SHARE

    def put(self, key: Hashable, value: object, *, size: int) -> bool:
        """Hold `value`, which has `size` bytes; return False when it is too large.

        The former value of `key` is dropped in any case.
        """
        self.remove(key)
        if not self.admits(size):
            return False
        weight = size + OVERHEAD_BYTES
        self._held[key] = (value, weight)
        self.bytes += weight
        while self.bytes > self.max_bytes:
            self.bytes -= self._held.popitem(last=False)[1][1]
            self.evictions += 1
        return True

    def remove(self, key: Hashable) -> bool:
        """Drop one object; return whether it was held."""
        held = self._held.pop(key, None)
        if held is None:
            return False
        self.bytes -= held[1]
        return True

    def clear(self) -> None:
        """Drop all objects, but keep the counts."""
        self._held.clear()
        self.bytes = 0
