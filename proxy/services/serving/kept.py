"""Obtains originals: the kept one, a refreshed one, or the kept one when a refresh fails. Event loop.

Knows what is kept, whether it is fresh, and which failures are remembered. `way.OriginalWay` fetches, judges and keeps.
Nothing here knows HTTP requests or variants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from cache.across.failures import RememberedFailure
from cache.base.entry import Entry
from cache.base.errors import CacheError
from proxy.config import FetchConfig
from proxy.errors import MirrorError, NotFound, SourceError, SourceRemoved
from proxy.fetch.wayback import Copy
from proxy.images.jobs import Inspection, Wish
from proxy.services.serving import ServingParts, judging
from proxy.services.serving.download import Downloads
from proxy.services.serving.keeping import Keeping
from proxy.services.serving.lookup import Freshness, Lookup
from proxy.services.serving.values import NOT_KEPT, CacheState, Obtained, SourceOrder
from proxy.services.troubles.negatives import Negatives
from proxy.services.troubles.recovery import Recovery
from proxy.source import Source

log = logging.getLogger(__name__)

REFRESH_GRACE_SECONDS = 1.0
"""How long a visitor waits for the refresh of a stale original before the kept one is answered."""

VERSION_SECONDS = 86400.0
"""How long browsers may keep a version named by its digest. It never changes, but it may be purged."""


class FetchesOriginals(Protocol):
    """Brings an original from its origin into the store (`way.OriginalWay`)."""

    async def fetch(self, order: SourceOrder) -> Obtained:
        """Fetch the source of `order` and keep it."""

    async def fetch_copy(
        self, order: SourceOrder, copy: Copy, *, downloaded: Callable[[], None] = lambda: None
    ) -> Obtained:
        """Fetch a copy of the source of `order` and keep it."""


class KeptOriginals:
    """Obtains an original.

    1. A source blocked by a purge is refused.
    2. A fresh entry is used without asking the origin.
    3. A stale entry is refreshed with its validators. If anything fails (network, status, type, size, check), the kept
       original is the answer, and the failure is remembered (`Negatives`), so that not every visitor asks a dead
       origin. A slow refresh continues in the background. If the origin allows it (stale-while-revalidate), the refresh
       begins there.
    4. A missing source is fetched, checked and kept (`OriginalWay`), unless it failed repeatedly a short time ago, or
       with an answer that the origin called fresh. A copy of a dead source is looked for elsewhere (`Recovery`).
    5. An original that the disk refuses is answered from memory for one minute. Then the origin is asked again with its
       validators. If it answers 304 or gives nothing, imgmirror tries again to keep the bytes in memory.

    Each source is fetched once at a time, across tasks and worker processes.
    """

    def __init__(
        self,
        parts: ServingParts,
        freshness: Freshness,
        downloads: Downloads,
        keeping: Keeping,
        way: FetchesOriginals,
    ) -> None:
        self._parts = parts
        self._freshness = freshness
        self._downloads = downloads
        self._keeping = keeping
        self._way = way
        self._recovery = Recovery(parts.fetcher, parts.store.articles, parts.metrics, now=parts.now)
        self._recovery.reconfigure(parts.config)
        self._negatives = Negatives(
            parts.store.failures,
            parts.config,
            now=parts.now,
            stamp_of=parts.store.generations.stamp,
            notes=parts.store.catalogue.notes,
        )
        self._lookup = Lookup(parts, freshness, self._negatives)
        self._wanted: dict[str, dict[tuple[Wish, ...], None]] = {}

    def reconfigure(self, config: FetchConfig) -> None:
        """Use new settings for fetches that begin from now on."""
        self._parts.config = config
        self._negatives.reconfigure(config)
        self._recovery.reconfigure(config)
        self._lookup.forget_all()

    def forget_known(self) -> None:
        """Forget the entries in memory. They are read from the disk again when needed."""
        self._lookup.forget_all()

    async def look(self, source: Source) -> SourceOrder:
        """Return what is known of `source`. An original that was answered before counts as kept once the disk has it.

        Raises:
            SourceNotAllowed: it was purged with a block.
        """
        return await self._lookup.look(source)

    async def obtain(  # noqa: PLR0913 - what callers differ in
        self,
        source: Source,
        wishes: tuple[Wish, ...] = (),
        *,
        patient: bool = False,
        date: float | None = None,
        accept: Callable[[Obtained], bool] | None = None,
        look: SourceOrder | None = None,
        written: tuple[Source, ...] = (),
    ) -> Obtained:
        """Return the original of `source`; fetch it if necessary.

        `patient`: wait for the origin without a limit, and fetch a source that was never kept even if a failure is
        remembered. For warming, where no visitor waits. `accept`: return an original that is still being written
        (`Obtained.ending`) if this function accepts it. `look`: what the caller has just looked up. `written`: the
        wrappers' own addresses used for the request, in case the origin is dead.

        Raises:
            MirrorError: see docs/api.md, "Errors"; the source was never kept and is not available now.
        """
        if look is None or look.stamp != self._parts.store.generations.stamp(source.url):
            look = await self._lookup.look(source)
        known = look.known
        if known is not None and self._freshness.is_fresh(known):
            return known
        order = replace(
            look,
            wishes=wishes,
            patient=patient,
            written=written,
            date=date,
            refused=self._lookup.refused(source, look.stamp),
        )
        if known is not None:
            return await self._refreshed(order, known.entry)
        try:
            return await self._fetch_once(order, accept)
        except SourceError:
            if (salvaged := await self._parts.store.salvage(source.url)) is None:
                raise
            kept = Obtained(salvaged, CacheState(), order.stamp, fresh_until=self._parts.now())
            return self._freshness.corrupt(kept, salvaged.body_size)

    async def obtain_again(
        self,
        source: Source,
        wishes: tuple[Wish, ...] = (),
        *,
        patient: bool = False,
        date: float | None = None,
    ) -> Obtained:
        """Fetch a source whose kept body has vanished from the disk, as if nothing were kept.

        `patient`, `date`: as in `obtain`.

        Raises:
            MirrorError: any error of docs/api.md, "Errors", except `internal`.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        lost = await self._parts.store.get(source.url)
        order = SourceOrder(source, stamp, wishes=wishes, patient=patient, date=date, lost=lost)
        if not patient:
            await self._require_no_failure(order)

        async def nothing() -> None:
            return None

        async def work() -> Obtained:
            return await self._fetched_or_noted(order)

        return await self._parts.flight.run(f"again {order.flight_key}", peek=nothing, work=work)

    async def take(self, source: Source, copy: Copy) -> Obtained:
        """Keep a copy that the operator has chosen, unless an intact original of its own origin is kept.

        Raises:
            MirrorError: the copy cannot be fetched, or is not an undamaged picture.
        """
        order = await self._lookup.look(source)
        return await self._way.fetch_copy(replace(order, patient=True), copy)

    async def obtain_version(self, source: Source, sha256: str) -> Obtained:
        """Return the version of `source` with a digest; no origin is asked.

        Raises:
            SourceNotAllowed: it was purged with a block.
            NotFound: no such version of it is kept.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        is_blocked, entry = await self._parts.store.look_up(source.url)
        if is_blocked:
            raise SourceRemoved
        if entry is None or sha256 not in entry.digests:
            raise NotFound("This version of the picture is not kept.")
        version = entry if entry.body_sha256 == sha256 else entry.promoting(sha256)
        fresh_until = self._parts.now() + VERSION_SECONDS
        obtained = Obtained(version, CacheState(detail="original"), stamp, fresh_until=fresh_until)
        if version is entry:
            return await self.whole(source, obtained)
        try:
            condition = await self._parts.store.condition(sha256)
        except OSError as error:
            raise NotFound("This version of the picture is not kept.", detail=str(error)) from error
        return obtained if condition.is_sound else self._freshness.corrupt(obtained, condition.size)

    async def whole(self, source: Source, obtained: Obtained, wishes: tuple[Wish, ...] = ()) -> Obtained:
        """Return `obtained` if its body is undamaged, else what the origin gives now.

        While the origin gives nothing, the damaged bytes are the answer, and requests ask it again at the pace of its
        failures.

        Raises:
            MirrorError: there are no bytes, and the origin gives none.
        """
        if obtained.body is not None or obtained.ending is not None or obtained.is_corrupt:
            return obtained
        try:
            condition = await self._parts.store.condition(obtained.entry.body_sha256)
        except OSError as error:
            log.warning("the body of %s cannot be read: %s", source, error)
            return await self.obtain_again(source, wishes)
        if condition.is_sound:
            return obtained
        again = asyncio.ensure_future(self.obtain_again(source, wishes))
        try:
            return await asyncio.wait_for(asyncio.shield(again), REFRESH_GRACE_SECONDS)
        except TimeoutError:
            again.add_done_callback(self._log_late_refresh(source))
        except SourceRemoved:
            raise
        except (MirrorError, CacheError, OSError) as error:
            _log_failure(source, error)
        return self._freshness.corrupt(obtained, condition.size)

    async def relooked(self, obtained: Obtained, inspection: Inspection) -> Obtained:
        """Return a kept original with the results of another examination, and keep these."""
        entry = judging.entry_relooked(obtained.entry, inspection)
        if entry is None:
            return obtained
        await self._keeping.keep_entry(entry, stamp=obtained.stamp)
        self._lookup.forget(entry.source)
        return replace(obtained, entry=entry)

    async def peek(self, source: Source) -> Entry | None:
        """Return the entry of `source` without asking its origin. An original that was answered before counts as
        kept."""
        stamp = self._parts.store.generations.stamp(source.url)
        await self._parts.flight.landed(SourceOrder(source, stamp).flight_key)
        return await self._parts.store.get(source.url)

    async def failure_of(self, source: Source) -> MirrorError | None:
        """Return the remembered failure of a source while it keeps the source from being fetched."""
        stamp = self._parts.store.generations.stamp(source.url)
        return await self._negatives.remembered(source, stamp=stamp)

    @property
    def fetches_fail(self) -> bool:
        """Whether some fetches of the last minutes failed and none succeeded."""
        return self._downloads.fail

    @property
    def open_circuits(self) -> int:
        """The number of origins that get no requests from this process because they do not answer."""
        return self._parts.fetcher.open_circuits

    async def _refreshed(self, order: SourceOrder, entry: Entry) -> Obtained:
        # A failure that was read together with the entry is as current as the entry.
        failed = await self._failure(order) if self._freshness.may_fall_back(entry) else None
        if failed:
            self._parts.metrics.not_asked.inc()
            return self._freshness.fallback(entry, failed, stamp=order.stamp)
        refresh = asyncio.ensure_future(self._fetch_once(order))
        # A warming run wants the current picture of the origin.
        if not order.patient and self._freshness.may_refresh_behind(entry):
            refresh.add_done_callback(self._log_late_refresh(order.source))
            return self._freshness.stale_hit(entry, stamp=order.stamp)
        # With `min_fresh = 0` the operator follows the origin exactly, so every visitor waits.
        grace = REFRESH_GRACE_SECONDS if self._parts.config.min_fresh else None
        try:
            return await asyncio.wait_for(asyncio.shield(refresh), grace)
        except TimeoutError:
            refresh.add_done_callback(self._log_late_refresh(order.source))
            return self._freshness.fallback(entry, None, stamp=order.stamp)
        except SourceRemoved:
            raise
        except (MirrorError, CacheError, OSError) as error:
            _log_failure(order.source, error)
            if not self._freshness.may_fall_back(entry):
                raise
            return self._freshness.fallback(entry, error, stamp=order.stamp)

    def _log_late_refresh(self, source: Source) -> Callable[[asyncio.Future[Obtained]], None]:
        def log_it(done: asyncio.Future[Obtained]) -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, Exception):
                _log_failure(source, error)

        return log_it

    # Failures

    async def _failure(self, order: SourceOrder) -> MirrorError | None:
        if order.looked_at is None:
            return await self._negatives.remembered(order.source, stamp=order.stamp)
        return self._negatives.believed(order.failure)

    async def _require_no_failure(self, order: SourceOrder) -> None:
        """Raise the remembered failure of a source, if it still applies."""
        known = await self._negatives.remembered(order.source, stamp=order.stamp)
        if known:
            self._parts.metrics.not_asked.inc()
            raise known

    def _require_none_of(
        self, order: SourceOrder, failure: RememberedFailure | None, *, begun: float
    ) -> None:
        """Raise the remembered failure of a source, if it keeps this order from asking the origin."""
        if order.entry is None and not order.patient and (known := self._negatives.believed(failure)):
            self._parts.metrics.not_asked.inc()
            raise known
        # Another process may have recorded a failure while we waited for our turn.
        if known := self._negatives.since(failure, begun):
            raise known

    async def _fetched_or_noted(self, order: SourceOrder) -> Obtained:
        try:
            obtained = await self._way.fetch(order)
        except MirrorError as error:
            if order.refused and await self._keeping.keep_refused(order.refused):
                self._parts.memory.remove((NOT_KEPT, order.source.url))
                await self._negatives.note(order.source, error, stamp=order.stamp, kept=True)
                return self._freshness.fallback(order.refused.entry, error, stamp=order.stamp)
            kept = order.entry is not None
            if not kept and not await self._is_kept_as_written(order):
                recovered = await self._recovered(order, error)
                if recovered:
                    return recovered
            await self._negatives.note(order.source, error, stamp=order.stamp, kept=kept)
            raise
        self._lookup.note_refusal(order.source, obtained)
        self._negatives.note_success(order.source)
        if order.entry is not None or order.lost is not None:
            await self._negatives.forget(order.source, stamp=order.stamp)
        return obtained

    async def _recovered(self, order: SourceOrder, error: MirrorError) -> Obtained | None:
        async def fetch(copy: Copy, downloaded: Callable[[], None]) -> Obtained:
            return await self._way.fetch_copy(order, copy, downloaded=downloaded)

        return await self._recovery.recover(order, error, fetch)

    async def _is_kept_as_written(self, order: SourceOrder) -> bool:
        """Return whether an original is kept under a wrapper's own address. It then answers, and nothing replaces
        it."""
        for source in order.written:
            if await self._parts.store.get(source.url) is not None:
                return True
        return False

    # Fetching

    async def _fetch_once(
        self, order: SourceOrder, accept: Callable[[Obtained], bool] | None = None
    ) -> Obtained:
        source, entry, key = order.source, order.entry, order.flight_key
        wanted = self._wanted.setdefault(key, {})
        wanted[order.wishes] = None
        order.wanted = wanted

        # A failure that another process recorded since the store was read counts as recorded while we waited.
        begun = self._parts.now() if order.looked_at is None else order.looked_at
        failure = order.failure

        async def peek() -> Obtained | None:
            nonlocal failure
            stamp = self._parts.store.generations.stamp(source.url)
            failure_key = self._negatives.key(source, stamp=order.stamp)
            found, failure = await self._parts.store.get_and_failure(source.url, failure_key)
            # Another process has refreshed it since, whatever the clocks say.
            if found is not None and (entry is None or found.validated_at != entry.validated_at):
                return self._freshness.kept(found, CacheState(), stamp=stamp)
            return None

        async def work() -> Obtained:
            self._require_none_of(order, failure, begun=begun)
            return await self._fetched_or_noted(order)

        self._parts.traces.join(self._parts.flight.leader(key))
        try:
            return await self._parts.flight.run(key, peek=peek, work=work, accept=accept)
        finally:
            self._wanted.pop(key, None)


def _log_failure(source: Source, error: Exception) -> None:
    if isinstance(error, MirrorError):
        log.info("refresh of %s failed: %s %s", source, error.code, error.detail)
    else:
        # The fault is ours and not the origin's, so the next request may succeed.
        log.warning("refresh of %s failed: %r", source, error)
