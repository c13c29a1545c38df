"""Variants: from source and transform to bytes that a browser shows. Runs on the event loop.

Knows memory, the variant store and the render pool; knows nothing of HTTP requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cache.across.singleflight import SingleFlight
from cache.base.entry import Entry
from cache.originals.durable_tier import Originals as OriginalsStore
from cache.variants.bounded_tier import Variants as VariantsStore
from cache.variants.memory import MemoryTier
from proxy.errors import DecodeFailed, MirrorError, NotAnImage, OutOfMemory, PictureError, RenderTimeout
from proxy.images.formats import MEDIA_TYPES, UNTOUCHED, PictureFacts, sniff
from proxy.images.pool.workers import JUDGE, Inspection, Job, Output, Rendered, Wish
from proxy.images.transforms.transform import Resolved
from proxy.services.athand import AtHand, HandedFile
from proxy.services.originals import Look, Originals
from proxy.services.outcome import SHORT_SECONDS, Obtained, Picture, language, last_modified
from proxy.services.rendering import Rendering
from proxy.services.stored import StoredAnswer, StoredVariants
from proxy.services.untouched import Untouched, is_answered_untouched
from proxy.source import Source

log = logging.getLogger(__name__)

_MAX_TIMEOUTS = 2
"""Formats that may use up their time in one request: nobody waits for a third."""
FAILURE_WEIGHT_BYTES = 512
"""What a remembered failure counts for in the memory budget."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service is made of; `app` puts it together."""

    originals: Originals
    kept: OriginalsStore
    store: StoredVariants
    bodies: VariantsStore
    memory: MemoryTier
    rendering: Rendering
    flight: SingleFlight
    now: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Asked:
    """One variant as asked for: `acceptable` are the output formats in order of preference.

    written: the wrappers' own addresses by which it was asked for.
    """

    source: Source
    resolved: Resolved
    acceptable: tuple[str, ...]
    written: tuple[Source, ...] = ()

    @property
    def wish(self) -> Wish:
        """The same, as render processes take it."""
        return Wish(self.resolved, self.acceptable)

    @property
    def memory_key(self) -> tuple[str, str, tuple[str, ...]]:
        """The name of the answer before anything about the original is known."""
        return self.source.url, self.resolved.text, self.acceptable


@dataclass(frozen=True, slots=True)
class _Answer:
    """What answers a wish. wish: the one asked for, or what is left of it when some formats are too much for now."""

    wish: Wish
    output: Output
    is_stored: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    error: MirrorError
    fresh_until: float
    stamp: int


class Variants:
    """Obtain a variant.

    1. Memory: an answer that is fresh and whose source was not purged or changed since (one look at the
       generations, which all processes share).
    2. The original, by `Originals`. When it had to be fetched, the variant was rendered by the same decode.
    3. The variant store, under a key made of the body's digest: a changed original cannot be mistaken.
    4. A render process. A broken or full variant store costs the storing, never the answer. A format that is or was
       too much for it (`Overloads`) is passed over for the next one that the client takes.

    A kept picture that cannot be rendered is remembered for a minute in memory, so that a page that shows it does
    not occupy the render processes. Why an original cannot be had is for `Originals` to remember.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._untouched = Untouched(parts.kept, parts.bodies, self._keep_coded)
        self._at_hand = AtHand(parts.bodies, stamp_of=parts.kept.generations.stamp, now=parts.now)

    def from_memory(self, asked: Asked) -> Picture | None:
        """Return the answer if it is at hand; never waits.

        Raises:
            PictureError: the remembered failure of this variant.
        """
        held = self._parts.memory.get(asked.memory_key)
        if not isinstance(held, Picture | _Failure):
            return None
        current = self._parts.kept.generations.stamp(asked.source.url) == held.stamp
        if not current or held.fresh_until <= self._parts.now():
            return None
        if isinstance(held, _Failure):
            raise held.error
        return held

    def from_store(self, asked: Asked) -> Picture | None:
        """Return an answer whose file in the variant store was read before; never waits."""
        picture = self._at_hand.picture(asked.memory_key)
        if picture is not None:
            self._remember(asked, picture)
        return picture

    def file_in_store(self, asked: Asked) -> HandedFile | None:
        """Return the same as a file, for a web server in front to send; never waits."""
        return self._at_hand.file(asked.memory_key)

    async def output_format(self, entry: Entry, asked: Asked) -> str | None:
        """Return the format of the answer; None when only rendering will show it."""
        found = await self._stored(entry, (asked.wish,), digest=entry.body_sha256)
        return await self._parts.store.output_format(entry, found[asked.wish][0])

    async def obtain(self, asked: Asked) -> Picture:
        """Return the variant, rendering and fetching what must be.

        Raises:
            MirrorError: of section 6.
        """
        look = await self._parts.originals.look(asked.source)
        # What is stored needs no exclusion, which costs four system calls.
        picture = await self._from_store(asked, look) or await self._made_once(asked, look)
        self._remember(asked, picture)
        return picture

    def _remember(self, asked: Asked, picture: Picture) -> None:
        self._parts.memory.put(asked.memory_key, picture.from_memory(), size=picture.size)

    def _remember_failure(self, asked: Asked, obtained: Obtained, error: MirrorError) -> None:
        # Of bytes that are not kept nothing is known: others may come, and keeping those is no change of generation.
        kept = obtained.body is None and obtained.ending is None and not obtained.is_corrupt
        if kept and isinstance(error, PictureError):
            failure = _Failure(error, self._parts.now() + SHORT_SECONDS, obtained.stamp)
            self._parts.memory.put(asked.memory_key, failure, size=FAILURE_WEIGHT_BYTES)

    async def _made_once(self, asked: Asked, look: Look) -> Picture:
        key = f"variant {asked.memory_key} {look.stamp}"

        async def peek() -> Picture | None:
            return await self._from_store(asked, await self._parts.originals.look(asked.source))

        async def work() -> Picture:
            return await self._made(asked, key, look)

        return await self._parts.flight.run(key, peek=peek, work=work, accept=lambda _: True, looked=True)

    async def _from_store(self, asked: Asked, look: Look) -> Picture | None:
        obtained = look.known
        if obtained is None or obtained.fresh_until <= self._parts.now():
            return None
        if is_answered_untouched(obtained.entry, asked.acceptable):
            # Its body lies with the originals.
            return None
        found = await self._stored(obtained.entry, (asked.wish,), digest=_digest(obtained))
        _, stored = found[asked.wish]
        if stored is None:
            return None
        picture = _picture(obtained, stored.body, "store")
        self._at_hand.note(asked.memory_key, asked.source.url, picture, stored.file)
        return picture

    async def _made(self, asked: Asked, key: str, look: Look) -> Picture:
        wish = asked.wish
        obtained = await self._parts.originals.obtain(
            asked.source,
            (wish,),
            accept=lambda early: wish in early.rendered or wish in early.rendering,
            look=look,
            written=asked.written,
        )
        if is_answered_untouched(obtained.entry, asked.acceptable):
            return await self._made_untouched(asked.source, obtained)
        if wish in obtained.rendering:
            obtained = replace(obtained, rendered=await asyncio.shield(obtained.rendering[wish]))
        obtained, answers = await self._answers(obtained, asked.source, (wish,))
        output, wish = answers[wish].output, answers[wish].wish
        if isinstance(output, MirrorError):
            self._remember_failure(asked, obtained, output)
            raise output
        if answers[asked.wish].is_stored:
            return _picture(obtained, output.body, "store")
        picture = _picture(obtained, output.body, "rendered")
        if obtained.ending is not None:
            self._parts.flight.announce(key, picture)
            obtained = await asyncio.shield(obtained.ending)
            picture = _picture(obtained, output.body, "rendered")
            # Whether it was kept is known only now.
            self._remember(asked, picture)
        await self._store(obtained, wish, output)
        return picture

    async def _made_untouched(self, source: Source, obtained: Obtained) -> Picture:
        if obtained.ending is not None and not obtained.is_readable:
            # Until it is committed there is no body at its place.
            obtained = await asyncio.shield(obtained.ending)
        obtained = await self._parts.originals.whole(source, obtained)
        try:
            return await self._untouched.made(obtained)
        except OSError as error:
            # It vanished after the look at it. The origin may still have it.
            log.warning("the body of %s is not as it was kept: %s", source, error)
            return await self._untouched.made(await self._parts.originals.obtain_again(source))

    async def _answers(
        self, obtained: Obtained, source: Source, wishes: Sequence[Wish]
    ) -> tuple[Obtained, dict[Wish, _Answer]]:
        """Return `obtained`, and what answers each wish: what it brings, what is stored, else from one decode.

        Wishes whose format turns out to be too much are rendered again in the next one, until two took all their time.
        """
        answers: dict[Wish, _Answer] = {}
        left = {wish: wish for wish in wishes}
        timeouts: Counter[Wish] = Counter()
        while left:
            lacking = [wish for wish in left.values() if wish not in obtained.rendered]
            if lacking and obtained.ending is not None:
                # Until it is committed there may be no body at its place.
                obtained = await asyncio.shield(obtained.ending)
            found = await self._stored(obtained.entry, lacking, digest=_digest(obtained))
            left = {asked: found.get(wish, (wish, None))[0] for asked, wish in left.items()}
            stored = dict(output for output in found.values() if output[1])
            new = tuple(wish for wish in dict.fromkeys(left.values()) if wish not in stored)
            obtained = await self._rendered(obtained, source, new)
            for asked, wish in left.items():
                kept = stored.get(wish)
                answers[asked] = _Answer(wish, kept or obtained.rendered[wish], is_stored=kept is not None)
            timeouts.update(asked for asked in left if isinstance(answers[asked].output, RenderTimeout))
            left = await self._passed_over(
                obtained, {asked: answers[asked] for asked in left if timeouts[asked] < _MAX_TIMEOUTS}
            )
        return obtained, answers

    async def _passed_over(self, obtained: Obtained, answers: Mapping[Wish, _Answer]) -> dict[Wish, Wish]:
        """Return what to try in place of the answers that were too much, by the wish asked for."""
        overloaded = {
            asked: answer.wish
            for asked, answer in answers.items()
            if isinstance(answer.output, RenderTimeout | OutOfMemory)
        }
        if not overloaded:
            return {}
        narrowed = await self._narrowed(obtained.entry, overloaded.values(), digest=_digest(obtained))
        return {asked: narrowed[wish] for asked, wish in overloaded.items() if narrowed[wish] != wish}

    async def _stored(
        self, entry: Entry, wishes: Sequence[Wish], *, digest: str
    ) -> dict[Wish, tuple[Wish, StoredAnswer | None]]:
        """Return by wish what is left of it and what is stored for that.

        What is stored answers, whatever is remembered of its format.
        """
        get = self._parts.store.get
        outputs = await asyncio.gather(*(get(entry, wish) for wish in wishes))
        found = {wish: (wish, output) for wish, output in zip(wishes, outputs, strict=True)}
        missing = [wish for wish, (_, output) in found.items() if output is None]
        if missing:
            for wish, left in (await self._narrowed(entry, missing, digest=digest)).items():
                found[wish] = (left, await get(entry, left) if left != wish else None)
        return found

    async def _narrowed(self, entry: Entry, wishes: Iterable[Wish], *, digest: str) -> dict[Wish, Wish]:
        return await self._parts.rendering.narrowed(tuple(wishes), sha256=digest, facts=_facts(entry))

    async def _rendered(self, obtained: Obtained, source: Source, wishes: tuple[Wish, ...]) -> Obtained:
        """Return `obtained` with `wishes` among what is rendered, all from one decode."""
        wishes = tuple(wish for wish in wishes if wish not in obtained.rendered)
        if not wishes:
            return obtained
        refusal = _refusal(obtained.entry)
        if refusal is not None:
            return replace(obtained, rendered={**obtained.rendered, **dict.fromkeys(wishes, refusal)})
        whole = await self._parts.originals.whole(source, obtained, wishes)
        rendered = {**obtained.rendered, **whole.rendered}
        missing = tuple(wish for wish in wishes if wish not in rendered)
        if missing:
            inspection = await self._inspected(whole, missing)
            rendered |= dict(zip(missing, inspection.outputs, strict=True))
            if whole.body is None and not whole.is_corrupt:
                whole = await self._parts.originals.judged(whole, inspection)
        return replace(whole, rendered=rendered)

    async def _inspected(self, obtained: Obtained, wishes: tuple[Wish, ...]) -> Inspection:
        if obtained.body is None:
            path = self._parts.kept.body_path(obtained.entry.body_sha256)
            return await self._run(path, obtained, wishes)
        async with self._parts.kept.receive() as incoming:
            await incoming.write(obtained.body)
            await incoming.finish()
            return await self._run(incoming.path, obtained, wishes)

    async def _run(self, path: Path, obtained: Obtained, wishes: tuple[Wish, ...]) -> Inspection:
        entry = obtained.entry
        origin = Source.parse(entry.source).origin
        # What is marked by former rules is looked at as a whole.
        job = Job(str(path), wishes, check=entry.damaged, origin=origin)
        return await self._parts.rendering.run(job, sha256=_digest(obtained), facts=_facts(entry))

    async def _keep_coded(self, obtained: Obtained, key: str, body: bytes) -> None:
        entry = obtained.entry
        await self._parts.bodies.put(key, body, tag=entry.body_sha256)
        if self._purged_since(obtained) and not await self._still(obtained):
            await self._parts.bodies.delete(key)

    async def _store(self, obtained: Obtained, wish: Wish, output: Rendered) -> None:
        if obtained.is_corrupt or output.output_format == UNTOUCHED:
            return
        await self._parts.store.put(obtained.entry, wish, output)
        if self._purged_since(obtained) and not await self._still(obtained):
            # Purged while it was rendered: what has no original must not lie around.
            await self._parts.store.delete(obtained.entry, wish, output)

    def _purged_since(self, obtained: Obtained) -> bool:
        return self._parts.kept.generations.stamp(obtained.entry.source) != obtained.stamp

    async def _still(self, obtained: Obtained) -> bool:
        entry = await self._parts.kept.get(obtained.entry.source)
        return entry is not None and entry.body_sha256 == obtained.entry.body_sha256

    async def warm(
        self,
        source: Source,
        wishes: tuple[Wish, ...],
        *,
        date: float | None = None,
        written: tuple[Source, ...] = (),
    ) -> tuple[Obtained, list[Output]]:
        """Keep the original of `source` and store every wish, all from one decode.

        `date`: when its article was written, unix seconds, if that is known. `written`: the wrappers' own addresses
        by which articles show it.

        Returns the original and one result for each wish, those found in the store included.

        Raises:
            MirrorError: when the original cannot be had at all.
        """
        obtained = await self._parts.originals.obtain(
            source, wishes, patient=True, date=date, written=written
        )
        return await self.warm_kept(source, obtained, wishes)

    async def warm_kept(
        self, source: Source, obtained: Obtained, wishes: tuple[Wish, ...]
    ) -> tuple[Obtained, list[Output]]:
        """Store every wish of an original that is at hand, all from one decode; its origin is not asked.

        Returns, raises: as `warm`.
        """
        obtained = await self._warmed_untouched(obtained, source, wishes)
        obtained, answers = await self._answers(obtained, source, wishes)
        for answer in answers.values():
            if isinstance(answer.output, Rendered) and not answer.is_stored:
                await self._store(obtained, answer.wish, answer.output)
        return obtained, [answers[wish].output for wish in wishes]

    async def _warmed_untouched(
        self, obtained: Obtained, source: Source, wishes: tuple[Wish, ...]
    ) -> Obtained:
        untouched = [wish for wish in wishes if is_answered_untouched(obtained.entry, wish.acceptable)]
        if not untouched:
            return obtained
        picture = await self._made_untouched(source, obtained)
        outputs = dict.fromkeys(untouched, Rendered(picture.body, UNTOUCHED, 0, 0))
        return replace(obtained, rendered={**obtained.rendered, **outputs})


def _digest(obtained: Obtained) -> str:
    """Return the name under which overloads of a body are remembered."""
    sha256 = obtained.entry.body_sha256
    # What rotten bytes cost says nothing about the bytes that the digest names.
    return f"corrupt {sha256}" if obtained.is_corrupt else sha256


def _refusal(entry: Entry) -> PictureError | None:
    """Return why nothing can be rendered of an original, as far as its entry tells."""
    if not entry.media_type.startswith("image/"):
        return NotAnImage("The source is kept, but it is not a picture.")
    if entry.damaged and entry.judged_by == JUDGE:
        return DecodeFailed()
    return None


def _picture(obtained: Obtained, body: bytes, detail: str) -> Picture:
    entry, state = obtained.entry, obtained.state
    return Picture(
        body=body,
        media_type=_media_type(body),
        etag=f'{"W/" if obtained.is_corrupt else ""}"{hashlib.sha256(body).hexdigest()[:32]}"',
        last_modified=last_modified(entry),
        language=language(entry),
        fresh_until=obtained.fresh_until,
        stamp=obtained.stamp,
        state=state.or_hit(detail),
        short=obtained.short,
        original_size=_size(entry),
    )


def _size(entry: Entry) -> tuple[int, int] | None:
    facts = _facts(entry)
    return (facts.width, facts.height) if facts else None


def _facts(entry: Entry) -> PictureFacts | None:
    return PictureFacts.from_dict(entry.picture) if entry.picture else None


def _media_type(body: bytes) -> str:
    if body[:1] == b"{":
        return "application/json"
    return MEDIA_TYPES.get(sniff(body[:64]) or "", "application/octet-stream")
