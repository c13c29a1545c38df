"""Looks up what is kept of a source, and decides how it is answered: fresh, stale, as a fallback, or corrupt.

Event loop. One job of a thread reads the block, the entry and the remembered failure of a source.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import replace

from cache.base.entry import Entry
from cache.http.freshness import may_refresh_behind, remaining_seconds, stale_seconds
from proxy.errors import MirrorError, SourceError, SourceRemoved
from proxy.services.serving import ServingParts
from proxy.services.serving.values import (
    CORRUPT,
    NOT_KEPT,
    NOT_KEPT_HIT,
    SHORT_SECONDS,
    CacheState,
    Obtained,
    SourceOrder,
)
from proxy.services.troubles.negatives import Negatives
from proxy.source import Source

MAX_KNOWN = 4096
"""The number of entries in memory, 3 to 5 KB each, or 12 KB if an origin sends many headers. A hit in the variant store
then need not read its entry from the disk."""


class Freshness:
    """Judges kept originals by the current configuration and time."""

    def __init__(self, parts: ServingParts) -> None:
        self._parts = parts

    def kept(self, entry: Entry, state: CacheState, *, stamp: int) -> Obtained:
        """Return a kept original as an answer with its remaining freshness."""
        now = self._parts.now()
        remaining = remaining_seconds(entry, now=now, min_fresh_seconds=self._parts.config.min_fresh)
        return Obtained(entry, state, stamp, fresh_until=now + remaining)

    def short(self, obtained: Obtained, body: bytes | None) -> Obtained:
        """Return an original that the disk refused, or has not accepted yet, as an answer for one minute."""
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
        """Return a stale entry whose origin allows that. The next request should see the result of the refresh."""
        now = self._parts.now()
        stale = stale_seconds(entry, now=now, min_fresh_seconds=self._parts.config.min_fresh)
        state = CacheState(detail="refreshing", stale_seconds=math.ceil(stale) or 1)
        return Obtained(entry, state, stamp, fresh_until=now, short=True)

    def corrupt(self, obtained: Obtained, size: int) -> Obtained:
        """Return damaged bytes as an answer. It is short-lived and never fresh in memory, so each request tries to
        repair it."""
        state = replace(obtained.state, stored=False, stale_seconds=0, detail=CORRUPT)
        entry = replace(obtained.entry, body_size=size)
        return replace(obtained, entry=entry, state=state, short=True, fresh_until=self._parts.now())

    def is_fresh(self, obtained: Obtained | None) -> bool:
        """Return whether an answer needs no refresh."""
        return obtained is not None and obtained.fresh_until > self._parts.now()

    def may_refresh_behind(self, entry: Entry) -> bool:
        """Return whether the origin allows a stale answer during a refresh (RFC 5861)."""
        return may_refresh_behind(
            entry, now=self._parts.now(), min_fresh_seconds=self._parts.config.min_fresh
        )

    def may_fall_back(self, entry: Entry) -> bool:
        """Return whether a stale answer may replace a failed refresh (`fetch.stale_if_error`)."""
        min_fresh = self._parts.config.min_fresh
        stale = stale_seconds(entry, now=self._parts.now(), min_fresh_seconds=min_fresh)
        return stale <= self._parts.config.stale_if_error


class Lookup:
    """Looks up sources in memory, then on the disk."""

    def __init__(self, parts: ServingParts, freshness: Freshness, negatives: Negatives) -> None:
        self._parts = parts
        self._freshness = freshness
        self._negatives = negatives
        self._known: OrderedDict[str, Obtained] = OrderedDict()

    def forget_all(self) -> None:
        """Forget the entries in memory. They are read from the disk again when needed."""
        self._known.clear()

    def forget(self, source: str) -> None:
        """Forget the entry of a source because its file has changed."""
        self._known.pop(source, None)

    async def look(self, source: Source) -> SourceOrder:
        """Return what is known of `source`. An original that was answered before counts as kept once the disk has it.

        Raises:
            SourceNotAllowed: it was purged with a block.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        order = SourceOrder(source, stamp)
        await self._parts.flight.landed(order.flight_key)
        order.known = self._at_hand(source, stamp)
        return order if order.known is not None else await self._looked_up(order)

    def _at_hand(self, source: Source, stamp: int) -> Obtained | None:
        """Return what is known of a source whose stamp was just read, if it is in memory and fresh.

        An entry read under the same stamp is valid while it is fresh: a block, a purge or different bytes change the
        stamp, and a refresh only extends the freshness.
        """
        known = self._known.get(source.url)
        if known is not None and known.stamp == stamp and self._freshness.is_fresh(known):
            return known
        refused = self.refused(source, stamp)
        return replace(refused, state=NOT_KEPT_HIT) if refused and self._freshness.is_fresh(refused) else None

    async def _looked_up(self, order: SourceOrder) -> SourceOrder:
        """Complete `order` with what the store knows of its source, fresh or not, in one job of a thread."""
        source, stamp = order.source, order.stamp
        begun = self._parts.now()
        failure_key = self._negatives.key(source, stamp=stamp)
        is_blocked, entry, failure = await self._parts.store.look_up_with_failure(source.url, failure_key)
        if is_blocked:
            raise SourceRemoved
        self._known.pop(source.url, None)
        order.failure, order.looked_at = failure, begun
        if entry is not None:
            order.known = self._known[source.url] = self._freshness.kept(entry, CacheState(), stamp=stamp)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return order

    def refused(self, source: Source, stamp: int) -> Obtained | None:
        """Return the original of a source that the disk refused, however long ago, while memory holds it."""
        held = self._parts.memory.get((NOT_KEPT, source.url))
        return held if isinstance(held, Obtained) and held.stamp == stamp else None

    def note_refusal(self, source: Source, obtained: Obtained) -> None:
        """Remember an original that the disk refused, or forget one that it has accepted since."""
        key = (NOT_KEPT, source.url)
        if obtained.is_refused:
            held = replace(obtained, rendered={}, rendering={})
            self._parts.memory.put(key, held, size=len(obtained.body or b""))
        else:
            self._parts.memory.remove(key)
