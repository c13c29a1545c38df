"""As what a kept original is answered: fresh, stale, for want of a refresh, corrupt. Pure but for its clock."""

from __future__ import annotations

import math
from dataclasses import replace

from cache.base.entry import Entry
from cache.http.freshness import may_refresh_behind, remaining_seconds, stale_seconds
from proxy.errors import MirrorError, SourceError
from proxy.services.serving.parts import ServingParts
from proxy.services.serving.values import CORRUPT, SHORT_SECONDS, CacheState, Obtained


class Freshness:
    """Judge kept originals by the configuration of the moment and the clock."""

    def __init__(self, parts: ServingParts) -> None:
        self._parts = parts

    def kept(self, entry: Entry, state: CacheState, *, stamp: int) -> Obtained:
        """Return a kept original as an answer, fresh for as long as it is."""
        now = self._parts.now()
        remaining = remaining_seconds(entry, now=now, min_fresh_seconds=self._parts.config.min_fresh)
        return Obtained(entry, state, stamp, fresh_until=now + remaining)

    def short(self, obtained: Obtained, body: bytes | None) -> Obtained:
        """Return what the disk did not take, or not yet, as an answer for a minute."""
        until = min(obtained.fresh_until, self._parts.now() + SHORT_SECONDS)
        return replace(obtained, body=body, short=True, fresh_until=until)

    def fallback(self, entry: Entry, error: Exception | None, *, stamp: int) -> Obtained:
        """Return a kept original whose refresh failed with `error`, or takes too long."""
        detail = "refreshing"
        if error:
            self._parts.metrics.fallbacks.inc()
            detail = error.code if isinstance(error, MirrorError) else "store_failed"
        state = CacheState(
            "stale", error.origin_status if isinstance(error, SourceError) else 0, detail=detail
        )
        now = self._parts.now()
        return Obtained(entry, state, stamp, fresh_until=now + SHORT_SECONDS, short=True)

    def stale_hit(self, entry: Entry, *, stamp: int) -> Obtained:
        """Answer a stale entry whose origin allows that; the next request is to see what the refresh brought."""
        now = self._parts.now()
        stale = stale_seconds(entry, now=now, min_fresh_seconds=self._parts.config.min_fresh)
        state = CacheState(detail="refreshing", stale_seconds=math.ceil(stale) or 1)
        return Obtained(entry, state, stamp, fresh_until=now, short=True)

    def corrupt(self, obtained: Obtained, size: int) -> Obtained:
        """Return damaged bytes as an answer: short, and not fresh in memory, so that each request tries to heal it."""
        state = replace(obtained.state, stored=False, stale_seconds=0, detail=CORRUPT)
        entry = replace(obtained.entry, body_size=size)
        return replace(obtained, entry=entry, state=state, short=True, fresh_until=self._parts.now())

    def is_fresh(self, obtained: Obtained | None) -> bool:
        """Tell whether there is an answer that need not be refreshed."""
        return obtained is not None and obtained.fresh_until > self._parts.now()

    def may_refresh_behind(self, entry: Entry) -> bool:
        """Tell whether the origin allows a stale answer while it is asked (RFC 5861)."""
        return may_refresh_behind(
            entry, now=self._parts.now(), min_fresh_seconds=self._parts.config.min_fresh
        )

    def may_fall_back(self, entry: Entry) -> bool:
        """Tell whether a stale answer may stand in for a failed refresh (`fetch.stale_if_error`)."""
        min_fresh = self._parts.config.min_fresh
        stale = stale_seconds(entry, now=self._parts.now(), min_fresh_seconds=min_fresh)
        return stale <= self._parts.config.stale_if_error
