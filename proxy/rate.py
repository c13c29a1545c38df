"""Rates: the generic cell rate algorithm (ITU-T I.371), a token bucket in one number. Pure, `now` is an argument.

The number is the moment at which the bucket would be full again. Whoever holds one for each client or origin
holds all there is to know; an old one says the same as none.

    good   Rate(per_second=10, burst=20).take(0.0, now=t)   ->  allowed, 19 remaining
    bad    the 21st at the same moment                      ->  refused, wait 0.1 s

Why not a library: aiolimiter makes the caller wait and tells no more than whether there is room; the RateLimit
header must say what remains and when there is more (docs/decisions/0011-manners.md).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateAnswer:
    """What came of asking for one unit.

    full_at: the number to hold from now on. remaining: whole units that could be taken at once.
    wait_seconds: until a unit can be taken, 0 when this one was. full_seconds: until all of the burst can be.
    """

    allowed: bool
    full_at: float
    remaining: int
    wait_seconds: float
    full_seconds: float


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` units for long, `burst` of them at once."""

    per_second: float
    burst: int

    def take(self, full_at: float, *, now: float) -> RateAnswer:
        """Ask for one unit when the number so far is `full_at` (0 for somebody new)."""
        interval = 1 / self.per_second
        # A clock that was put back must not shut anybody out: nobody can owe more than the whole burst.
        owed = min(max(full_at - now, 0.0), self.burst * interval)
        wait = owed + interval - self.burst * interval
        if wait > 1e-9 * self.burst * interval:
            return RateAnswer(False, now + owed, 0, wait, owed)
        owed += interval
        remaining = int(self.burst - owed * self.per_second + 1e-6)
        return RateAnswer(True, now + owed, max(remaining, 0), 0.0, owed)
