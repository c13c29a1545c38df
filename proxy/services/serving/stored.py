"""Rendered variants in the store, with findings about their formats. Runs on the event loop.

The key of a variant consists of body, transform and format. The format of the answer follows from the facts of the
original and the client's `Accept`, unless encoding has shown otherwise (`proxy.images.choice.EncodeFinding`). Such
findings are stored as notes beside the variants, so that no worker and no later run has to encode again. Losing a note
costs an encode.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cache.base.entry import Entry
from cache.base.keys import variant_key
from cache.base.page_cache import KeptFile
from cache.variants.bounded_tier import FoundVariant, VariantNote, Variants
from proxy.images.choice import ORIGINAL, Candidates, EncodeFinding, candidates
from proxy.images.encode import RENDER_VERSION
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Rendered, Wish

NOTE = "finding"
"""Replaces the format in the key of a note."""


@dataclass(frozen=True, slots=True)
class StoredAnswer(Rendered):
    """A variant from the store. file: its place, or None if it is in the database."""

    file: KeptFile | None = None


class StoredVariants:
    """The variant store, accessed by wishes instead of keys."""

    def __init__(self, store: Variants) -> None:
        self._store = store

    async def get(self, entry: Entry, wish: Wish) -> StoredAnswer | None:
        """Return the stored answer to a wish, without its size in pixels, or None if it must be rendered."""
        if not entry.picture:
            return None
        facts, wanted = _wanted(entry.picture, wish)
        likely = wanted.order[0]
        if len(wanted.order) == 1:
            return _answer(await self._store.find(_key(entry, wish, likely)), likely)
        finding, found = await asyncio.gather(
            self._finding(entry, wish), self._store.find(_key(entry, wish, likely))
        )
        name = finding.answer(wanted, source_format=facts.format)
        if name is None:
            return None
        if name != likely:
            found = await self._store.find(_key(entry, wish, name))
        return _answer(found, facts.format if name == ORIGINAL else name)

    async def output_format(self, entry: Entry, wish: Wish) -> str | None:
        """Return the format of the answer to a wish, or None if only rendering can tell."""
        if not entry.picture:
            return None
        facts, wanted = _wanted(entry.picture, wish)
        finding = await self._finding(entry, wish)
        name = finding.answer(wanted, source_format=facts.format)
        return facts.format if name == ORIGINAL else name

    async def put(self, entry: Entry, wish: Wish, output: Rendered) -> None:
        """Store an answer, and note the finding that came with it.

        The note is read even for a newly kept original, because wishes for other formats share it. It is written first:
        a variant without its note would be taken for the one that follows from the facts alone.
        """
        if not entry.picture:
            return

        def revised(note: bytes | None) -> bytes | None:
            known = _read(note)
            if known.is_plain and output.finding.is_plain:
                return None
            return json.dumps(known.merged(output.finding).to_dict()).encode("ascii")

        name = _name(entry.picture, wish, output)
        note = VariantNote(_key(entry, wish, NOTE), revised)
        await self._store.put(_key(entry, wish, name), output.body, tag=entry.body_sha256, note=note)

    async def delete(self, entry: Entry, wish: Wish, output: Rendered) -> None:
        """Delete what `put` has stored."""
        if entry.picture:
            for name in (NOTE, _name(entry.picture, wish, output)):
                await self._store.delete(_key(entry, wish, name))

    async def _finding(self, entry: Entry, wish: Wish) -> EncodeFinding:
        return _read(await self._store.get(_key(entry, wish, NOTE)))


def _read(note: bytes | None) -> EncodeFinding:
    try:
        return EncodeFinding.from_dict(json.loads(note)) if note else EncodeFinding()
    except ValueError:
        return EncodeFinding()


def _answer(found: FoundVariant | None, output_format: str) -> StoredAnswer | None:
    if found is None or not found.body:
        return None
    return StoredAnswer(found.body, output_format, 0, 0, file=found.file)


def _key(entry: Entry, wish: Wish, name: str) -> str:
    return variant_key(
        body_sha256=entry.body_sha256,
        resolved=wish.resolved.text,
        output_format=name,
        render_version=RENDER_VERSION,
    )


def _name(picture: Mapping[str, Any], wish: Wish, output: Rendered) -> str:
    """Return the name of an answer: its format, or `ORIGINAL` if the original's own bytes replace another answer."""
    facts, wanted = _wanted(picture, wish)
    answer = output.finding.answer(wanted, source_format=facts.format)
    return ORIGINAL if answer == ORIGINAL else output.output_format


def _wanted(picture: Mapping[str, Any], wish: Wish) -> tuple[PictureFacts, Candidates]:
    facts = PictureFacts.from_dict(picture)
    return facts, candidates(wish.acceptable, facts, anim=wish.resolved.anim)
