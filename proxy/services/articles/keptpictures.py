"""Looks up what responsive markup needs of kept originals: their size and a placeholder colour. Event loop.

Reads the store and fetches nothing. The colour comes from `format=json`, which is stored with the variants. A picture
is decoded for it once: by `warm` together with its variants, otherwise here in a render process.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cache.base.entry import Entry
from cache.durable_tier import Originals
from proxy.errors import MirrorError
from proxy.images.formats import RENDERABLE, PictureFacts
from proxy.images.jobs import Job, Rendered, Wish
from proxy.images.pool.settings import PoolSettings
from proxy.images.transforms.resolved import Resolved
from proxy.rewrite.base.kept import Kept, Known, Wanted
from proxy.services.serving.rendering import Rendering
from proxy.services.serving.stored import StoredVariants
from proxy.source import Source

DESCRIBED = Wish(Resolved.of({"width": 32, "height": 32, "anim": False, "format": "json"}), ("json",))
"""The description that has the colour. A picture this small is described in a few milliseconds."""

AT_ONCE = 16
"""Sources looked up at a time. Most need one small file, some a decode."""
_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class KeptPictures:
    """Looks up kept originals; `limits` returns the current render limits."""

    kept: Originals
    store: StoredVariants
    rendering: Rendering
    limits: Callable[[], PoolSettings]

    async def look_up(self, asked: Iterable[Wanted]) -> Known:
        """Return the facts of each source, None for sources that are not kept as pictures."""
        places = asyncio.Semaphore(AT_ONCE)

        async def look(wanted: Wanted) -> tuple[Source, Kept | None]:
            async with places:
                return wanted[0], await self._look(wanted)

        return dict(await asyncio.gather(*map(look, asked)))

    async def _look(self, wanted: Wanted) -> Kept | None:
        for source in wanted:
            entry = await self.kept.get(source.url)
            if entry is not None:
                facts = _facts(entry)
                return await self._described(entry, facts) if facts else None
        return None

    async def _described(self, entry: Entry, facts: PictureFacts) -> Kept:
        limits = self.limits()
        within = facts.width * facts.height * facts.frames <= limits.max_pixels and (
            facts.frames <= limits.max_frames
        )
        renders = within and facts.format in RENDERABLE and not entry.damaged
        colour = await self._colour(entry, facts) if renders and not facts.has_alpha else ""
        return Kept(facts.width, facts.height, renders and not facts.scalable, colour)

    async def _colour(self, entry: Entry, facts: PictureFacts) -> str:
        described = await self.store.get(entry, DESCRIBED) or await self._made(entry, facts)
        colour = json.loads(described.body)["dominant_colour"] if described else ""
        return colour if _COLOUR.fullmatch(colour) else ""

    async def _made(self, entry: Entry, facts: PictureFacts) -> Rendered | None:
        file = await self.kept.files.local(entry.body_sha256)
        job = Job(str(file), (DESCRIBED,), origin=Source.parse(entry.source).origin)
        try:
            inspection = await self.rendering.run(job, sha256=entry.body_sha256, facts=facts)
        except MirrorError:
            # The service is too busy; the picture gets no colour.
            return None
        output = inspection.outputs[0]
        if not isinstance(output, Rendered):
            return None
        await self.store.put(entry, DESCRIBED, output)
        if await self.kept.get(entry.source) is None:
            # The original was purged meanwhile; a variant must not outlive it.
            await self.store.delete(entry, DESCRIBED, output)
        return output


def _facts(entry: Entry) -> PictureFacts | None:
    try:
        facts = PictureFacts.from_dict(entry.picture) if entry.picture else None
    except ValueError:
        return None
    return facts if facts and facts.width > 0 and facts.height > 0 else None
