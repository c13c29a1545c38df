"""The way of one request for a picture, from top to bottom. Event loop.

    target -> order   `web.plans` reads and admits a target once; the result is a `PictureOrder`
    kept?             an answer in memory, then the kept original (`kept`) and its variant (`stored`)
    download          the original, to a separate file, hashed as it arrives (`download`)
    judge             what the bytes are, and whether they may be kept (`judging`, pure)
    render            one decode, which checks the original and makes the variant (`rendering`)
    answer            a `Picture`; announced before the original is kept if the disk is slow
    keep              the original in one commit (`keeping`), then the variant (`stored`)

Each request goes through `PictureWay`. `OriginalWay` is the part from download to keep. It runs as one task for all
requests that want the same original, so it belongs to none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace

from cache.base.entry import Entry
from cache.base.errors import CacheError, NotKept
from proxy.errors import MirrorError, PictureError
from proxy.fetch.fetcher import NotModified
from proxy.fetch.wayback import Copy
from proxy.images.formats.probe import has_proper_end
from proxy.images.jobs import Inspection, Job, Output, Rendered, Wish
from proxy.services.serving import ServingParts, judging
from proxy.services.serving.answering import Answering, digest_of, picture_of
from proxy.services.serving.athand import AtHand, HandedFile
from proxy.services.serving.download import Arrival, Downloads, root_of_body
from proxy.services.serving.keeping import Keeping
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.lookup import Freshness
from proxy.services.serving.stored import StoredVariants
from proxy.services.serving.untouched import is_answered_untouched
from proxy.services.serving.values import SHORT_SECONDS, Obtained, Picture, PictureOrder, SourceOrder
from proxy.source import Source

log = logging.getLogger(__name__)

FAILURE_WEIGHT_BYTES = 512
"""The weight of a remembered failure in the memory budget."""

_MAX_LOCATED = 16
"""The most files of variants to locate at a time, after answers from memory."""

STAMPED_TRIES = 3
"""How often to fetch a source that seems purged because all stamps were replaced. A deleted store changes them
twice."""


@dataclass(frozen=True, slots=True)
class _RememberedFailure:
    error: MirrorError
    fresh_until: float
    stamp: int


class PictureWay:
    """Obtains a variant.

    1. From memory, if the answer is fresh and its source was not purged or changed since. This takes one look at the
       generations, which all processes share.
    2. From the variant store, under a key with the body's digest, so a changed original cannot be mixed up with its old
       one.
    3. From the original, through `KeptOriginals`. If it had to be fetched, the same decode rendered the variant.
    4. From a render process. A broken or full variant store prevents storing, but never the answer.

    If a kept picture cannot be rendered, memory remembers this for one minute, so that a page with it does not occupy
    the render processes. `KeptOriginals` remembers why an original is not available.
    """

    def __init__(self, parts: ServingParts, originals: KeptOriginals, answering: Answering) -> None:
        self._parts = parts
        self._originals = originals
        self._answering = answering
        self._located: dict[Hashable, asyncio.Task[None]] = {}
        self._at_hand = AtHand(parts.bodies, stamp_of=parts.store.generations.stamp, now=parts.now)

    # kept?

    def from_memory(self, order: PictureOrder) -> Picture | None:
        """Return the answer if it is in memory; never waits.

        Raises:
            PictureError: the remembered failure of this variant.
        """
        held = self._parts.memory.get(order.memory_key)
        if not isinstance(held, Picture | _RememberedFailure):
            return None
        current = self._parts.store.generations.stamp(order.source.url) == held.stamp
        if not current or held.fresh_until <= self._parts.now():
            return None
        if isinstance(held, _RememberedFailure):
            raise held.error
        return held

    def from_store(self, order: PictureOrder) -> Picture | None:
        """Return an answer whose file in the variant store was read before; never waits."""
        picture = self._at_hand.picture(order.memory_key)
        if picture is not None:
            self._remember(order, picture)
        return picture

    def file_in_store(self, order: PictureOrder) -> HandedFile | None:
        """Return the same as a file, for a web server in front to send; never waits."""
        return self._at_hand.file(order.memory_key)

    def locate_soon(self, order: PictureOrder) -> None:
        """Find the file of a variant that memory has answered, after the answer, so that later requests can hand it
        over."""
        key = order.memory_key
        if key in self._located or len(self._located) >= _MAX_LOCATED:
            return
        task = self._located[key] = asyncio.create_task(self._locate(order))
        task.add_done_callback(lambda _: self._located.pop(key, None))

    async def _locate(self, order: PictureOrder) -> None:
        try:
            await self._from_store(order, await self._originals.look(order.source))
        except (MirrorError, CacheError) as error:
            log.debug("the file of a variant of %s was not found: %s", order.source, error)

    async def obtain(self, order: PictureOrder) -> Picture:
        """Return the variant; fetch and render as necessary.

        Raises:
            MirrorError: see docs/api.md.
        """
        found = await self._originals.look(order.source)
        # Stored variants need no exclusion, which would cost four system calls.
        picture = await self._from_store(order, found) or await self._made_once(order, found)
        self._remember(order, picture)
        return picture

    async def _from_store(self, order: PictureOrder, found: SourceOrder) -> Picture | None:
        obtained = found.known
        if obtained is None or obtained.fresh_until <= self._parts.now():
            return None
        if is_answered_untouched(obtained.entry, order.acceptable):
            # Its body is among the originals.
            return None
        outputs = await self._answering.stored(obtained.entry, (order.wish,), digest=digest_of(obtained))
        _, stored = outputs[order.wish]
        if stored is None:
            return None
        picture = picture_of(obtained, stored.body, "store")
        self._at_hand.note(order.memory_key, order.source.url, picture, stored.file)
        return picture

    # download, judge, render, answer, keep

    async def _made_once(self, order: PictureOrder, found: SourceOrder) -> Picture:
        key = f"variant {order.memory_key} {found.stamp}"

        async def peek() -> Picture | None:
            nonlocal found
            # Another process held the key meanwhile, so earlier findings may be outdated.
            found = await self._originals.look(order.source)
            return await self._from_store(order, found)

        async def work() -> Picture:
            return await self._made(order, key, found)

        self._parts.traces.join(self._parts.flight.leader(key))
        return await self._parts.flight.run(key, peek=peek, work=work, accept=lambda _: True, looked=True)

    async def _made(self, order: PictureOrder, key: str, found: SourceOrder) -> Picture:
        wish = order.wish
        obtained = await self._originals.obtain(
            order.source,
            (wish,),
            accept=lambda early: wish in early.rendered or wish in early.rendering,
            look=found,
            written=order.written,
        )
        if is_answered_untouched(obtained.entry, order.acceptable):
            return await self._answering.untouched(order.source, obtained)
        if wish in obtained.rendering:
            obtained = replace(obtained, rendered=await asyncio.shield(obtained.rendering[wish]))
        obtained, answers = await self._answering.answers(obtained, order.source, (wish,))
        answer = answers[wish]
        if isinstance(answer.output, MirrorError):
            self._remember_failure(order, obtained, answer.output)
            raise answer.output
        if answer.is_stored:
            return picture_of(obtained, answer.output.body, "store")
        picture = picture_of(obtained, answer.output.body, "rendered")
        if obtained.ending is not None:
            self._parts.flight.announce(key, picture)
            obtained = await asyncio.shield(obtained.ending)
            picture = picture_of(obtained, answer.output.body, "rendered")
            # Only now is it known whether the original was kept.
            self._remember(order, picture)
        await self._answering.store(obtained, answer.wish, answer.output)
        return picture

    def _remember(self, order: PictureOrder, picture: Picture) -> None:
        memory, size = self._parts.memory, picture.size
        # No copy is made of a picture that memory cannot hold.
        if memory.admits(size):
            memory.put(order.memory_key, picture.from_memory(), size=size)
        else:
            memory.remove(order.memory_key)

    def _remember_failure(self, order: PictureOrder, obtained: Obtained, error: MirrorError) -> None:
        # We cannot remember a failure for bytes we did not keep: the next fetch may return different ones, and storing
        # them does not bump the generation.
        kept = obtained.body is None and obtained.ending is None and not obtained.is_corrupt
        if kept and isinstance(error, PictureError):
            failure = _RememberedFailure(error, self._parts.now() + SHORT_SECONDS, obtained.stamp)
            self._parts.memory.put(order.memory_key, failure, size=FAILURE_WEIGHT_BYTES)

    # For commands that look up, and for warming

    async def output_format(self, entry: Entry, order: PictureOrder) -> str | None:
        """Return the format of the answer, or None if only rendering can tell."""
        return await self._answering.output_format(entry, order.wish)

    async def warm(
        self,
        source: Source,
        wishes: tuple[Wish, ...],
        *,
        date: float | None = None,
        written: tuple[Source, ...] = (),
    ) -> tuple[Obtained, list[Output]]:
        """Keep the original of `source` and store the variant for every wish, all from one decode.

        `date`: when its article was written, Unix seconds, if known. `written`: the wrappers' own addresses of it in
        articles.

        Return the original and one result for each wish, including those found in the store.

        Raises:
            MirrorError: the original is not available at all.
        """
        obtained = await self._originals.obtain(source, wishes, patient=True, date=date, written=written)
        return await self.warm_kept(source, obtained, wishes)

    async def warm_kept(
        self, source: Source, obtained: Obtained, wishes: tuple[Wish, ...]
    ) -> tuple[Obtained, list[Output]]:
        """Store the variants for all wishes of an obtained original, from one decode, without asking its origin.

        Returns and raises the same as `warm`.
        """
        obtained = await self._answering.warmed_untouched(obtained, source, wishes)
        obtained, answers = await self._answering.answers(obtained, source, wishes)
        for answer in answers.values():
            if isinstance(answer.output, Rendered) and not answer.is_stored:
                await self._answering.store(obtained, answer.wish, answer.output)
        return obtained, [answers[wish].output for wish in wishes]


class OriginalWay:
    """Fetches an original, judges it, renders the wishes for it, and keeps it.

    1. A 304 updates the entry (RFC 9111 §4.3.4).
    2. A good picture that is kept already needs no second examination, and its variants stay. Any other picture is
       decoded completely in a render process, together with the wishes, in one decode. The disk writes the body
       meanwhile.
    3. If the disk is slow, the results are announced, and the body too if another source keeps the same bytes.
    4. The original is committed, unless it is a placeholder.
    """

    def __init__(self, parts: ServingParts, downloads: Downloads, keeping: Keeping) -> None:
        self._parts = parts
        self._downloads = downloads
        self._keeping = keeping

    async def fetch(self, order: SourceOrder) -> Obtained:
        """Fetch the source of `order` and keep it.

        If it was not kept because all stamps were replaced meanwhile, which is not a purge, fetch it again.

        Raises:
            MirrorError: see docs/api.md.
        """
        generations = self._parts.store.generations
        try:
            epoch = generations.epoch
            obtained = await self._fetched(order)
            for _ in range(STAMPED_TRIES - 1):
                if not obtained.is_refused or generations.epoch == epoch:
                    break
                epoch = generations.epoch
                with contextlib.suppress(MirrorError):
                    obtained = await self._fetched(order)
        except MirrorError as error:
            error.forward = "stale" if order.entry else "uri-miss"
            raise
        return obtained

    async def _fetched(self, order: SourceOrder) -> Obtained:
        stamp = self._parts.store.generations.stamp(order.source.url)
        async with self._parts.store.receive() as incoming:
            arrival = await self._downloads.original(order, incoming, stamp=stamp)
            if isinstance(arrival, NotModified):
                return await self._keeping.keep_vouched(order, arrival, incoming, stamp=stamp)
            return await self._admitted(arrival, order)

    async def fetch_copy(
        self, order: SourceOrder, copy: Copy, *, downloaded: Callable[[], None] = lambda: None
    ) -> Obtained:
        """Fetch a copy of the source of `order` from another place than its origin, and keep it with its provenance.

        `downloaded` is called before the copy is checked. From then on the copy depends on no other host.

        Raises:
            MirrorError: as for `fetch`; also if the copy is damaged, or not a picture that can be decoded.
        """
        stamp = self._parts.store.generations.stamp(order.source.url)
        async with self._parts.store.receive() as incoming:
            arrival = await self._downloads.copy(order, copy, incoming, stamp=stamp)
            downloaded()
            return await self._admitted(arrival, order)

    async def _admitted(self, arrival: Arrival, order: SourceOrder) -> Obtained:
        """Judge the bytes, render the wishes, answer the waiting requests, and keep the original."""
        with self._parts.traces.step("judge"):
            media_type = await self._judged_type(arrival)
        with contextlib.ExitStack() as early:
            if not media_type.startswith("image/") or judging.is_known(arrival, media_type):
                entry = judging.entry_of(arrival, media_type, None)
                self._keeping.announce_late(arrival, order, entry, early)
                return await self._keeping.keep(arrival, entry, {})
            entry, rendered = await self._looked_at(arrival, media_type, order, early)
            return await self._keeping.keep(arrival, entry, rendered)

    # judge

    async def _judged_type(self, arrival: Arrival) -> str:
        path = arrival.incoming.path
        media_type = judging.media_type_of(
            arrival.head,
            size=arrival.answer.size,
            claimed=arrival.claimed_type,
            root=await root_of_body(arrival.head, path) if arrival.answer.size else "",
            types=self._parts.config.types,
        )
        ends_as = judging.end_to_find(media_type, framing=arrival.answer.framing)
        if ends_as and not await asyncio.to_thread(has_proper_end, str(path), ends_as):
            raise judging.cut_short()
        return media_type

    # render

    async def _looked_at(
        self, arrival: Arrival, media_type: str, order: SourceOrder, early: contextlib.ExitStack
    ) -> tuple[Entry, dict[Wish, Output]]:
        """Decode a picture, render the wishes, and return its entry. Leaving `early` cancels the announcement."""
        # The disk writes the body while the render process examines it.
        syncing = asyncio.ensure_future(_synced(arrival))
        wishes, *more = self._dealt(order)
        others = {group: asyncio.ensure_future(self._rendered(arrival, group)) for group in more}
        try:
            inspection = await self._inspect(arrival, wishes, check=True)
            if refusal := judging.refusal_of(arrival, inspection):
                raise refusal
            entry = judging.entry_of(arrival, media_type, inspection)
            objection = await self._keeping.objection(entry, arrival)
            rendered = dict(zip(wishes, inspection.outputs, strict=True))
            if not objection:
                rendering = {wish: done for group, done in others.items() for wish in group}
                self._keeping.announce_late(arrival, order, entry, early, (rendered, rendering))
        finally:
            # The body must stay at its place until all of these have ended.
            await asyncio.gather(syncing, *others.values(), return_exceptions=True)
        if objection:
            await self._keeping.refuse(entry, arrival, objection)
        for done in others.values():
            rendered |= {} if done.exception() else done.result()
        return entry, rendered

    def _dealt(self, order: SourceOrder) -> list[tuple[Wish, ...]]:
        """Return what to render, in parts that are rendered in parallel, with one decode for each part."""
        groups = [group for group in order.wanted if group]
        if len(groups) < 2:
            # One caller needs one decode. A warming run has other pictures for the other processes.
            return groups or [()]
        return self._parts.rendering.dealt(tuple(dict.fromkeys(wish for group in groups for wish in group)))

    async def _rendered(self, arrival: Arrival, wishes: tuple[Wish, ...]) -> Mapping[Wish, Output]:
        inspection = await self._inspect(arrival, wishes)
        return dict(zip(wishes, inspection.outputs, strict=True))

    async def _inspect(
        self, arrival: Arrival, wishes: tuple[Wish, ...], *, check: bool = False
    ) -> Inspection:
        job = Job(str(arrival.incoming.path), wishes, check=check, origin=arrival.source.origin)
        return await self._parts.rendering.run(job, sha256=arrival.incoming.sha256)


async def _synced(arrival: Arrival) -> None:
    # The commit will encounter the same error, count it and report it.
    with contextlib.suppress(NotKept):
        await arrival.incoming.sync()


def make_way(parts: ServingParts, stored: StoredVariants) -> tuple[KeptOriginals, PictureWay]:
    """Connect the steps."""
    freshness = Freshness(parts)
    downloads = Downloads(parts.fetcher, parts.metrics, parts.traces, now=parts.now)
    keeping = Keeping(parts, freshness)
    originals = KeptOriginals(parts, freshness, downloads, keeping, OriginalWay(parts, downloads, keeping))
    return originals, PictureWay(parts, originals, Answering(parts, stored, originals))
