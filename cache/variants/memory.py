"""The memory tier: the most recently used objects within a budget of bytes.

Knows sizes, not meanings: whether a value is still true (fresh, not purged since) is for the caller to
compare, by the stamp it put inside. Lives on the event loop; not for threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

OVERHEAD_BYTES = 512
"""What an object costs beside its stated size: its key, the node of the table, small fields."""

LARGEST_SHARE = 8
"""One object may take this fraction of the budget: a single huge picture must not push out all others."""


class MemoryTier:
    """A mapping that forgets the least recently used when its budget is spent; every operation is O(1)."""

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

    def put(self, key: Hashable, value: object, *, size: int) -> bool:
        """Hold `value`, which weighs `size` bytes; return False when it is too large to be held.

        What was held under `key` before is forgotten in any case.
        """
        self.remove(key)
        weight = size + OVERHEAD_BYTES
        if weight > self.max_bytes // LARGEST_SHARE:
            return False
        self._held[key] = (value, weight)
        self.bytes += weight
        while self.bytes > self.max_bytes:
            self.bytes -= self._held.popitem(last=False)[1][1]
            self.evictions += 1
        return True

    def remove(self, key: Hashable) -> bool:
        """Forget one; return whether it was held."""
        held = self._held.pop(key, None)
        if held is None:
            return False
        self.bytes -= held[1]
        return True

    def clear(self) -> None:
        """Forget all; the counts stay."""
        self._held.clear()
        self.bytes = 0
