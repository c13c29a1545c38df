"""Rate limits: the generic cell rate algorithm (ITU-T I.371), a token bucket in one number. Pure; `now` is an argument.

The number is the moment at which the bucket is full again. It is the only state that a caller keeps for each client
or origin. A moment in the past means the same as no number.

    good   Rate(per_second=10, burst=20).take(0.0, now=t)   ->  allowed, 19 remaining
    bad    the 21st at the same moment                      ->  refused, wait 0.1 s

We do not use aiolimiter: it makes the caller wait and reports only whether there is capacity. The RateLimit header
must say how much remains and when more is available (docs/decisions/0011-manners.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateAnswer:
    """The outcome of asking for one unit.

    full_at: the number to keep from now on. remaining: whole units that can be taken at once.
    wait_seconds: until a unit can be taken, 0 when this one was. full_seconds: until the whole burst is available.
    """

    allowed: bool
    full_at: float
    remaining: int
    wait_seconds: float
    full_seconds: float


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of `per_second` units on average and `burst` units at once."""

    per_second: float
    burst: int

    def take(self, full_at: float, *, now: float) -> RateAnswer:
        """Ask for one unit. `full_at` is the number kept so far, 0 for a new client or origin."""
        interval = 1 / self.per_second
        whole = self.burst * interval
        # The clock's precision rounds `full_at` with every unit. That must not cost the last unit of a burst.
        rounding = min(self.burst * math.ulp(now), interval / 100)
        # A clock that was put back must not lock a client out, so the debt is at most the whole burst.
        owed = min(max(full_at - now, 0.0), whole)
        wait = owed + interval - whole
        if wait > rounding:
            return RateAnswer(False, now + owed, 0, wait, owed)
        owed += interval
        return RateAnswer(True, now + owed, int((whole - owed + rounding) / interval), 0.0, owed)
