"""Answers the wishes for an original, from the variant store or a render process. Event loop.

Knows the variant store and the render processes. `way` and `kept` obtain the original.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cache.base.entry import Entry
from cache.base.opening import LocalFile
from proxy.errors import DecodeFailed, NotAnImage, OutOfMemory, PictureError, RenderTimeout
from proxy.images.formats import MEDIA_TYPES, UNTOUCHED, PictureFacts, sniff
from proxy.images.jobs import JUDGE, Inspection, Job, Output, Rendered, Wish
from proxy.services.serving import ServingParts
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.stored import StoredAnswer, StoredVariants
from proxy.services.serving.untouched import Untouched, is_answered_untouched
from proxy.services.serving.values import Obtained, Picture, language, last_modified
from proxy.source import Source

log = logging.getLogger(__name__)

_MAX_TIMEOUTS = 2
"""How many formats may time out in one request. Nobody waits for a third one."""


@dataclass(frozen=True, slots=True)
class WishAnswer:
    """The answer to a wish. wish: the one asked for, or its remaining formats if some are too much at present."""

    wish: Wish
    output: Output
    is_stored: bool = False


class Answering:
    """Answers wishes.

    1. A stored variant is the answer, regardless of failures remembered for its format.
    2. A format that is or was too much for a render process (`Overloads`) is skipped. The next format that the client
       accepts is used instead.
    3. All remaining variants are rendered from one decode, and stored unless the original was purged meanwhile.
    """

    def __init__(self, parts: ServingParts, store: StoredVariants, originals: KeptOriginals) -> None:
        self._parts = parts
        self._store = store
        self._originals = originals
        self._untouched = Untouched(parts.store, parts.bodies, self._keep_coded)

    async def output_format(self, entry: Entry, wish: Wish) -> str | None:
        """Return the format of the answer to a wish, or None if only rendering can tell."""
        found = await self.stored(entry, (wish,), digest=entry.body_sha256)
        return await self._store.output_format(entry, found[wish][0])

    async def untouched(self, source: Source, obtained: Obtained) -> Picture:
        if obtained.ending is not None and not obtained.is_readable:
            # Before the commit, the body may not be at its place.
            obtained = await asyncio.shield(obtained.ending)
        obtained = await self._originals.whole(source, obtained)
        try:
            return await self._untouched.made(obtained)
        except OSError as error:
            # The body vanished after it was found. The origin may still have it.
            log.warning("the body of %s does not match its entry: %s", source, error)
            return await self._untouched.made(await self._originals.obtain_again(source))

    async def answers(
        self, obtained: Obtained, source: Source, wishes: Sequence[Wish]
    ) -> tuple[Obtained, dict[Wish, WishAnswer]]:
        """Return `obtained` and the answer to each wish: from `obtained` itself, from the store, or from one decode.

        A wish whose format is too much is rendered again in its next format, until two formats have timed out.
        """
        answers: dict[Wish, WishAnswer] = {}
        left = {wish: wish for wish in wishes}
        timeouts: Counter[Wish] = Counter()
        while left:
            lacking = [wish for wish in left.values() if wish not in obtained.rendered]
            if lacking and obtained.ending is not None:
                # Before the commit, the body may not be at its place.
                obtained = await asyncio.shield(obtained.ending)
            found = await self.stored(obtained.entry, lacking, digest=digest_of(obtained))
            left = {asked: found.get(wish, (wish, None))[0] for asked, wish in left.items()}
            stored = dict(output for output in found.values() if output[1])
            new = tuple(wish for wish in dict.fromkeys(left.values()) if wish not in stored)
            obtained = await self._rendered(obtained, source, new)
            for asked, wish in left.items():
                kept = stored.get(wish)
                answers[asked] = WishAnswer(wish, kept or obtained.rendered[wish], is_stored=kept is not None)
            timeouts.update(asked for asked in left if isinstance(answers[asked].output, RenderTimeout))
            left = await self._passed_over(
                obtained, {asked: answers[asked] for asked in left if timeouts[asked] < _MAX_TIMEOUTS}
            )
        return obtained, answers

    async def _passed_over(self, obtained: Obtained, answers: Mapping[Wish, WishAnswer]) -> dict[Wish, Wish]:
        """Return what to try instead of answers that were too much, by the original wish."""
        overloaded = {
            asked: answer.wish
            for asked, answer in answers.items()
            if isinstance(answer.output, RenderTimeout | OutOfMemory)
        }
        if not overloaded:
            return {}
        narrowed = await self._narrowed(obtained.entry, overloaded.values(), digest=digest_of(obtained))
        return {asked: narrowed[wish] for asked, wish in overloaded.items() if narrowed[wish] != wish}

    async def stored(
        self, entry: Entry, wishes: Sequence[Wish], *, digest: str
    ) -> dict[Wish, tuple[Wish, StoredAnswer | None]]:
        """Return for each wish its remaining formats, and the stored variant for these.

        A stored variant is returned regardless of failures remembered for its format.
        """
        get = self._store.get
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
        """Return `obtained` with the results for `wishes` added, all from one decode."""
        wishes = tuple(wish for wish in wishes if wish not in obtained.rendered)
        if not wishes:
            return obtained
        refusal = _refusal(obtained.entry)
        if refusal is not None:
            return replace(obtained, rendered={**obtained.rendered, **dict.fromkeys(wishes, refusal)})
        whole = await self._originals.whole(source, obtained, wishes)
        rendered = {**obtained.rendered, **whole.rendered}
        missing = tuple(wish for wish in wishes if wish not in rendered)
        if missing:
            inspection = await self._inspected(whole, missing)
            rendered |= dict(zip(missing, inspection.outputs, strict=True))
            if whole.body is None and not whole.is_corrupt:
                whole = await self._originals.relooked(whole, inspection)
        return replace(whole, rendered=rendered)

    async def _inspected(self, obtained: Obtained, wishes: tuple[Wish, ...]) -> Inspection:
        if obtained.body is None:
            file = await self._parts.store.files.local(obtained.entry.body_sha256)
            return await self._run(file, obtained, wishes)
        async with self._parts.store.receive() as incoming:
            await incoming.write(obtained.body)
            await incoming.finish()
            return await self._run(incoming.path, obtained, wishes)

    async def _run(self, file: LocalFile, obtained: Obtained, wishes: tuple[Wish, ...]) -> Inspection:
        entry = obtained.entry
        origin = Source.parse(entry.source).origin
        # An original that earlier rules marked as damaged is checked completely again.
        job = Job(str(file), wishes, check=entry.damaged, origin=origin)
        return await self._parts.rendering.run(job, sha256=digest_of(obtained), facts=_facts(entry))

    async def _keep_coded(self, obtained: Obtained, key: str, body: bytes) -> None:
        entry = obtained.entry
        await self._parts.bodies.put(key, body, tag=entry.body_sha256)
        if self._purged_since(obtained) and not await self._still(obtained):
            await self._parts.bodies.delete(key)

    async def store(self, obtained: Obtained, wish: Wish, output: Rendered) -> None:
        if obtained.is_corrupt or output.output_format == UNTOUCHED:
            return
        with self._parts.traces.step("store"):
            await self._store.put(obtained.entry, wish, output)
        if self._purged_since(obtained) and not await self._still(obtained):
            # The original was purged during rendering, so its variant must not remain.
            await self._store.delete(obtained.entry, wish, output)

    def _purged_since(self, obtained: Obtained) -> bool:
        return self._parts.store.generations.stamp(obtained.entry.source) != obtained.stamp

    async def _still(self, obtained: Obtained) -> bool:
        entry = await self._parts.store.get(obtained.entry.source)
        return entry is not None and entry.body_sha256 == obtained.entry.body_sha256

    async def warmed_untouched(
        self, obtained: Obtained, source: Source, wishes: tuple[Wish, ...]
    ) -> Obtained:
        untouched = [wish for wish in wishes if is_answered_untouched(obtained.entry, wish.acceptable)]
        if not untouched:
            return obtained
        picture = await self.untouched(source, obtained)
        outputs = dict.fromkeys(untouched, Rendered(picture.body, UNTOUCHED, 0, 0))
        return replace(obtained, rendered={**obtained.rendered, **outputs})


def digest_of(obtained: Obtained) -> str:
    """Return the name under which overloads of a body are remembered."""
    sha256 = obtained.entry.body_sha256
    # The cost of damaged bytes says nothing about the bytes that the digest names.
    return f"corrupt {sha256}" if obtained.is_corrupt else sha256


def _refusal(entry: Entry) -> PictureError | None:
    """Return why nothing of an original can be rendered, as far as its entry tells."""
    if not entry.media_type.startswith("image/"):
        return NotAnImage("The source is kept, but it is not a picture.")
    if entry.damaged and entry.judged_by == JUDGE:
        return DecodeFailed()
    return None


def picture_of(obtained: Obtained, body: bytes, detail: str) -> Picture:
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
