"""Circuit breakers: after failures, an origin is not asked for a while, then probed by one request. Event loop.

Only failures of the origin as a whole count. A picture that is missing, truncated, endless or not a picture says
nothing about other pictures, so an origin that gave any other answer is healthy. Knows origins as text and errors of
the contract. Does not know sources (`proxy.services.troubles.negatives` remembers their failures) or who waits.

We use no library: purgatory, pybreaker, aiobreaker and circuitbreaker count against a single threshold, read the system
clock, pause for a fixed time and do not bound the number of circuits. Here, an origin is text that a client may make up
(docs/decisions/0011-manners.md).
"""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import SourceError

log = logging.getLogger(__name__)

PAUSE_SECONDS = 15.0
"""The first pause. Each failed probe doubles it."""
MAX_PAUSE_SECONDS = 600.0
MAX_ASKED_SECONDS = 3600.0
"""Upper bound on `Retry-After`."""
JITTER = 0.2
"""Pauses vary by up to this share, so that many workers do not return at the same moment."""
MAX_ORIGINS = 4096
"""How many failing origins are remembered. The least recently asked ones are forgotten first."""

TRIPS_AFTER = {"dns": 5, "connect": 5, "tls": 5, "timeout": 5, "busy": 3, "failed": 10}
"""How many failures in a row open the circuit, by `SourceError.failure`. Other failures do not count."""


@dataclass(slots=True)
class _Origin:
    """`strain` is 1 when the circuit opens; each failure adds its share, an answer takes all away."""

    strain: float = 0.0
    pauses: int = 0
    open_until: float = 0.0
    error: SourceError | None = None
    probing: bool = False


class Breaker:
    """The circuits of all origins of this process. `clock` returns Unix seconds."""

    def __init__(
        self, *, clock: Callable[[], float], chance: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._origins: OrderedDict[str, _Origin] = OrderedDict()

    def __len__(self) -> int:
        return len(self._origins)

    @property
    def open_count(self) -> int:
        """The number of open circuits, whose origins failed and have not answered since."""
        return sum(place.strain >= 1 for place in self._origins.values())

    def require(self, origin: str) -> None:
        """Let a request to `origin` be prepared, or raise the error of its last request.

        Raises:
            SourceError: the circuit is open, or another request is probing the origin.
        """
        place = self._origins.get(origin)
        if place is None or place.error is None or place.strain < 1:
            return
        if place.probing or self._remaining(place) > 0:
            raise _again(place.error, seconds=self._remaining(place))

    def begin(self, origin: str) -> None:
        """Note that a request to `origin` begins. The first one after a pause is the probe.

        Raises:
            SourceError: as for `require`.
        """
        self.require(origin)
        place = self._origins.get(origin)
        if place is not None and place.strain >= 1:
            place.probing = True

    def answered(self, origin: str) -> None:
        """Note that `origin` has answered."""
        if self._origins.pop(origin, None) is not None:
            log.info("%s answers again", origin)

    def left(self, origin: str) -> None:
        """Note that a request ended without saying anything about `origin`."""
        place = self._origins.get(origin)
        if place is not None:
            place.probing = False

    def failed(self, origin: str, error: SourceError) -> None:
        """Note that a request to `origin` failed. A failure that says nothing about the origin counts as `left`."""
        threshold = TRIPS_AFTER.get(error.failure)
        if threshold is None:
            self.left(origin)
            return
        place = self._origins.setdefault(origin, _Origin())
        self._origins.move_to_end(origin)
        if len(self._origins) > MAX_ORIGINS:
            self._origins.popitem(last=False)
        place.error = error
        place.strain = min(1.0, place.strain + 1.0001 / threshold)
        # Those that were under way when the circuit opened do not open it further.
        if place.strain >= 1 and (place.probing or self._remaining(place) <= 0):
            self._open(origin, place)
        place.probing = False

    def _open(self, origin: str, place: _Origin) -> None:
        pause = min(PAUSE_SECONDS * 2**place.pauses, MAX_PAUSE_SECONDS)
        pause *= self._chance(1 - JITTER, 1 + JITTER)
        asked = place.error.retry_after_seconds if place.error else None
        pause = max(pause, min(asked or 0.0, MAX_ASKED_SECONDS))
        place.pauses = min(place.pauses + 1, 16)
        place.open_until = self._clock() + pause
        log.warning("%s does not answer (%s): no requests for %.0f s", origin, place.error, pause)

    def _remaining(self, place: _Origin) -> float:
        remaining = place.open_until - self._clock()
        # After the clock was put back, a circuit must not stay open for years.
        return remaining if remaining <= MAX_ASKED_SECONDS + MAX_PAUSE_SECONDS else 0.0


def _again(error: SourceError, *, seconds: float) -> SourceError:
    again = type(error)(detail=f"no requests for another {max(seconds, 0):.0f} s: {error.detail}")
    again.not_asked = True
    again.failure = error.failure
    again.origin_status = error.origin_status
    again.retry_after_seconds = max(seconds, 0.0)
    return again
