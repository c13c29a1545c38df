"""Overloads: remembers pictures that used up the processor time or memory of a render process.

A picture that cannot be decoded within the limits cannot be rendered at all; an SVG that cannot be drawn within them
fails from that size on. If only a variant took too much, its output format fails from that size on, and the next
acceptable format is answered meanwhile. Such a picture is not damaged, and the verdict is not final: it holds for a
pause that doubles each time, and only for the limits and the render version with which it was found.

All processes of a store share the overloads. They survive restarts if their file can be written
(`cache.across.failures`). Event loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cache.across.failures import RememberedFailure
from cache.across.seams import FailureMemory
from proxy.config import RenderConfig
from proxy.errors import InvalidTransform, OutOfMemory, PictureError, RenderTimeout
from proxy.images.choice import candidates, without
from proxy.images.encode import RENDER_VERSION
from proxy.images.formats import JSON, OUTPUTS, UNTOUCHED, PictureFacts
from proxy.images.geometry import OutputLimits, make_plan
from proxy.images.jobs import Inspection, Output, Rendered, Wish

FIRST_PAUSE_SECONDS = 600.0
MAX_PAUSE_SECONDS = 7 * 86400.0
_CLOCK_SECONDS = 3600.0
"""A record from further in the future was written with a wrong clock and is ignored."""

_READING = "reading"
_KINDS: dict[str, type[PictureError]] = {"time": RenderTimeout, "memory": OutOfMemory}


@dataclass(frozen=True, slots=True)
class Overload:
    """One overload. step: "reading", or an output format. pixels: the smallest size that failed."""

    step: str
    kind: str
    pixels: int
    count: int
    until: float

    def error(self) -> PictureError:
        """Return the error for clients while the overload holds."""
        return _KINDS[self.kind](
            detail=f"remembered: {self.step} took too much {self.kind}, {self.count} in a row"
        )


class Known:
    """The overloads of one body, by step. Those in `past` have ended their pause, so these steps are tried again."""

    def __init__(self, overloads: Mapping[str, Overload], limits: OutputLimits, *, now: float) -> None:
        self.present = {step: found for step, found in overloads.items() if found.until > now}
        self.past = {step: found for step, found in overloads.items() if found.until <= now}
        self._limits = limits

    @property
    def is_blank(self) -> bool:
        """Whether the body has no overloads."""
        return not self.present and not self.past

    def refusal(self, facts: PictureFacts | None) -> PictureError | None:
        """Return why no variant of the body can be rendered, or None. Without `facts`, sizes cannot be compared."""
        found = self.present.get(_READING)
        return found.error() if found and (facts is None or not found.pixels) else None

    def narrowed(self, wish: Wish, facts: PictureFacts | None) -> Wish:
        """Return the wish without formats that are overloaded at its size, or unchanged if no format would be left."""
        if facts is None or not self.present or UNTOUCHED in _order(wish, facts):
            return wish
        pixels = _pixels(wish, facts, self._limits)
        refused = {step for step, found in self.present.items() if pixels >= found.pixels}
        left = () if _READING in refused else without(wish.acceptable, refused)
        return replace(wish, acceptable=left) if left else wish

    def refusal_of(self, wish: Wish, facts: PictureFacts | None) -> PictureError | None:
        """Return why this variant cannot be rendered, or None. Considers reading and the first format for `facts`."""
        if facts is None or not self.present:
            return None
        pixels = _pixels(wish, facts, self._limits)
        steps = (self.present.get(_READING), self.present.get(_order(wish, facts)[0]))
        return next((found.error() for found in steps if found and pixels >= found.pixels), None)


class Overloads:
    """The memory of overloads under one configuration."""

    def __init__(self, failures: FailureMemory, config: RenderConfig, *, now: Callable[[], float]) -> None:
        self._failures = failures
        self._now = now
        self.reconfigure(config)

    def reconfigure(self, config: RenderConfig) -> None:
        """Apply new limits. Overloads under other limits no longer count."""
        self._limits = OutputLimits(config.max_output_side, config.max_output_pixels)
        limits = (config.timeout, config.drawing_timeout, config.memory_max_bytes, config.max_pixels)
        text = f"{RENDER_VERSION} {config.decoder} {config.max_frames} {limits} {self._limits}"
        self._mark = hashlib.sha256(text.encode()).hexdigest()[:16]

    async def look(self, sha256: str) -> Known:
        """Return the overloads of a body."""
        steps = (_READING, *OUTPUTS, JSON)
        records = await self._failures.get_all([self._key(sha256, step) for step in steps])
        now = self._now()
        found = {
            step: overload
            for step, record in zip(steps, records, strict=True)
            if record is not None and (overload := _read(step, record, now=now))
        }
        return Known(found, self._limits, now=now)

    async def note(
        self, sha256: str, wishes: Sequence[Wish], inspection: Inspection, *, known: Known
    ) -> None:
        """Remember new overloads of a body, and forget those that did not recur."""
        if known.is_blank and inspection.error is None and not any(map(_kind, inspection.outputs)):
            return
        pixels = self._drawn_pixels(wishes, inspection.facts)
        if inspection.error is not None and (kind := _kind(inspection.error)):
            await self._put(sha256, Overload(_READING, kind, pixels, 0, 0.0), known=known)
            return
        if (before := known.past.get(_READING)) and pixels >= before.pixels:
            await self._failures.forget(self._key(sha256, _READING))
        if inspection.facts is not None:
            for wish, output in zip(wishes, inspection.outputs, strict=True):
                # A killed process was working on the first format. A process that survived has tried all formats.
                steps = _order(wish, inspection.facts)[: 1 if inspection.killed else None]
                pixels = _pixels(wish, inspection.facts, self._limits)
                for step in steps:
                    await self._note_output(sha256, step, pixels, output, known=known)

    def _drawn_pixels(self, wishes: Sequence[Wish], facts: PictureFacts | None) -> int:
        """Return the size at which a scalable picture was drawn; 0 when reading does not depend on the size."""
        if facts is None or not facts.scalable:
            return 0
        return max((_pixels(wish, facts, self._limits) for wish in wishes), default=0)

    async def _note_output(
        self, sha256: str, step: str, pixels: int, output: Output, *, known: Known
    ) -> None:
        kind = _kind(output)
        before = known.past.get(step)
        if kind:
            await self._put(sha256, Overload(step, kind, pixels, 0, 0.0), known=known)
        elif before and isinstance(output, Rendered) and step in _made_in(output) and pixels >= before.pixels:
            await self._failures.forget(self._key(sha256, step))

    async def _put(self, sha256: str, found: Overload, *, known: Known) -> None:
        before = known.past.get(found.step) or known.present.get(found.step)
        count = before.count + 1 if before else 1
        pixels = min(found.pixels, before.pixels) if before else found.pixels
        now = self._now()
        until = now + min(FIRST_PAUSE_SECONDS * 2.0 ** min(count - 1, 20), MAX_PAUSE_SECONDS)
        record = RememberedFailure(f"{found.kind} {pixels}", 0, count, now, until)
        await self._failures.put(self._key(sha256, found.step), record)

    def _key(self, sha256: str, step: str) -> str:
        return f"{self._mark} {sha256} {step}"


def _read(step: str, record: RememberedFailure, *, now: float) -> Overload | None:
    kind, _, pixels = record.kind.partition(" ")
    if kind not in _KINDS or not pixels.isdigit() or record.at > now + _CLOCK_SECONDS:
        return None
    return Overload(step, kind, int(pixels), record.count, record.until)


def _kind(output: object) -> str:
    return next((kind for kind, error in _KINDS.items() if isinstance(output, error)), "")


def _order(wish: Wish, facts: PictureFacts) -> tuple[str, ...]:
    return candidates(wish.acceptable, facts, anim=wish.resolved.anim).order


def _made_in(output: Rendered) -> set[str]:
    """Return the formats whose encoders finished."""
    return {output.output_format, *(name for name, size in output.finding.sizes.items() if size is not None)}


def _pixels(wish: Wish, facts: PictureFacts, limits: OutputLimits) -> int:
    """Return the number of pixels of a variant; 0 for one beyond the limits, which is refused without any work."""
    try:
        plan = make_plan((facts.width, facts.height), wish.resolved, limits=limits)
    except InvalidTransform:
        return 0
    return max(plan.size[0] * plan.size[1], plan.canvas[0] * plan.canvas[1])
