"""Originals: the one way from a source to bytes that are kept. Runs on the event loop.

Knows fetching, checking and keeping; knows nothing of HTTP requests or of variants.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from cache.entry import Entry
from cache.errors import CacheError, NotKept, SourceBlocked, StoreFull, StoreUnwritable, Superseded
from cache.freshness import is_fresh, remaining_seconds, stale_seconds
from cache.originals import Incoming
from cache.originals import Originals as OriginalsStore
from cache.singleflight import SingleFlight
from proxy.config import FetchConfig
from proxy.errors import (
    DecodeFailed,
    MirrorError,
    NotAnImage,
    QueueFull,
    SourceError,
    SourceFailed,
    SourceRemoved,
    SourceTimeout,
    SourceUnreachable,
)
from proxy.fetch.fetcher import Fetched, Fetcher, NotModified, Validators
from proxy.fetch.media import admitted, decide
from proxy.images.formats import sniff
from proxy.images.probe import has_proper_end
from proxy.images.workers import Inspection, Job, Output, RenderPool, Wish
from proxy.observe.metrics import Metrics
from proxy.services.outcome import SHORT_SECONDS, CacheState, Obtained
from proxy.source import Source

log = logging.getLogger(__name__)

SNIFF_BYTES = 4096
"""Enough for every signature and for the start of an HTML or SVG document (WHATWG MIME Sniffing: 1445)."""

REFRESH_GRACE_SECONDS = 1.0
"""How long a visitor waits for the refresh of a stale original before the kept one is answered."""

LATELY_SECONDS = 300.0

MAX_ENTRIES = 4096
"""Entries in memory, 2 to 4 KB each, so that a hit in the variant store need not read one from the disk."""

KEPT_HEADERS = frozenset(
    {
        "age", "cache-control", "content-language", "content-type", "date", "etag", "expires",
        "last-modified", "pragma", "vary",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of; `app` puts it together."""

    store: OriginalsStore
    fetcher: Fetcher
    pool: RenderPool
    flight: SingleFlight
    metrics: Metrics
    now: Callable[[], float] = time.time


class _HeadKeeper:
    """A sink that passes everything on and remembers the first bytes, which decide the type."""

    def __init__(self, incoming: Incoming) -> None:
        self.head = b""
        self._incoming = incoming

    async def write(self, chunk: bytes) -> None:
        if len(self.head) < SNIFF_BYTES:
            self.head += chunk[: SNIFF_BYTES - len(self.head)]
        await self._incoming.write(chunk)


class Originals:
    """Obtain an original.

    1. A source blocked by a purge is refused.
    2. A fresh entry is used; the origin is not asked.
    3. A stale entry is refreshed with its validators. Whatever fails (network, status, type, size, check), the
       kept original is answered and the failure remembered for a minute, so that a dead origin is not asked by
       every visitor. A refresh that takes long goes on behind the answer.
    4. An absent source is fetched aside, its type decided by its bytes, fully decoded in a render process
       (together with what the request wishes to see of it: one decode), then committed.
    5. When the store takes nothing (full, broken), the bytes are answered and not kept.

    One fetch per source at a time, across tasks and worker processes.
    """

    def __init__(self, parts: Parts, config: FetchConfig) -> None:
        self._parts = parts
        self._config = config
        self._entries: OrderedDict[str, tuple[int, Entry]] = OrderedDict()
        self._failures: dict[str, tuple[float, MirrorError]] = {}
        self._last_good_fetch = self._last_bad_fetch = float("-inf")

    def reconfigure(self, config: FetchConfig) -> None:
        """Take new settings for the fetches that begin from now on."""
        self._config = config

    async def obtain(
        self, source: Source, wishes: tuple[Wish, ...] = (), *, patient: bool = False
    ) -> Obtained:
        """Return the original of `source`, fetching it when it must be.

        `patient`: wait for the origin's turn as long as it takes; for warming, where no visitor waits.

        Raises:
            MirrorError: of section 6, when the source was never kept and cannot be had now.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        entry = await self._looked_up(source, stamp)
        errand = _Errand(source, entry, wishes, stamp, patient)
        if entry is None:
            return await self._fetch_once(errand)
        if self._is_fresh(entry):
            return self._kept(entry, CacheState(), stamp=stamp)
        return await self._refreshed(errand, entry)

    async def obtain_kept(self, source: Source) -> Obtained | None:
        """Return the original of `source` if it is kept and fresh.

        Raises:
            SourceNotAllowed: it was purged with a block.
        """
        stamp = self._parts.store.generations.stamp(source.url)
        entry = await self._looked_up(source, stamp)
        if entry is None or not self._is_fresh(entry):
            return None
        return self._kept(entry, CacheState(), stamp=stamp)

    async def obtain_again(self, source: Source, wishes: tuple[Wish, ...] = ()) -> Obtained:
        """Fetch the original of a source whose kept body has vanished from the disk.

        Raises:
            MirrorError: of section 6.
        """

        stamp = self._parts.store.generations.stamp(source.url)
        errand = _Errand(source, None, wishes, stamp)

        async def nothing() -> None:
            return None

        async def work() -> Obtained:
            return await self._fetch(errand)

        return await self._parts.flight.run(f"again {errand.flight_key}", peek=nothing, work=work)

    async def peek(self, source: Source) -> Entry | None:
        """Return what is kept of `source` without asking its origin."""
        return await self._parts.store.get(source.url)

    def failure_of(self, source: Source) -> MirrorError | None:
        """Return why the last refresh of a kept source failed, while that is remembered."""
        until, error = self._failures.get(source.url, (0.0, None))
        return error if until > self._parts.now() else None

    async def _looked_up(self, source: Source, stamp: int) -> Entry | None:
        """Return the entry of a source whose stamp was read before.

        What was read under the same stamp is still true while it is fresh: a block, a purge or other bytes change
        the stamp, and a refresh only makes it fresh for longer.
        """
        known = self._entries.get(source.url)
        if known is not None and known[0] == stamp and self._is_fresh(known[1]):
            return known[1]
        is_blocked, entry = await self._parts.store.look_up(source.url)
        if is_blocked:
            raise SourceRemoved
        self._entries.pop(source.url, None)
        if entry is not None:
            self._entries[source.url] = (stamp, entry)
            if len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)
        return entry

    @property
    def fetches_fail(self) -> bool:
        """Whether of the fetches of the last minutes some failed and none went well."""
        since = self._parts.now() - LATELY_SECONDS
        return self._last_bad_fetch > since >= self._last_good_fetch

    # Freshness

    def _is_fresh(self, entry: Entry) -> bool:
        return is_fresh(entry, now=self._parts.now(), min_fresh_seconds=self._config.min_fresh)

    def _kept(self, entry: Entry, state: CacheState, *, stamp: int) -> Obtained:
        now = self._parts.now()
        remaining = remaining_seconds(entry, now=now, min_fresh_seconds=self._config.min_fresh)
        return Obtained(entry, state, stamp, fresh_until=now + remaining)

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

    async def _refreshed(self, errand: _Errand, entry: Entry) -> Obtained:
        known = self.failure_of(errand.source)
        if known and self._may_fall_back(entry):
            return self._fallback(entry, known, stamp=errand.stamp)
        refresh = asyncio.ensure_future(self._fetch_once(errand))
        # `min_fresh = 0` is the operator's wish to follow the origin to the letter: then every visitor waits.
        grace = REFRESH_GRACE_SECONDS if self._config.min_fresh else None
        try:
            return await asyncio.wait_for(asyncio.shield(refresh), grace)
        except TimeoutError:
            refresh.add_done_callback(self._note_late_refresh(errand.source))
            return self._fallback(entry, None, stamp=errand.stamp)
        except SourceRemoved:
            raise
        except (MirrorError, CacheError, OSError) as error:
            self._remember_failure(errand.source, error)
            if not self._may_fall_back(entry):
                raise
            return self._fallback(entry, error, stamp=errand.stamp)

    def _may_fall_back(self, entry: Entry) -> bool:
        stale = stale_seconds(entry, now=self._parts.now(), min_fresh_seconds=self._config.min_fresh)
        return stale <= self._config.stale_if_error

    def _note_late_refresh(self, source: Source) -> Callable[[asyncio.Future[Obtained]], None]:
        def note(done: asyncio.Future[Obtained]) -> None:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, Exception):
                self._remember_failure(source, error)

        return note

    def _remember_failure(self, source: Source, error: Exception) -> None:
        if not isinstance(error, MirrorError) or isinstance(error, QueueFull):
            # Our own trouble, not the origin's: the next visitor may have more luck.
            log.warning("refresh of %s failed: %r", source, error)
            return
        now = self._parts.now()
        if len(self._failures) > 10_000:
            self._failures = {url: item for url, item in self._failures.items() if item[0] > now}
        self._failures[source.url] = (now + SHORT_SECONDS, error)
        log.info("refresh of %s failed: %s %s", source, error.code, error.detail)

    # Fetching

    async def _fetch_once(self, errand: _Errand) -> Obtained:
        source, entry = errand.source, errand.entry

        async def peek() -> Obtained | None:
            stamp = self._parts.store.generations.stamp(source.url)
            found = await self._parts.store.get(source.url)
            newer = found is not None and (entry is None or found.validated_at > entry.validated_at)
            return self._kept(found, CacheState(), stamp=stamp) if found and newer else None

        async def work() -> Obtained:
            return await self._fetch(errand)

        return await self._parts.flight.run(errand.flight_key, peek=peek, work=work)

    async def _fetch(self, errand: _Errand) -> Obtained:
        source, entry = errand.source, errand.entry
        stamp = self._parts.store.generations.stamp(source.url)
        async with self._parts.store.receive() as incoming:
            sink = _HeadKeeper(incoming)
            try:
                answer = await self._ask(errand, sink)
                if isinstance(answer, NotModified):
                    return await self._unchanged(entry, answer, stamp=stamp)
                await incoming.finish()
            except StoreUnwritable as error:
                # Neither the store nor the temporary folder takes a byte: disk or descriptors are used up.
                raise QueueFull("There is no room to receive the picture; try again soon.") from error
            return await self._admit(
                _Arrival(source, entry, answer, incoming, sink.head, stamp), errand.wishes
            )

    async def _ask(self, errand: _Errand, sink: _HeadKeeper) -> Fetched | NotModified:
        entry = errand.entry
        validators = Validators(entry.etag, entry.last_modified, entry.final_url) if entry else None
        begun = time.perf_counter()
        outcome = "internal"
        try:
            answer = await self._parts.fetcher.fetch(
                errand.source, sink, validators=validators, patient=errand.patient
            )
            outcome = "not_modified" if isinstance(answer, NotModified) else "ok"
            self._last_good_fetch = self._parts.now()
        except MirrorError as error:
            outcome = error.code
            if isinstance(error, SourceUnreachable | SourceTimeout | SourceFailed):
                self._last_bad_fetch = self._parts.now()
            raise
        finally:
            self._parts.metrics.fetch_seconds.labels(outcome).observe(time.perf_counter() - begun)
        return answer

    async def _unchanged(self, entry: Entry | None, answer: NotModified, *, stamp: int) -> Obtained:
        # RFC 9111 §4.3.4: the 304's headers update the stored ones; the body stays.
        if entry is None:
            raise SourceUnreachable(detail="304 to a request without validators")
        new = _kept_headers(answer.headers)
        replaced = {name for name, _ in new}
        updated = replace(
            entry,
            headers=tuple(sorted([*new, *(item for item in entry.headers if item[0] not in replaced)])),
            request_time=answer.request_time,
            response_time=answer.response_time,
            validated_at=answer.response_time,
        )
        await self._commit(updated, None, stamp=stamp)
        return self._kept(updated, CacheState("stale", 304), stamp=stamp)

    # Checking and keeping

    async def _admit(self, arrival: _Arrival, wishes: tuple[Wish, ...]) -> Obtained:
        media_type = self._decided_type(arrival)
        await self._require_end(arrival, media_type)
        if not media_type.startswith("image/"):
            return await self._keep(arrival, media_type, None, {})
        checking = asyncio.ensure_future(self._check(arrival.incoming, wishes))
        try:
            # The disk writes the body out while the render process looks at it.
            await self._synced(arrival.incoming)
        finally:
            inspection = await checking
        if inspection.verdict == "not_an_image":
            raise inspection.error or NotAnImage()
        rendered = dict(zip(wishes, inspection.outputs, strict=True))
        return await self._keep(arrival, media_type, inspection, rendered)

    def _decided_type(self, arrival: _Arrival) -> str:
        if arrival.answer.size == 0:
            raise NotAnImage("The origin gave an empty body.")
        claimed = dict(arrival.answer.headers).get("content-type")
        media_type = decide(arrival.head, claimed)
        if not admitted(media_type, self._config.types):
            raise NotAnImage(detail=f"{media_type} (the origin said {claimed!r})")
        return media_type

    async def _require_end(self, arrival: _Arrival, media_type: str) -> None:
        if arrival.answer.framing != "close":
            return
        picture_format = sniff(arrival.head) if media_type.startswith("image/") else None
        path = str(arrival.incoming.path)
        if not picture_format or not await asyncio.to_thread(has_proper_end, path, picture_format):
            raise SourceUnreachable(detail="a body without a length that ends early")

    async def _check(self, incoming: Incoming, wishes: tuple[Wish, ...]) -> Inspection:
        begun = time.perf_counter()
        inspection = await self._parts.pool.run(Job(str(incoming.path), wishes, check=True))
        self._parts.metrics.observe_renders(inspection.outputs, time.perf_counter() - begun)
        return inspection

    async def _synced(self, incoming: Incoming) -> None:
        # Whatever it is will be met again, counted and answered when the original is committed.
        with contextlib.suppress(NotKept):
            await incoming.sync()

    async def _keep(
        self,
        arrival: _Arrival,
        media_type: str,
        inspection: Inspection | None,
        rendered: Mapping[Wish, Output],
    ) -> Obtained:
        entry = arrival.entry(media_type, inspection)
        stored = await self._commit(entry, arrival.incoming, stamp=arrival.stamp)
        state = CacheState(
            "stale" if arrival.previous else "uri-miss",
            arrival.answer.status,
            stored=stored,
            detail="" if stored else "not_kept",
        )
        body = None if stored else await asyncio.to_thread(arrival.incoming.path.read_bytes)
        # The stamp from before the fetch: a purge that came in between must not be outlived by a memory.
        obtained = self._kept(entry, state, stamp=arrival.stamp)
        return replace(obtained, body=body, rendered=rendered)

    async def _commit(self, entry: Entry, incoming: Incoming | None, *, stamp: int) -> bool:
        try:
            await self._parts.store.commit(entry, incoming, stamp=stamp)
        except SourceBlocked as error:
            raise SourceRemoved from error
        except Superseded:
            log.info("%s was purged or changed while it was fetched", entry.source)
            return False
        except StoreFull:
            log.warning("no room to keep %s", entry.source)
        except NotKept as error:
            log.error("cannot keep %s: %s", entry.source, error)
        else:
            self._failures.pop(entry.source, None)
            return True
        self._parts.metrics.not_kept.inc()
        return False


@dataclass(frozen=True, slots=True)
class _Errand:
    """What to ask an origin for: `entry` is what is kept already, `wishes` what to render on the way in."""

    source: Source
    entry: Entry | None
    wishes: tuple[Wish, ...]
    stamp: int
    patient: bool = False

    @property
    def flight_key(self) -> str:
        """What is shared: whoever asks after a purge does not get what was asked for before it."""
        return f"source {self.source.url} {self.stamp}"


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A complete download that has not been judged yet."""

    source: Source
    previous: Entry | None
    answer: Fetched
    incoming: Incoming
    head: bytes
    stamp: int

    def entry(self, media_type: str, inspection: Inspection | None) -> Entry:
        """Return the entry that keeps this download."""
        answer, previous = self.answer, self.previous
        same = previous is not None and previous.body_sha256 == self.incoming.sha256
        facts = inspection.facts if inspection else None
        return Entry(
            source=self.source.url,
            status=answer.status,
            headers=_kept_headers(answer.headers),
            body_sha256=self.incoming.sha256,
            body_size=answer.size,
            media_type=media_type,
            final_url=answer.final_url,
            request_time=answer.request_time,
            response_time=answer.response_time,
            fetched_at=previous.fetched_at if previous and same else answer.response_time,
            validated_at=answer.response_time,
            damaged=inspection is not None and isinstance(inspection.error, DecodeFailed),
            picture=facts.to_dict() if facts else None,
        )


_CONTROLS = frozenset(map(chr, (*range(0x20), 0x7F))) - {"\t"}


def _kept_headers(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            (name, value) for name, value in headers if name in KEPT_HEADERS and _CONTROLS.isdisjoint(value)
        )
    )
