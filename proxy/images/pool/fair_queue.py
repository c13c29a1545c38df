"""Chooses the next job: owners take turns, and running jobs together never exceed the memory budget. Pure; no clock.

1. A job that needs at most `ALLOWANCE_BYTES` never asks, because every process has that much for itself.
2. A larger job asks after its header has been read. It gets its share of the budget, or it stands aside with its need
   recorded, and its process takes another job.
3. Jobs that stand aside come first again as soon as the first of them fits. While one stands aside, no later job gets a
   share, so small jobs cannot starve it. Jobs that need no share are not delayed.
4. A job that needs more than the whole budget runs when no other job has a share. So does a job that asks for more
   after it stood aside once, because a compromised process must not be able to ask for ever.
5. A job returns its share when it ends, in any way.

Among the jobs that have not asked, the next one comes from the owner with the fewest running jobs. Among those owners,
it is the one that was served longest ago.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

ALLOWANCE_BYTES = 32 << 20
"""Enough for nearly all pictures of articles. This includes photos of twelve megapixels, because JPEG is decoded at a
fraction of its size."""

Item = TypeVar("Item", bound=Hashable)


class FairQueue(Generic[Item]):
    """Waiting items, and the shares of running ones. budget_bytes: the limit on the sum of all shares."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._numbers = itertools.count()
        self._new: dict[Hashable, deque[tuple[int, Item]]] = {}
        self._owners: dict[Item, Hashable] = {}
        self._served: dict[Hashable, int] = {}
        self._aside: list[tuple[int, Item]] = []
        self._arrivals: dict[Item, int] = {}
        self._needs: dict[Item, int] = {}
        self._shares: dict[Item, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._new.values())) + len(self._aside)

    def __iter__(self) -> Iterator[Item]:
        """Yield all waiting items in no particular order."""
        yield from (item for waiting in (self._aside, *self._new.values()) for _, item in waiting)

    @property
    def running_owners(self) -> frozenset[Hashable]:
        """The owners of running items."""
        return frozenset(self._owners[item] for item in self._arrivals)

    @property
    def shared_bytes(self) -> int:
        """The sum of the shares of running items."""
        return sum(self._shares.values())

    def put(self, item: Item, *, owner: Hashable = "") -> None:
        """Add an item behind all others of its owner."""
        self._new.setdefault(owner, deque()).append((next(self._numbers), item))
        self._owners[item] = owner

    def take(self, *, barred: Collection[Hashable] = ()) -> Item | None:
        """Return the next item to run, or None if there is none. It runs until `end`, or until `ask` returns False.

        `barred`: owners whose items must not run now.
        """
        if self._aside and self._fits(self._needs[self._aside[0][1]]) and not barred:
            number, item = self._aside.pop(0)
            self._shares[item] = self._needs[item]
        else:
            owner = self._next_owner(barred)
            if owner is None:
                return None
            number, item = self._new[owner].popleft()
            self._served[owner] = next(self._numbers)
            if not self._new[owner]:
                del self._new[owner]
        self._arrivals[item] = number
        return item

    def granted(self, item: Item) -> int:
        """Return how many bytes a running item may use without asking."""
        return max(ALLOWANCE_BYTES, self._shares.get(item, 0))

    def ask(self, item: Item, needs: int) -> bool:
        """Give a running item a share of `needs` bytes. Return False if it must stand aside; it then no longer runs."""
        if needs <= self.granted(item):
            return True
        needs = self.budget_bytes if item in self._needs else min(needs, self.budget_bytes)
        if needs <= self.granted(item):
            return True
        self._shares.pop(item, None)
        if not self._aside and self._fits(needs):
            self._shares[item] = needs
            return True
        self._needs[item] = needs
        bisect.insort(self._aside, (self._arrivals.pop(item), item), key=lambda entry: entry[0])
        return False

    def end(self, item: Item) -> None:
        """Forget a running item and take back its share. Do nothing if it stands aside."""
        if self._arrivals.pop(item, None) is not None:
            self._needs.pop(item, None)
            self._disown(item)
            self._shares.pop(item, None)

    def drop(self, item: Item) -> None:
        """Remove a waiting item, wherever it waits. Do nothing if it does not wait."""
        if item in self._arrivals or item not in self._owners:
            return
        owner = self._disown(item)
        left = deque(entry for entry in self._new.pop(owner, ()) if entry[1] != item)
        if left:
            self._new[owner] = left
        self._aside = [entry for entry in self._aside if entry[1] != item]
        self._needs.pop(item, None)

    def clear(self) -> list[Item]:
        """Remove all waiting items and return them."""
        waiting = list(self)
        self._new.clear()
        self._aside.clear()
        for item in waiting:
            self._disown(item)
            self._needs.pop(item, None)
        return waiting

    def _disown(self, item: Item) -> Hashable:
        """Forget whose item it is, and when its owner was served unless more of that owner waits or runs."""
        owner = self._owners.pop(item)
        if owner not in self._owners.values():
            self._served.pop(owner, None)
        return owner

    def _next_owner(self, barred: Collection[Hashable]) -> Hashable | None:
        running = Counter(self._owners[item] for item in self._arrivals)
        return min(
            (owner for owner in self._new if owner not in barred),
            key=lambda owner: (running[owner], self._served.get(owner, -1)),
            default=None,
        )

    def _fits(self, needs: int) -> bool:
        return not self._shares or self.shared_bytes + needs <= self.budget_bytes
