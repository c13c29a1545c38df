"""Negatives: remembers failures of sources, so that not every visitor causes a request for a dead picture.

Each kind of failure is remembered for its own time. A first failure is remembered only briefly. If the source was never
kept, the next request asks the origin again; if it is kept, its visitors lose nothing and we wait up to a minute. Only
the second failure in a row is remembered for the full time. Within bounds, we obey the origin's `Retry-After` and the
freshness of its error answer at once (RFC 9111 §4 makes no difference between a picture and a 404).

All processes of a store share the failures, as long as the store can be written (`cache.across.failures`). Failures of
whole origins are left to the circuit breakers in `proxy.fetch`. Event loop.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cache.across.failures import RememberedFailure
from cache.across.seams import FailureMemory
from cache.http.freshness import reusable_seconds
from proxy.config import FetchConfig
from proxy.errors import (
    MirrorError,
    NotAnImage,
    SourceError,
    SourceFailed,
    SourceGone,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreachable,
)
from proxy.source import Source

log = logging.getLogger(__name__)

FIRST_KEPT_SECONDS = 60.0
"""Longest time for which the first failure of a kept source is remembered. Its stale answer is fresh for this time."""

MAX_ASKED_SECONDS = 3600.0
"""Upper bound on `Retry-After` and on the freshness of a 4xx. A year is a mistake, because a picture may come back."""

MAX_OUTAGE_SECONDS = 60.0
"""Upper bound on the freshness of a 5xx, which describes the state of the origin rather than of the picture."""

JITTER = 0.1
"""Times vary by up to this share, so that the pictures of one page are not requested again all at once."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of failure: the error for the client, and the seconds for which it is remembered.

    is_dead: the origin no longer has the picture, so we look for a copy. An origin that is busy, out of order or sends
    too much still has it.
    """

    error: type[MirrorError]
    seconds: float
    is_dead: bool


KINDS: dict[str, Kind] = {
    "unreachable": Kind(SourceUnreachable, 60, is_dead=True),
    "timeout": Kind(SourceTimeout, 120, is_dead=True),
    "refused": Kind(SourceRefused, 600, is_dead=True),
    "not_found": Kind(SourceNotFound, 300, is_dead=True),
    "gone": Kind(SourceGone, 3600, is_dead=True),
    "busy": Kind(SourceRefused, 60, is_dead=False),
    "failed": Kind(SourceFailed, 30, is_dead=False),
    "unusable": Kind(SourceFailed, 300, is_dead=True),
    "not_an_image": Kind(NotAnImage, 600, is_dead=True),
    "too_large": Kind(SourceTooLarge, 3600, is_dead=False),
}
"""Kinds by `SourceError.failure`, except `_ONE_KIND`. A test compares this table with the one in docs/failures.md."""


_ONE_KIND = frozenset({"dns", "connect", "tls"})
"""Failures remembered as "unreachable", so that neither time nor wording reveals whether an internal name exists."""


class FailureNotes(Protocol):
    """Where failures and successes are noted for the owner. Never waits, never raises."""

    def note_failure(self, source: str, kind: str, *, status: int, at: float, stamp: int) -> None:
        """Note that a source failed. at: Unix seconds. stamp: its generation when its origin was asked."""

    def note_success(self, source: str) -> None:
        """Note that a source was fetched."""


class Negatives:
    """The memory of failures under one configuration. `stamp_of` returns the generation of an origin."""

    def __init__(  # noqa: PLR0913 - a test replaces each of them
        self,
        failures: FailureMemory,
        config: FetchConfig,
        *,
        now: Callable[[], float],
        stamp_of: Callable[[str], int],
        chance: Callable[[float, float], float] = random.uniform,
        notes: FailureNotes | None = None,
    ) -> None:
        self._notes = notes
        self._failures = failures
        self._now = now
        self._stamp_of = stamp_of
        self._chance = chance
        self._longest, self._mark = 0.0, ""
        self.reconfigure(config)

    def reconfigure(self, config: FetchConfig) -> None:
        """Apply new settings. Failures under other settings no longer count."""
        self._longest = config.remember_failures
        self._mark = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]

    async def remembered(self, source: Source, *, stamp: int) -> MirrorError | None:
        """Return the remembered failure of a source, or None when its origin may be asked.

        `stamp` is the generation of the source. A purge changes it, which discards earlier failures.
        """
        key = self.key(source, stamp=stamp)
        return self.believed(await self._failures.get(key)) if key else None

    def key(self, source: Source, *, stamp: int) -> str | None:
        """Return the key of a source's failures, or None when failures are not remembered at all."""
        return self._key(source, stamp) if self._longest else None

    def believed(self, found: RememberedFailure | None) -> MirrorError | None:
        """Return a remembered failure as an error, or None when its time is over."""
        now = self._now()
        # After the clock was put back, a failure must not last for years.
        if found is None or not found.at <= now + MAX_ASKED_SECONDS or found.until <= now:
            return None
        return _as_error(found, now=now)

    def since(self, found: RememberedFailure | None, moment: float) -> MirrorError | None:
        """Return a remembered failure as an error if it happened after `moment` (Unix seconds), in another process."""
        now = self._now()
        return _as_error(found, now=now) if found and moment < found.at <= now else None

    async def note(self, source: Source, error: MirrorError, *, stamp: int, kept: bool) -> None:
        """Remember the failure of a source. An error that says nothing about the source is not remembered."""
        kind = kind_of(error)
        if not kind:
            return
        status, now = error.origin_status if isinstance(error, SourceError) else 0, self._now()
        if self._notes is not None:
            self._notes.note_failure(source.url, kind, status=status, at=now, stamp=stamp)
        if not self._longest:
            return
        key = self._key(source, stamp)
        before = await self._failures.get(key)
        again = before is not None and before.kind == kind and now < before.until + 2 * KINDS[kind].seconds
        count = before.count + 1 if before is not None and again else 1
        until = now + self._seconds(kind, error, count=count, kept=kept)
        await self._failures.put(key, RememberedFailure(kind, status, count, now, until))

    def note_success(self, source: Source) -> None:
        """Note for the owner that a source was fetched."""
        if self._notes is not None:
            self._notes.note_success(source.url)

    async def forget(self, source: Source, *, stamp: int) -> None:
        """Forget the failures of a source after a success."""
        if self._longest:
            await self._failures.forget(self._key(source, stamp))

    def _seconds(self, kind: str, error: MirrorError, *, count: int, kept: bool) -> float:
        seconds = KINDS[kind].seconds * self._chance(1 - JITTER, 1 + JITTER)
        if count == 1:
            seconds = min(seconds, FIRST_KEPT_SECONDS) if kept else 0.0
        asked = _asked_seconds(error, now=self._now()) if isinstance(error, SourceError) else 0.0
        return min(max(seconds, asked), self._longest)

    def _key(self, source: Source, stamp: int) -> str:
        # A purge by origin changes the stamp of the origin. Sources that are not kept are in no list, so their failures
        # could not be forgotten one by one.
        return f"{self._mark} {stamp} {self._stamp_of(source.origin)} {source.url}"


def _asked_seconds(error: SourceError, *, now: float) -> float:
    """Return for how long the origin asks us not to repeat the request, within bounds."""
    asked = min(error.retry_after_seconds or 0.0, MAX_ASKED_SECONDS)
    answer = error.answer
    if answer is None:
        return asked
    times = {"request_time": answer.request_time, "response_time": answer.response_time}
    fresh = reusable_seconds(answer.headers, status=error.origin_status, now=now, **times)
    return max(asked, min(fresh, MAX_OUTAGE_SECONDS if error.origin_status >= 500 else MAX_ASKED_SECONDS))


def kind_of(error: MirrorError) -> str:
    """Return the kind of a failure; empty when it is not the source's failure or no request was sent."""
    return "" if isinstance(error, SourceError) and error.not_asked else _kind_of(error)


def is_dead(error: MirrorError) -> bool:
    """Return whether a failure, or the memory of one, means that the origin no longer has the picture."""
    kind = KINDS.get(_kind_of(error))
    return kind is not None and kind.is_dead


def _kind_of(error: MirrorError) -> str:
    if isinstance(error, NotAnImage):
        return "not_an_image"
    if not isinstance(error, SourceError):
        return ""
    kind = "unreachable" if error.failure in _ONE_KIND else error.failure
    return kind if kind in KINDS else ""


def _as_error(found: RememberedFailure, *, now: float) -> MirrorError | None:
    kind = KINDS.get(found.kind)
    if kind is None:
        return None
    error = kind.error(detail=f"remembered: {found.kind}, {found.count} in a row")
    if isinstance(error, SourceError):
        error.origin_status, error.failure, error.not_asked = found.status, found.kind, True
        error.retry_after_seconds = max(found.until - now, 0.0)
    return error
