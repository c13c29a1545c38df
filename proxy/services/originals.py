"""Originals: the one way from a source to bytes that can be served. Runs on the event loop.

Knows what is kept, whether it is fresh, and what answers when a refresh fails; how an original is fetched, checked
and kept is for `Intake`. Nothing of HTTP requests or of variants here.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from cache.across.failures import Failure
from cache.base.entry import Entry
from cache.base.errors import CacheError
from cache.http.freshness import may_refresh_behind, stale_seconds
from cache.variants.memory import MemoryTier
from proxy.config import FetchConfig
from proxy.errors import (
    DecodeFailed,
    MirrorError,
    NotFound,
    SourceError,
    SourceRemoved,
)
from proxy.images.pool.workers import JUDGE, Inspection, Wish
from proxy.services.intake import Errand, Intake, Parts
from proxy.services.negatives import Negatives
from proxy.services.outcome import CORRUPT, NOT_KEPT, NOT_KEPT_HIT, SHORT_SECONDS, CacheState, Obtained
from proxy.services.recovery import Recovery
from proxy.source import Source

log = logging.getLogger(__name__)

REFRESH_GRACE_SECONDS = 1.0
"""How long a visitor waits for the refresh of a stale original before the kept one is answered."""

VERSION_SECONDS = 86400.0
"""How long browsers may keep a version by its digest: it never changes, but it may be purged."""

MAX_KNOWN = 4096
"""Entries in memory, 3 to 5 KB each, 12 KB where an origin talks too much, so that a hit in the variant store need not
read one from the disk."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was kept of a source when its stamp was `stamp`: `known`, fresh or not."""

    stamp: int
    known: Obtained | None


class Originals:
    """Obtain an original.

    1. A source blocked by a purge is refused.
    2. A fresh entry is used; the origin is not asked.
    3. A stale entry is refreshed with its validators. Whatever fails (network, status, type, size, check), the
       kept original is answered and the failure remembered (`Negatives`), so that a dead origin is not asked by
       every visitor. A refresh that takes long goes on behind the answer; one that the origin allows to
       (stale-while-revalidate) from the beginning.
    4. An absent source is fetched, checked and kept (`Intake`), unless it failed again and again a while ago, or
       with an answer that the origin called fresh. One that is dead is looked for elsewhere (`Recovery`).

    5. What the disk does not take is answered from memory for a minute. Then the origin is asked again with its
       validators, and the bytes in memory are kept when it answers 304, or gives nothing.

    One fetch per source at a time, across tasks and worker processes.
    """

    def __init__(self, parts: Parts, config: FetchConfig, memory: MemoryTier) -> None:
        self._parts = parts
        self._memory = memory
        self._intake = Intake(parts, config)
        self._recovery = Recovery(parts.fetcher, parts.store.articles, parts.metrics, now=parts.now)
        self._recovery.reconfigure(config)
        self._known: OrderedDict[str, Obtained] = OrderedDict()
        self._negatives = Negatives(
            parts.store.failures, config, now=parts.now, stamp_of=parts.store.generations.stamp
        )
        self._wanted: dict[str, dict[tuple[Wish, ...], None]] = {}

    def reconfigure(self, config: FetchConfig) -> None:
        """Take new settings for the fetches that begin from now on."""
        self._intake.config = config
        self._negatives.reconfigure(config)
        self._recovery.reconfigure(config)
        self.forget_known()

    def forget_known(self) -> None:
        """Forget the entries in memory: they are read from the disk again when they are asked for."""
        self._known.clear()

    async def obtain(  # noqa: PLR0913 - what callers differ in
        self,
        source: Source,
        wishes: tuple[Wish, ...] = (),
        *,
        patient: bool = False,
        date: float | None = None,
        accept: Callable[[Obtained], bool] | None = None,
        look: Look | None = None,
        written: tuple[Source, ...] = (),
    ) -> Obtained:
        """Return the original of `source`, fetching it when it must be.

        `patient`: wait for the origin's turn as long as it takes, and ask for what was never kept whatever is
        remembered of it; for warming, where no visitor waits.
        `accept`: take an original that is still on its way to the disk (`Obtained.ending`) when this says so.
        `look`: what the caller has just found out.
        `written`: the wrappers' own addresses by which it was asked for, for when its origin is dead.

        Raises:
            MirrorError: of section 6, when the source was never kept and cannot be had now.
        """
        if look is None or look.stamp != self._parts.store.generations.stamp(source.url):
            look = await self.look(source)
        stamp, known = look.stamp, look.known
        if known is not None and known.fresh_until > self._parts.now():
            return known
        refused = self._refused(source, stamp)
        if known is None:
            errand = Errand(source, None, wishes, stamp, patient, date, refused=refused, written=written)
            try:
                return await self._fetch_once(errand, accept)
            except SourceError:
                if (salvaged := await self._parts.store.salvage(source.url)) is None:
                    raise
                kept = Obtained(salvaged, CacheState(), stamp, fresh_until=self._parts.now())
                return self._corrupt(kept, salvaged.body_size)
        return await self._refreshed(
            Errand(source, known.entry, wishes, stamp, patient, refused=refused), known.entry
        )

    async def look(self, source: Source) -> Look:
        """Return what is kept of `source`; what was answered before counts as kept, once the disk has it.

        Raises:
            SourceNotAllowed: it was purged with a block.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        await self._parts.flight.landed(Errand(source, None, (), stamp).flight_key)
        return Look(stamp, await self._looked_up(source, stamp))

    async def obtain_again(
        self,
        source: Source,
        wishes: tuple[Wish, ...] = (),
        *,
        patient: bool = False,
        date: float | None = None,
    ) -> Obtained:
        """Fetch the original of a source whose kept body has vanished from the disk, as if it were not kept.

        `patient`, `date`: as `obtain` has them.

        Raises:
            MirrorError: of section 6.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        lost = await self._parts.store.get(source.url)
        errand = Errand(source, None, wishes, stamp, patient, date, lost=lost)
        if not patient:
            await self._require_no_failure(errand)

        async def nothing() -> None:
            return None

        async def work() -> Obtained:
            return await self._fetched_or_noted(errand)

        return await self._parts.flight.run(f"again {errand.flight_key}", peek=nothing, work=work)

    async def obtain_version(self, source: Source, sha256: str) -> Obtained:
        """Return the bytes with a digest that came from `source` at some time; no origin is asked.

        Raises:
            SourceNotAllowed: it was purged with a block.
            NotFound: these bytes are not kept of it.
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
        return obtained if condition.is_sound else self._corrupt(obtained, condition.size)

    async def whole(self, source: Source, obtained: Obtained, wishes: tuple[Wish, ...] = ()) -> Obtained:
        """Return `obtained` when its body is as it was kept, else what the origin gives now.

        While the origin gives nothing, the damaged bytes are answered, and each request asks it again at the pace
        of its failures.

        Raises:
            MirrorError: there are no bytes to answer, and the origin gives none.
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
        return self._corrupt(obtained, condition.size)

    def _corrupt(self, obtained: Obtained, size: int) -> Obtained:
        """Return damaged bytes as an answer: short, and not fresh in memory, so that each request tries to heal it."""
        state = replace(obtained.state, stored=False, stale_seconds=0, detail=CORRUPT)
        entry = replace(obtained.entry, body_size=size)
        return replace(obtained, entry=entry, state=state, short=True, fresh_until=self._parts.now())

    async def judged(self, obtained: Obtained, inspection: Inspection) -> Obtained:
        """Return a kept original with what another look at it has found, and keep that.

        Only what its entry did not know is taken over: the facts of the picture, and whether it is damaged where that
        was found by former rules.
        """
        entry = obtained.entry
        if not _is_open(entry) or not (
            inspection.verdict == "whole" or isinstance(inspection.error, DecodeFailed)
        ):
            return obtained
        damaged = isinstance(inspection.error, DecodeFailed)
        picture = inspection.facts.to_dict() if inspection.facts else entry.picture
        entry = replace(entry, damaged=damaged, judged_by=JUDGE, picture=picture)
        await self._intake.keep_judgement(entry, stamp=obtained.stamp)
        self._known.pop(entry.source, None)
        return replace(obtained, entry=entry)

    async def peek(self, source: Source) -> Entry | None:
        """Return what is kept of `source` without asking its origin; what was answered before counts as kept."""
        stamp = self._parts.store.generations.stamp(source.url)
        await self._parts.flight.landed(Errand(source, None, (), stamp).flight_key)
        return await self._parts.store.get(source.url)

    async def failure_of(self, source: Source) -> MirrorError | None:
        """Return why a source could not be had, while that is remembered and it is not asked for again."""
        stamp = self._parts.store.generations.stamp(source.url)
        return await self._negatives.remembered(source, stamp=stamp)

    async def _looked_up(self, source: Source, stamp: int) -> Obtained | None:
        """Return what is kept of a source whose stamp was read before, fresh or not.

        What was read under the same stamp is still true while it is fresh: a block, a purge or other bytes change
        the stamp, and a refresh only makes it fresh for longer.
        """
        known = self._known.get(source.url)
        if known is not None and known.stamp == stamp and known.fresh_until > self._parts.now():
            return known
        refused = self._refused(source, stamp)
        if refused is not None and refused.fresh_until > self._parts.now():
            return replace(refused, state=NOT_KEPT_HIT)
        is_blocked, entry = await self._parts.store.look_up(source.url)
        if is_blocked:
            raise SourceRemoved
        self._known.pop(source.url, None)
        if entry is None:
            return None
        known = self._known[source.url] = self._intake.kept(entry, CacheState(), stamp=stamp)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return known

    def _refused(self, source: Source, stamp: int) -> Obtained | None:
        """Return what the disk did not take of a source, however long ago, while it is in memory."""
        held = self._memory.get((NOT_KEPT, source.url))
        return held if isinstance(held, Obtained) and held.stamp == stamp else None

    def _note_refusal(self, source: Source, obtained: Obtained) -> None:
        key = (NOT_KEPT, source.url)
        if obtained.is_refused:
            held = replace(obtained, rendered={}, rendering={})
            self._memory.put(key, held, size=len(obtained.body or b""))
        else:
            self._memory.remove(key)

    @property
    def fetches_fail(self) -> bool:
        """Whether of the fetches of the last minutes some failed and none went well."""
        return self._intake.fetches_fail

    @property
    def open_circuits(self) -> int:
        """How many origins this process leaves alone because they do not answer."""
        return self._parts.fetcher.open_circuits

    # Freshness

    def _fallback(self, entry: Entry, error: Exception | None, *, stamp: int) -> Obtained:
        detail = "refreshing"
        if error:
            self._parts.metrics.fallbacks.inc()
            detail = error.code if isinstance(error, MirrorError) else "store_failed"
        state = CacheState(
            "stale", error.origin_status if isinstance(error, SourceError) else 0, detail=detail
        )
        now = self._parts.now()
        return Obtained(entry, state, stamp, fresh_until=now + SHORT_SECONDS, short=True)

    async def _refreshed(self, errand: Errand, entry: Entry) -> Obtained:
        if self._may_fall_back(entry):
            known = await self._negatives.remembered(errand.source, stamp=errand.stamp)
            if known:
                self._parts.metrics.not_asked.inc()
                return self._fallback(entry, known, stamp=errand.stamp)
        refresh = asyncio.ensure_future(self._fetch_once(errand))
        # Whoever warms wants what the origin has now.
        if not errand.patient and self._may_refresh_behind(entry):
            refresh.add_done_callback(self._log_late_refresh(errand.source))
            return self._stale_hit(entry, stamp=errand.stamp)
        # `min_fresh = 0` is the operator's wish to follow the origin to the letter: then every visitor waits.
        grace = REFRESH_GRACE_SECONDS if self._intake.config.min_fresh else None
        try:
            return await asyncio.wait_for(asyncio.shield(refresh), grace)
        except TimeoutError:
            refresh.add_done_callback(self._log_late_refresh(errand.source))
            return self._fallback(entry, None, stamp=errand.stamp)
        except SourceRemoved:
            raise
        except (MirrorError, CacheError, OSError) as error:
            _log_failure(errand.source, error)
            if not self._may_fall_back(entry):
                raise
            return self._fallback(entry, error, stamp=errand.stamp)

    def _may_refresh_behind(self, entry: Entry) -> bool:
        return may_refresh_behind(
            entry, now=self._parts.now(), min_fresh_seconds=self._intake.config.min_fresh
        )

    def _stale_hit(self, entry: Entry, *, stamp: int) -> Obtained:
        """Answer a stale entry whose origin allows that; the next request is to see what the refresh brought."""
        now = self._parts.now()
        stale = stale_seconds(entry, now=now, min_fresh_seconds=self._intake.config.min_fresh)
        state = CacheState(detail="refreshing", stale_seconds=math.ceil(stale) or 1)
        return Obtained(entry, state, stamp, fresh_until=now, short=True)

    def _may_fall_back(self, entry: Entry) -> bool:
        stale = stale_seconds(entry, now=self._parts.now(), min_fresh_seconds=self._intake.config.min_fresh)
        return stale <= self._intake.config.stale_if_error

    def _log_late_refresh(self, source: Source) -> Callable[[asyncio.Future[Obtained]], None]:
        def log_it(done: asyncio.Future[Obtained]) -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, Exception):
                _log_failure(source, error)

        return log_it

    # Failures

    async def _require_no_failure(self, errand: Errand) -> None:
        """Raise the failure of a source that is still believed."""
        known = await self._negatives.remembered(errand.source, stamp=errand.stamp)
        if known:
            self._parts.metrics.not_asked.inc()
            raise known

    def _require_none_of(self, errand: Errand, failure: Failure | None, *, begun: float) -> None:
        """Raise what is remembered of a source, as far as it keeps this errand from being run."""
        if errand.entry is None and not errand.patient and (known := self._negatives.believed(failure)):
            self._parts.metrics.not_asked.inc()
            raise known
        # While we waited for our turn another process may have found out.
        if known := self._negatives.since(failure, begun):
            raise known

    async def _fetched_or_noted(self, errand: Errand) -> Obtained:
        try:
            obtained = await self._intake.fetch(errand)
        except MirrorError as error:
            if errand.refused and await self._intake.keep_refused(errand.refused):
                self._memory.remove((NOT_KEPT, errand.source.url))
                await self._negatives.note(errand.source, error, stamp=errand.stamp, kept=True)
                return self._fallback(errand.refused.entry, error, stamp=errand.stamp)
            kept = errand.entry is not None
            if not kept and not await self._is_kept_as_written(errand):
                recovered = await self._recovery.recover(errand, error, self._intake)
                if recovered:
                    return recovered
            await self._negatives.note(errand.source, error, stamp=errand.stamp, kept=kept)
            raise
        self._note_refusal(errand.source, obtained)
        if errand.entry is not None or errand.lost is not None:
            await self._negatives.forget(errand.source, stamp=errand.stamp)
        return obtained

    async def _is_kept_as_written(self, errand: Errand) -> bool:
        """Tell whether an original is kept under a wrapper's own address: it answers, and nothing takes its place."""
        for source in errand.written:
            if await self._parts.store.get(source.url) is not None:
                return True
        return False

    # Fetching

    async def _fetch_once(self, errand: Errand, accept: Callable[[Obtained], bool] | None = None) -> Obtained:
        source, entry, key = errand.source, errand.entry, errand.flight_key
        wanted = self._wanted.setdefault(key, {})
        wanted[errand.wishes] = None
        errand = replace(errand, wanted=wanted)

        begun = self._parts.now()

        async def peek() -> Obtained | None:
            stamp = self._parts.store.generations.stamp(source.url)
            failure_key = self._negatives.key(source, stamp=errand.stamp)
            found, failure = await self._parts.store.get_and_failure(source.url, failure_key)
            # Whoever refreshed it did so after us, whatever the clocks say.
            if found is not None and (entry is None or found.validated_at != entry.validated_at):
                return self._intake.kept(found, CacheState(), stamp=stamp)
            self._require_none_of(errand, failure, begun=begun)
            return None

        async def work() -> Obtained:
            return await self._fetched_or_noted(errand)

        try:
            return await self._parts.flight.run(key, peek=peek, work=work, accept=accept)
        finally:
            self._wanted.pop(key, None)


def _is_open(entry: Entry) -> bool:
    """Tell whether something is to be found out about these bytes."""
    return entry.picture is None or (entry.damaged and entry.judged_by != JUDGE)


def _log_failure(source: Source, error: Exception) -> None:
    if isinstance(error, MirrorError):
        log.info("refresh of %s failed: %s %s", source, error.code, error.detail)
    else:
        # Our own trouble, not the origin's: the next visitor may have more luck.
        log.warning("refresh of %s failed: %r", source, error)
