"""Which job runs next: owners take turns, and never more run at once than fit into memory. Pure; no clock.

1. A job that needs no more than `ALLOWANCE_BYTES` never asks: every process has so much for itself.
2. What needs more asks when its header was read and gets its share of the budget, or stands aside with its need
   known, and its process takes another job.
3. Those who stand aside come first again as soon as the first of them fits, and while one stands there nobody who
   came later gets a share: small ones cannot starve it, and it holds up none that need no share.
4. What needs more than the whole budget runs when nobody else has a share. So does what asks for more after it
   stood aside once: a process that was taken over cannot go on asking for ever.
5. A share is given back when its job ends, however it ends.

Of those who never asked, the next comes from the owner of whom the fewest run; among those, from the
one that was served longest ago.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter, deque
from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

ALLOWANCE_BYTES = 32 << 20
"""Covers nearly all pictures of articles; a photo of twelve megapixels too, which JPEG decodes at a fraction."""

Item = TypeVar("Item", bound=Hashable)


class FairQueue(Generic[Item]):
    """Items that wait, and the shares of those that run. budget_bytes: what all shares together may come to."""

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
        """Yield all that wait, in no order."""
        yield from (item for waiting in (self._aside, *self._new.values()) for _, item in waiting)

    @property
    def running_owners(self) -> frozenset[Hashable]:
        """Of whom something runs now."""
        return frozenset(self._owners[item] for item in self._arrivals)

    @property
    def shared_bytes(self) -> int:
        """What the running jobs have been given together."""
        return sum(self._shares.values())

    def put(self, item: Item, *, owner: Hashable = "") -> None:
        """Let an item wait behind all others of its owner."""
        self._new.setdefault(owner, deque()).append((next(self._numbers), item))
        self._owners[item] = owner

    def take(self, *, barred: Collection[Hashable] = ()) -> Item | None:
        """Return the item to run now, None when there is none; it runs until `end`, or until `ask` says no.

        `barred`: whose items do not come now.
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
        """Give a running item a share of `needs` bytes. False: it stands aside now, and no longer runs."""
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
        """Forget a running item, and give back its share; nothing happens to one that stands aside."""
        if self._arrivals.pop(item, None) is not None:
            self._needs.pop(item, None)
            self._disown(item)
            self._shares.pop(item, None)

    def drop(self, item: Item) -> None:
        """Take an item out that waits, wherever it waits; nothing happens when it does not."""
        if item in self._arrivals or item not in self._owners:
            return
        owner = self._disown(item)
        left = deque(entry for entry in self._new.pop(owner, ()) if entry[1] != item)
        if left:
            self._new[owner] = left
        self._aside = [entry for entry in self._aside if entry[1] != item]
        self._needs.pop(item, None)

    def clear(self) -> list[Item]:
        """Take out all that wait, and return them."""
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
