"""Circuit breakers: an origin that does not answer is left alone for a while, then tried by one request. Event loop.

Counts only what speaks of the origin as a whole. A picture that is absent, cut, endless or no picture says
nothing about its neighbours: an origin that answered anything else is well. Knows origins as text and errors of
the contract; refuses to know sources (`proxy.services.troubles.negatives` remembers those) and who waits.

Why not a library: purgatory, pybreaker, aiobreaker and circuitbreaker count against one threshold, take the time
from the system, pause for a fixed time and bound no number of circuits; an origin here is text that a client may
make up (docs/decisions/0011-manners.md).
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
"""The first pause; each probe that fails doubles it."""
MAX_PAUSE_SECONDS = 600.0
MAX_ASKED_SECONDS = 3600.0
"""The longest `Retry-After` that is believed."""
JITTER = 0.2
"""Pauses differ by up to this share, so that many workers do not come back at the same moment."""
MAX_ORIGINS = 4096
"""Ailing origins remembered; the ones that have not been asked for longest go first."""

TRIPS_AFTER = {"dns": 5, "connect": 5, "tls": 5, "timeout": 5, "busy": 3, "failed": 10}
"""How many failures in a row, by `SourceError.failure`, open the circuit. Others do not count."""


@dataclass(slots=True)
class _Origin:
    """`strain` is 1 when the circuit opens; each failure adds its share, an answer takes all away."""

    strain: float = 0.0
    pauses: int = 0
    open_until: float = 0.0
    error: SourceError | None = None
    probing: bool = False


class Breaker:
    """The circuits of all origins of this process. `clock` gives unix seconds."""

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
        """How many circuits are open: their origins did not answer and have not answered since."""
        return sum(place.strain >= 1 for place in self._origins.values())

    def require(self, origin: str) -> None:
        """Let a request to `origin` be prepared, or raise what its last request failed with.

        Raises:
            SourceError: the circuit is open, or somebody else is trying.
        """
        place = self._origins.get(origin)
        if place is None or place.error is None or place.strain < 1:
            return
        if place.probing or self._remaining(place) > 0:
            raise _again(place.error, seconds=self._remaining(place))

    def begin(self, origin: str) -> None:
        """Note that a request to `origin` begins; the first one after a pause is the probe.

        Raises:
            SourceError: as `require`.
        """
        self.require(origin)
        place = self._origins.get(origin)
        if place is not None and place.strain >= 1:
            place.probing = True

    def answered(self, origin: str) -> None:
        """Note that `origin` lives."""
        if self._origins.pop(origin, None) is not None:
            log.info("%s answers again", origin)

    def left(self, origin: str) -> None:
        """Note that a request ended without saying anything about `origin`."""
        place = self._origins.get(origin)
        if place is not None:
            place.probing = False

    def failed(self, origin: str, error: SourceError) -> None:
        """Note that a request to `origin` failed; what does not speak of the origin is as `left`."""
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
        log.warning("%s does not answer (%s): left alone for %.0f s", origin, place.error, pause)

    def _remaining(self, place: _Origin) -> float:
        remaining = place.open_until - self._clock()
        # A clock that was put back must not close an origin for years.
        return remaining if remaining <= MAX_ASKED_SECONDS + MAX_PAUSE_SECONDS else 0.0


def _again(error: SourceError, *, seconds: float) -> SourceError:
    again = type(error)(detail=f"not asked for {max(seconds, 0):.0f} s more: {error.detail}")
    again.not_asked = True
    again.failure = error.failure
    again.origin_status = error.origin_status
    again.retry_after_seconds = max(seconds, 0.0)
    return again
