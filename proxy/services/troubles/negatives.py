"""Negatives: failures of sources remembered, so that a dead picture is not asked for by every visitor.

Each kind of failure has its own time. The first one is not believed for long: a source never kept is asked for
again by the next request, a kept one (whose visitors lose nothing) within a minute. Only the second in a row is
remembered for the whole time of its kind. What the origin itself says is taken at its word at once, within bounds: a
`Retry-After`, and for how long an error answer is fresh (RFC 9111 §4 sees no difference between a picture and a 404).

Shared by the processes of a store as far as it can be written (`cache.across.failures`). Refuses to know origins:
those have their circuit breakers in `proxy.fetch`. Runs on the event loop.
"""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from cache.across.failures import Failures, RememberedFailure
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
"""For how long at most the first failure of a kept source is believed: as long as its stale answer is fresh."""

MAX_ASKED_SECONDS = 3600.0
"""The longest `Retry-After` and freshness of a 4xx that is believed: a year is a slip, a picture may come back."""

MAX_OUTAGE_SECONDS = 60.0
"""The longest freshness of a 5xx that is believed; it speaks of the origin's health."""

JITTER = 0.1
"""Times differ by up to this share, so that the pictures of one page are not asked for again all at once."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of failure: the error it is answered with, and for how many seconds it is remembered.

    is_dead: the origin does not have the picture any more, so a copy is looked for elsewhere. An origin that is busy,
    out of order or sends too much still has it.
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
"""By `SourceError.failure`, but for `_ONE_KIND`; docs/failures.md has the same table, and a test compares them."""


_ONE_KIND = frozenset({"dns", "connect", "tls"})
"""Remembered as "unreachable": from for how long and in which words, nobody can tell whether an inner name exists."""


class Negatives:
    """The memory of failures under one configuration. `stamp_of` gives the generation of an origin."""

    def __init__(
        self,
        failures: Failures,
        config: FetchConfig,
        *,
        now: Callable[[], float],
        stamp_of: Callable[[str], int],
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._failures = failures
        self._now = now
        self._stamp_of = stamp_of
        self._chance = chance
        self._longest, self._mark = 0.0, ""
        self.reconfigure(config)

    def reconfigure(self, config: FetchConfig) -> None:
        """Take new settings: what failed under others is not believed any more."""
        self._longest = config.remember_failures
        self._mark = hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]

    async def remembered(self, source: Source, *, stamp: int) -> MirrorError | None:
        """Return the failure of a source that is still believed; None when it may be asked for.

        `stamp`: the generation of the source; a purge makes all failures before it forgotten.
        """
        key = self.key(source, stamp=stamp)
        return self.believed(await self._failures.get(key)) if key else None

    def key(self, source: Source, *, stamp: int) -> str | None:
        """Return the name under which the failures of a source are remembered; None when they are not."""
        return self._key(source, stamp) if self._longest else None

    def believed(self, found: RememberedFailure | None) -> MirrorError | None:
        """Return the failure that was remembered, if it is believed still."""
        now = self._now()
        # A clock that was put back must not make a failure last for years.
        if found is None or not found.at <= now + MAX_ASKED_SECONDS or found.until <= now:
            return None
        return _as_error(found, now=now)

    def since(self, found: RememberedFailure | None, moment: float) -> MirrorError | None:
        """Return the failure that was remembered, if another process had it after `moment`, unix seconds."""
        now = self._now()
        return _as_error(found, now=now) if found and moment < found.at <= now else None

    async def note(self, source: Source, error: MirrorError, *, stamp: int, kept: bool) -> None:
        """Remember why a source could not be had; what says nothing about it is not remembered."""
        kind = kind_of(error)
        if not kind or not self._longest:
            return
        key, now = self._key(source, stamp), self._now()
        before = await self._failures.get(key)
        again = before is not None and before.kind == kind and now < before.until + 2 * KINDS[kind].seconds
        count = before.count + 1 if before is not None and again else 1
        until = now + self._seconds(kind, error, count=count, kept=kept)
        status = error.origin_status if isinstance(error, SourceError) else 0
        await self._failures.put(key, RememberedFailure(kind, status, count, now, until))

    async def forget(self, source: Source, *, stamp: int) -> None:
        """Forget the failures of a source that could be had."""
        if self._longest:
            await self._failures.forget(self._key(source, stamp))

    def _seconds(self, kind: str, error: MirrorError, *, count: int, kept: bool) -> float:
        seconds = KINDS[kind].seconds * self._chance(1 - JITTER, 1 + JITTER)
        if count == 1:
            seconds = min(seconds, FIRST_KEPT_SECONDS) if kept else 0.0
        asked = _asked_seconds(error, now=self._now()) if isinstance(error, SourceError) else 0.0
        return min(max(seconds, asked), self._longest)

    def _key(self, source: Source, stamp: int) -> str:
        # A purge by origin changes the stamp of the origin: who is not kept is in no list of what to forget.
        return f"{self._mark} {stamp} {self._stamp_of(source.origin)} {source.url}"


def _asked_seconds(error: SourceError, *, now: float) -> float:
    """Return for how long the origin wants to be left alone, as far as it is believed."""
    asked = min(error.retry_after_seconds or 0.0, MAX_ASKED_SECONDS)
    answer = error.answer
    if answer is None:
        return asked
    times = {"request_time": answer.request_time, "response_time": answer.response_time}
    fresh = reusable_seconds(answer.headers, status=error.origin_status, now=now, **times)
    return max(asked, min(fresh, MAX_OUTAGE_SECONDS if error.origin_status >= 500 else MAX_ASKED_SECONDS))


def kind_of(error: MirrorError) -> str:
    """Return the kind of a failure; empty when it is not the source's, or nobody asked for it."""
    return "" if isinstance(error, SourceError) and error.not_asked else _kind_of(error)


def is_dead(error: MirrorError) -> bool:
    """Tell whether a failure, one that is remembered too, means that the origin does not have the picture any more."""
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
