"""Rendered variants in the store, with what was found about their formats. Runs on the event loop.

A variant lies under a key of body, transform and format. Which format answers follows from the facts of the original
and the client's `Accept`, unless encoding has shown something else (`proxy.images.choice.Finding`). That is noted
beside the variants, so that no worker and no later run encodes again to find it. Losing a note costs an encode.
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
from proxy.images.pool.jobs import Rendered, Wish

NOTE = "finding"
"""Stands in place of the format in the key of a note."""


@dataclass(frozen=True, slots=True)
class StoredAnswer(Rendered):
    """A variant from the store. file: where it lies; None when that is the database."""

    file: KeptFile | None = None


class StoredVariants:
    """The variant store, asked by wishes instead of keys."""

    def __init__(self, store: Variants) -> None:
        self._store = store

    async def get(self, entry: Entry, wish: Wish) -> StoredAnswer | None:
        """Return the stored answer to a wish, its size in pixels left out; None when it has to be rendered."""
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
        """Return the format that answers a wish; None when only rendering will show it."""
        if not entry.picture:
            return None
        facts, wanted = _wanted(entry.picture, wish)
        finding = await self._finding(entry, wish)
        name = finding.answer(wanted, source_format=facts.format)
        return facts.format if name == ORIGINAL else name

    async def put(self, entry: Entry, wish: Wish, output: Rendered) -> None:
        """Store an answer, and note what was found with it.

        The note is read even for an original that was kept a moment ago: wishes for other formats share it. It is
        written first: a variant without it would be taken for what the facts alone lead to.
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
        """Forget what `put` has stored."""
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
    """Return the name of an answer: its format, or `ORIGINAL` for the original's own bytes in place of another."""
    facts, wanted = _wanted(picture, wish)
    answer = output.finding.answer(wanted, source_format=facts.format)
    return ORIGINAL if answer == ORIGINAL else output.output_format


def _wanted(picture: Mapping[str, Any], wish: Wish) -> tuple[PictureFacts, Candidates]:
    facts = PictureFacts.from_dict(picture)
    return facts, candidates(wish.acceptable, facts, anim=wish.resolved.anim)
