"""Looking up what is kept of a source, and as what it is answered: fresh, stale, for want of a refresh, corrupt.

Event loop. One job of a thread asks the store for the block, the entry and the remembered failure of a source.
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
"""Entries in memory, 3 to 5 KB each, 12 KB where an origin talks too much, so that a hit in the variant store need not
read one from the disk."""


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


class Lookup:
    """What is kept of sources: in memory, then on the disk."""

    def __init__(self, parts: ServingParts, freshness: Freshness, negatives: Negatives) -> None:
        self._parts = parts
        self._freshness = freshness
        self._negatives = negatives
        self._known: OrderedDict[str, Obtained] = OrderedDict()

    def forget_all(self) -> None:
        """Forget the entries in memory: they are read from the disk again when they are asked for."""
        self._known.clear()

    def forget(self, source: str) -> None:
        """Forget the entry of a source, whose text has changed."""
        self._known.pop(source, None)

    async def look(self, source: Source) -> SourceOrder:
        """Return what is kept of `source`; what was answered before counts as kept, once the disk has it.

        Raises:
            SourceNotAllowed: it was purged with a block.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        order = SourceOrder(source, stamp)
        await self._parts.flight.landed(order.flight_key)
        order.known = self._at_hand(source, stamp)
        return order if order.known is not None else await self._looked_up(order)

    def _at_hand(self, source: Source, stamp: int) -> Obtained | None:
        """Return what is kept of a source whose stamp was read before, if memory holds it and it is fresh.

        What was read under the same stamp is still true while it is fresh: a block, a purge or other bytes change
        the stamp, and a refresh only makes it fresh for longer.
        """
        known = self._known.get(source.url)
        if known is not None and known.stamp == stamp and self._freshness.is_fresh(known):
            return known
        refused = self.refused(source, stamp)
        return replace(refused, state=NOT_KEPT_HIT) if refused and self._freshness.is_fresh(refused) else None

    async def _looked_up(self, order: SourceOrder) -> SourceOrder:
        """Complete `order` with what the store has of its source, fresh or not, all from one job of a thread."""
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
        """Return what the disk did not take of a source, however long ago, while it is in memory."""
        held = self._parts.memory.get((NOT_KEPT, source.url))
        return held if isinstance(held, Obtained) and held.stamp == stamp else None

    def note_refusal(self, source: Source, obtained: Obtained) -> None:
        """Hold what the disk did not take in memory, and forget what it has taken since."""
        key = (NOT_KEPT, source.url)
        if obtained.is_refused:
            held = replace(obtained, rendered={}, rendering={})
            self._parts.memory.put(key, held, size=len(obtained.body or b""))
        else:
            self._parts.memory.remove(key)
