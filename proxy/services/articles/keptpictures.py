"""What responsive markup has to know of kept originals: their size, and a colour to show until they come. Event loop.

Looks into the store and fetches nothing. The colour is that of `format=json`, which is stored with the variants: a
picture is decoded for it once, by `warm` together with everything else, else here in a render process.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cache.base.entry import Entry
from cache.originals.durable_tier import Originals as OriginalsStore
from proxy.config import RenderConfig
from proxy.errors import MirrorError
from proxy.images.formats import RENDERABLE, PictureFacts
from proxy.images.pool.jobs import Job, Rendered, Wish
from proxy.images.transforms.resolved import Resolved
from proxy.rewrite.base.kept import Kept, Known, Wanted
from proxy.services.rendering import Rendering
from proxy.services.stored import StoredVariants
from proxy.source import Source

DESCRIBED = Wish(Resolved.of({"width": 32, "height": 32, "anim": False, "format": "json"}), ("json",))
"""The description that the colour is read from: of a picture this small it costs a few milliseconds."""

AT_ONCE = 16
"""Sources looked up at a time: most cost a small file, some a decode."""
_COLOUR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class KeptPictures:
    """Looks up what is kept; `limits` returns the limits of rendering that hold now."""

    kept: OriginalsStore
    store: StoredVariants
    rendering: Rendering
    limits: Callable[[], RenderConfig]

    async def look_up(self, asked: Iterable[Wanted]) -> Known:
        """Return what is known of each source, None of those that are not kept as pictures."""
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
        path = self.kept.body_path(entry.body_sha256)
        job = Job(str(path), (DESCRIBED,), origin=Source.parse(entry.source).origin)
        try:
            inspection = await self.rendering.run(job, sha256=entry.body_sha256, facts=facts)
        except MirrorError:
            # Too busy now; the picture goes without.
            return None
        output = inspection.outputs[0]
        if not isinstance(output, Rendered):
            return None
        await self.store.put(entry, DESCRIBED, output)
        if await self.kept.get(entry.source) is None:
            # Purged meanwhile: what has no original must not lie around.
            await self.store.delete(entry, DESCRIBED, output)
        return output


def _facts(entry: Entry) -> PictureFacts | None:
    try:
        facts = PictureFacts.from_dict(entry.picture) if entry.picture else None
    except ValueError:
        return None
    return facts if facts and facts.width > 0 and facts.height > 0 else None
