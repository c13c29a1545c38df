"""Intake: the way of an original from its origin onto the disk. Runs on the event loop.

Knows fetching, checking and keeping; what is fresh, and what answers when this fails, is for `Originals`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from cache.across.singleflight import SingleFlight
from cache.base.entry import Entry
from cache.base.errors import NotKept, SourceBlocked, StoreFull, StoreUnwritable, Superseded
from cache.http.fields import kept_fields, merged_fields
from cache.http.freshness import kept_against_wish, remaining_seconds
from cache.originals.durable_tier import Incoming
from cache.originals.durable_tier import Originals as OriginalsStore
from proxy.config import FetchConfig
from proxy.errors import (
    DecodeFailed,
    MirrorError,
    NotAnImage,
    QueueFull,
    SourceFailed,
    SourceRemoved,
    SourceReplaced,
    SourceTimeout,
    SourceUnreachable,
)
from proxy.fetch.fetcher import Fetched, Fetcher, NotModified, Validators
from proxy.fetch.media import admitted, decide
from proxy.fetch.wayback import Copy
from proxy.images.files.probe import has_proper_end
from proxy.images.formats import FORMAT_OF_MEDIA_TYPE
from proxy.images.pool.workers import JUDGE, Inspection, Job, Output, Wish
from proxy.observe.metrics import Metrics
from proxy.services.outcome import NOT_KEPT, SHORT_SECONDS, CacheState, Obtained
from proxy.services.rendering import Rendering
from proxy.services.replacing import PLACEHOLDER, Replacing, as_set_aside
from proxy.services.roots import root_of_body
from proxy.source import Source

log = logging.getLogger(__name__)

SNIFF_BYTES = 4096
"""Enough for every signature and for the start of an HTML document (WHATWG MIME Sniffing: 1445)."""

LATELY_SECONDS = 300.0

KEEP_GRACE_SECONDS = 0.25
"""How long a visitor waits for the disk, so that the answer can say whether the original is kept."""

STAMPED_TRIES = 3
"""How often to fetch what counts as purged because all stamps were replaced: a deleted store changes them twice."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of; `app` puts it together."""

    store: OriginalsStore
    fetcher: Fetcher
    rendering: Rendering
    flight: SingleFlight
    metrics: Metrics
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Errand:
    """What to ask an origin for: `entry` is what is kept already, `wishes` what to render on the way in.

    `wanted`: the wishes of all who wait for this original, each caller's together; it grows while they come.
    date: when the article was written, unix seconds, for recovering it near that day; None when nobody says.
    lost: what is kept when its body is gone from the disk: its validators must not be sent, the bytes are needed.
    refused: what the origin gave last when the disk did not take it: its validators are sent, and a 304 keeps it.
    written: the wrappers' own addresses of it, as articles have them: asked when the origin is dead.
    """

    source: Source
    entry: Entry | None
    wishes: tuple[Wish, ...]
    stamp: int
    patient: bool = False
    date: float | None = None
    wanted: Mapping[tuple[Wish, ...], None] = field(default_factory=dict)
    lost: Entry | None = None
    refused: Obtained | None = None
    written: tuple[Source, ...] = ()

    @property
    def known(self) -> Entry | None:
        """What the origin gave last, kept or not: its validators are sent."""
        return self.refused.entry if self.refused else self.entry

    @property
    def flight_key(self) -> str:
        """What is shared: whoever asks after a purge does not get what was asked for before it."""
        return f"source {self.source.url} {self.stamp}"


class _HeadKeeper:
    """A sink that passes everything on and remembers the first bytes, which decide the type."""

    def __init__(self, incoming: Incoming) -> None:
        self.head = b""
        self._incoming = incoming

    async def write(self, chunk: bytes) -> None:
        if len(self.head) < SNIFF_BYTES:
            self.head += chunk[: SNIFF_BYTES - len(self.head)]
        await self._incoming.write(chunk)


class Intake:
    """Fetch, check, keep.

    1. The bytes go to a file aside while they come, and are hashed; the first ones decide the type.
    2. 304: the entry is brought up to date (RFC 9111 §4.3.4).
    3. A good picture that is kept already needs no second look, and its variants stay. Another one is decoded fully
       in a render process, together with what is wished to be seen of it: one decode. The disk writes the body out
       meanwhile.
    4. Bytes that look like a placeholder for the picture that is kept are set aside; those that are known as one
       are not taken from where nothing is kept either (`Replacing`).
    5. When the disk takes long, what was rendered is announced, and the body if another source keeps the same
       bytes: a visitor need not wait for the disk.
    6. It is committed. When the store takes nothing (full, broken), the bytes are answered for a minute.
    """

    def __init__(self, parts: Parts, config: FetchConfig) -> None:
        self.config = config
        self._parts = parts
        self._replacing = Replacing(parts.store, now=parts.now)
        self._last_good_fetch = self._last_bad_fetch = float("-inf")

    @property
    def fetches_fail(self) -> bool:
        """Whether of the fetches of the last minutes some failed and none went well."""
        since = self._parts.now() - LATELY_SECONDS
        return self._last_bad_fetch > since >= self._last_good_fetch

    def kept(self, entry: Entry, state: CacheState, *, stamp: int) -> Obtained:
        """Return a kept original as an answer, fresh for as long as it is."""
        now = self._parts.now()
        remaining = remaining_seconds(entry, now=now, min_fresh_seconds=self.config.min_fresh)
        return Obtained(entry, state, stamp, fresh_until=now + remaining)

    async def fetch(self, errand: Errand) -> Obtained:
        """Fetch what `errand` names, and keep it.

        Raises:
            MirrorError: of section 6.
        """
        try:
            return await self._fetched_under_stamps(errand)
        except MirrorError as error:
            error.forward = "stale" if errand.entry else "uri-miss"
            raise

    async def _fetched_under_stamps(self, errand: Errand) -> Obtained:
        """Fetch again what was not kept because all stamps were replaced meanwhile, which is no purge."""
        generations = self._parts.store.generations
        epoch = generations.epoch
        obtained = await self._fetched(errand)
        for _ in range(STAMPED_TRIES - 1):
            if not obtained.is_refused or generations.epoch == epoch:
                break
            epoch = generations.epoch
            with contextlib.suppress(MirrorError):
                obtained = await self._fetched(errand)
        return obtained

    async def _fetched(self, errand: Errand) -> Obtained:
        source, entry = errand.source, errand.entry
        stamp = self._parts.store.generations.stamp(source.url)
        async with self._parts.store.receive() as incoming:
            sink = _HeadKeeper(incoming)
            try:
                answer = await self._ask(errand, sink)
                if isinstance(answer, NotModified):
                    return await self._unchanged(errand, answer, incoming, stamp=stamp)
                await incoming.finish()
            except StoreUnwritable as error:
                # Neither the store nor the temporary folder takes a byte: disk or descriptors are used up.
                raise QueueFull("There is no room to receive the picture; try again soon.") from error
            arrival = _Arrival(source, entry, answer, incoming, sink.head, stamp, errand.lost)
            return await self._admit(arrival, errand)

    async def fetch_copy(
        self, errand: Errand, copy: Copy, *, downloaded: Callable[[], None] = lambda: None
    ) -> Obtained:
        """Fetch a copy of what `errand` names from where its origin is not, and keep it with its provenance.

        `downloaded` is called before the copy is checked: from then on it depends on nobody else.

        Raises:
            MirrorError: of section 6; also when the copy is damaged, or no picture to look at.
        """
        stamp = self._parts.store.generations.stamp(errand.source.url)
        async with self._parts.store.receive() as incoming:
            sink = _HeadKeeper(incoming)
            try:
                answer = await self._parts.fetcher.fetch(
                    copy.source, sink, patient=errand.patient, check_hop=copy.check_hop
                )
                if isinstance(answer, NotModified):
                    raise SourceUnreachable(detail="304 to a request without validators")
                await incoming.finish()
            except StoreUnwritable as error:
                raise QueueFull("There is no room to receive the picture; try again soon.") from error
            downloaded()
            provenance = copy.provenance(answer.final_url)
            arrival = _Arrival(
                errand.source, None, _as_original(answer), incoming, sink.head, stamp, errand.lost, provenance
            )
            return await self._admit(arrival, errand)

    async def _ask(self, errand: Errand, sink: _HeadKeeper) -> Fetched | NotModified:
        known = errand.known
        validators = Validators(known.etag, known.last_modified, known.final_url) if known else None
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

    async def _unchanged(
        self, errand: Errand, answer: NotModified, incoming: Incoming, *, stamp: int
    ) -> Obtained:
        # RFC 9111 §4.3.4: the 304's headers update the stored ones; the body stays.
        known = errand.known
        if known is None:
            raise SourceUnreachable(detail="304 to a request without validators")
        updated = replace(
            known,
            headers=merged_fields(known.headers, answer.headers),
            request_time=answer.request_time,
            response_time=answer.response_time,
            validated_at=answer.response_time,
        )
        body = errand.refused.body if errand.refused else None
        stored = await self._commit_known(updated, body, incoming, stamp=stamp)
        state = CacheState(
            "stale", 304, stored=stored and body is not None, detail="" if stored else NOT_KEPT
        )
        obtained = self.kept(updated, state, stamp=stamp)
        return obtained if stored else self._short(obtained, body)

    async def keep_refused(self, refused: Obtained) -> bool:
        """Try once more to keep an original that the disk did not take; return whether it is kept."""
        stamp = self._parts.store.generations.stamp(refused.entry.source)
        async with self._parts.store.receive() as incoming:
            return await self._commit_known(refused.entry, refused.body, incoming, stamp=stamp)

    async def _commit_known(
        self, entry: Entry, body: bytes | None, incoming: Incoming, *, stamp: int
    ) -> bool:
        """Keep an entry whose body is kept already, or is at hand in memory."""
        if body is None:
            return await self._commit(entry, None, stamp=stamp)
        await incoming.write(body)
        await incoming.finish()
        return await self._commit(entry, incoming, stamp=stamp)

    def _short(self, obtained: Obtained, body: bytes | None) -> Obtained:
        """Return what the disk did not take, or not yet, as an answer for a minute."""
        until = min(obtained.fresh_until, self._parts.now() + SHORT_SECONDS)
        return replace(obtained, body=body, short=True, fresh_until=until)

    async def keep_judgement(self, entry: Entry, *, stamp: int) -> None:
        """Write an entry whose bytes were looked at again."""
        await self._commit(entry, None, stamp=stamp)

    # Checking and keeping

    async def _admit(self, arrival: _Arrival, errand: Errand) -> Obtained:
        media_type = await self._decided_type(arrival)
        await self._require_end(arrival, media_type)
        with contextlib.ExitStack() as early:
            if not media_type.startswith("image/") or arrival.is_known(media_type):
                entry = arrival.entry(media_type, None)
                await self._announce_late(arrival, errand, self._early(arrival, entry), early)
                return await self._keep(arrival, entry, {})
            entry, rendered = await self._looked_at(arrival, media_type, errand, early)
            return await self._keep(arrival, entry, rendered)

    async def _looked_at(
        self, arrival: _Arrival, media_type: str, errand: Errand, early: contextlib.ExitStack
    ) -> tuple[Entry, dict[Wish, Output]]:
        """Decode a picture and render what is wished; return its entry. Leaving `early` keeps it unannounced."""
        # The disk writes the body out while the render process looks at it.
        syncing = asyncio.ensure_future(self._synced(arrival.incoming))
        wishes, *more = self._parts_of(errand)
        others = {group: asyncio.ensure_future(self._render(arrival, group)) for group in more}
        try:
            inspection = await self._inspect(arrival, wishes, check=True)
            if inspection.verdict == "not_an_image":
                raise inspection.error or NotAnImage()
            if arrival.recovered is not None:
                _require_good_copy(inspection)
            entry = arrival.entry(media_type, inspection)
            objection = await self._objection(entry, arrival)
            rendered = dict(zip(wishes, inspection.outputs, strict=True))
            rendering = {wish: done for group, done in others.items() for wish in group}
            if not objection:
                announced = replace(self._early(arrival, entry), rendered=rendered, rendering=rendering)
                await self._announce_late(arrival, errand, announced, early)
        finally:
            # Until all have ended the body must stay where it is.
            await asyncio.gather(syncing, *others.values(), return_exceptions=True)
        if objection:
            await self._refuse(entry, arrival, objection)
        for done in others.values():
            rendered |= {} if done.exception() else done.result()
        return entry, rendered

    def _parts_of(self, errand: Errand) -> list[tuple[Wish, ...]]:
        """Return what to render, in parts that are rendered side by side: one decode for each."""
        groups = [group for group in errand.wanted if group]
        if len(groups) < 2:
            # One caller, one decode: warming has other pictures for the other processes.
            return groups or [()]
        return self._parts.rendering.dealt(tuple(dict.fromkeys(wish for group in groups for wish in group)))

    def _early(self, arrival: _Arrival, entry: Entry) -> Obtained:
        """Return an original that is still on its way to the disk as an answer for a minute."""
        kept = self.kept(entry, arrival.announced, stamp=arrival.stamp)
        return replace(self._short(kept, None), ending=asyncio.current_task())

    async def _announce_late(
        self, arrival: _Arrival, errand: Errand, announced: Obtained, early: contextlib.ExitStack
    ) -> None:
        """Announce an original when the disk takes longer than a visitor waits; leaving `early` calls it off."""
        with contextlib.suppress(OSError):
            condition = await self._parts.store.condition(arrival.incoming.sha256)
            announced = replace(announced, is_readable=condition.is_sound)
        later = asyncio.get_running_loop().call_later(
            KEEP_GRACE_SECONDS, self._announce, arrival, errand, announced
        )
        early.callback(later.cancel)

    def _announce(self, arrival: _Arrival, errand: Errand, early: Obtained) -> None:
        """Answer those who wait while the disk takes long; whether it keeps the original is not known yet."""
        # What is to replace a kept original is judged first.
        if arrival.previous is None and arrival.incoming.refusal is None:
            self._parts.flight.announce(errand.flight_key, early)

    async def _decided_type(self, arrival: _Arrival) -> str:
        if arrival.answer.size == 0:
            raise NotAnImage("The origin gave an empty body.")
        claimed = dict(arrival.answer.headers).get("content-type")
        root = await root_of_body(arrival.head, arrival.incoming.path)
        media_type = decide(arrival.head, claimed, root=root)
        if not admitted(media_type, self.config.types):
            raise NotAnImage(detail=f"{media_type} (the origin said {claimed!r})")
        return media_type

    async def _require_end(self, arrival: _Arrival, media_type: str) -> None:
        if arrival.answer.framing != "close":
            return
        picture_format = FORMAT_OF_MEDIA_TYPE.get(media_type)
        path = str(arrival.incoming.path)
        if not picture_format or not await asyncio.to_thread(has_proper_end, path, picture_format):
            raise SourceUnreachable(detail="a body without a length that ends early")

    async def _render(self, arrival: _Arrival, wishes: tuple[Wish, ...]) -> Mapping[Wish, Output]:
        inspection = await self._inspect(arrival, wishes)
        return dict(zip(wishes, inspection.outputs, strict=True))

    async def _inspect(
        self, arrival: _Arrival, wishes: tuple[Wish, ...], *, check: bool = False
    ) -> Inspection:
        job = Job(str(arrival.incoming.path), wishes, check=check, origin=arrival.source.origin)
        return await self._parts.rendering.run(job, sha256=arrival.incoming.sha256)

    async def _synced(self, incoming: Incoming) -> None:
        # Whatever it is will be met again, counted and answered when the original is committed.
        with contextlib.suppress(NotKept):
            await incoming.sync()

    async def _keep(self, arrival: _Arrival, entry: Entry, rendered: Mapping[Wish, Output]) -> Obtained:
        stored = await self._commit(entry, arrival.incoming, stamp=arrival.stamp)
        # The stamp from before the fetch: a purge that came in between must not be outlived by a memory.
        obtained = replace(
            self.kept(entry, arrival.state(stored=stored), stamp=arrival.stamp), rendered=rendered
        )
        if stored:
            return obtained
        return self._short(obtained, await asyncio.to_thread(self._bytes_of, arrival.incoming))

    def _bytes_of(self, incoming: Incoming) -> bytes:
        """Return the bytes of a body that is not kept, or not yet: on a disk that hangs it may be on its way."""
        try:
            return incoming.path.read_bytes()
        except FileNotFoundError:
            return self._parts.store.body_path(incoming.sha256).read_bytes()

    async def _objection(self, entry: Entry, arrival: _Arrival) -> str:
        """Return why bytes must not be the present ones of their source; empty when they may."""
        if arrival.previous is not None:
            return await self._replacing.objection(
                entry, arrival.previous, stable_after_seconds=self.config.stable_after
            )
        reason = ""
        if arrival.lost is not None:
            # No picture is left to be displaced; but what was turned down before is turned down again.
            reason = await self._replacing.objection(entry, arrival.lost, stable_after_seconds=math.inf)
        if not reason and await self._replacing.is_known_placeholder(entry.body_sha256, entry.source):
            reason = PLACEHOLDER
        return reason

    async def _refuse(self, entry: Entry, arrival: _Arrival, reason: str) -> NoReturn:
        """Fail as a refusal of the origin does; where something is kept of the source, set the bytes aside."""
        if arrival.recovered is None and (arrival.previous or arrival.lost):
            await self._set_aside(entry, arrival, reason)
        error = SourceReplaced(detail=f"not taken: {reason}")
        error.origin_status = arrival.answer.status
        raise error

    async def _set_aside(self, entry: Entry, arrival: _Arrival, reason: str) -> None:
        self._parts.metrics.set_aside.labels(reason).inc()
        log.warning("%s gives other bytes that are set aside: %s", entry.source, reason)
        try:
            former = as_set_aside(entry, reason)
            await self._parts.store.history.set_aside(
                entry.source, former, arrival.incoming, stamp=arrival.stamp
            )
            if reason == PLACEHOLDER:
                await self._replacing.put_back(entry.body_sha256, arrival.source.origin)
        except NotKept as refused:
            log.info("what %s gave could not be set aside: %s", entry.source, refused)

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
            return True
        self._parts.metrics.not_kept.inc()
        return False


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A complete download that has not been judged yet."""

    source: Source
    previous: Entry | None
    answer: Fetched
    incoming: Incoming
    head: bytes
    stamp: int
    lost: Entry | None = None
    recovered: Mapping[str, Any] | None = None

    @property
    def is_unchanged(self) -> bool:
        """Whether these are the bytes that are kept already."""
        return self.previous is not None and self.previous.body_sha256 == self.incoming.sha256

    def is_known(self, media_type: str) -> bool:
        """Whether these bytes were looked at before, as what they are, and found to be a good picture."""
        known = self.previous
        return (
            known is not None
            and self.is_unchanged
            and known.picture is not None
            and known.media_type == media_type
            and not known.damaged
        )

    @property
    def announced(self) -> CacheState:
        """How this download came about, while nobody knows yet whether the disk takes it."""
        return CacheState("stale" if self.previous else "uri-miss", self.answer.status)

    def state(self, *, stored: bool) -> CacheState:
        """Return how this download came about."""
        wish = kept_against_wish(self.answer.headers)
        said = "recovered" if self.recovered else f"kept_despite_{wish}" if wish else ""
        return replace(self.announced, stored=stored, detail=said if stored else NOT_KEPT)

    def entry(self, media_type: str, inspection: Inspection | None) -> Entry:
        """Return the entry that keeps this download."""
        answer, before = self.answer, self.previous or self.lost
        if before is not None and before.body_sha256 != self.incoming.sha256:
            before = None
        facts = inspection.facts if inspection else None
        known = before.picture if before and not inspection else None
        return Entry(
            source=self.source.url,
            status=answer.status,
            headers=kept_fields(answer.headers),
            body_sha256=self.incoming.sha256,
            body_size=answer.size,
            media_type=media_type,
            final_url=answer.final_url,
            request_time=answer.request_time,
            response_time=answer.response_time,
            fetched_at=before.fetched_at if before else answer.response_time,
            validated_at=answer.response_time,
            damaged=inspection is not None and isinstance(inspection.error, DecodeFailed),
            judged_by=JUDGE,
            picture=facts.to_dict() if facts else known,
            recovered=self.recovered,
        )


def _require_good_copy(inspection: Inspection) -> None:
    # An origin's damaged picture is the one there is; of copies there may be better ones.
    if isinstance(inspection.error, DecodeFailed):
        raise inspection.error
    facts = inspection.facts
    if facts is not None and max(facts.width, facts.height) <= 2:
        raise NotAnImage(detail="a pixel in the place of a picture")


def _as_original(answer: Fetched) -> Fetched:
    """Return an archive's answer with the headers that were the origin's; its own speak of the archive.

    None of them says for how long the picture is fresh: `fetch.min_fresh` does, then the origin is tried again.
    """
    known = dict(answer.headers)
    kept = {
        "cache-control": "max-age=0",
        "content-type": known.get("x-archive-orig-content-type") or known.get("content-type"),
        "content-language": known.get("x-archive-orig-content-language"),
        "last-modified": known.get("x-archive-orig-last-modified"),
    }
    return replace(answer, headers=tuple((name, value) for name, value in kept.items() if value))
