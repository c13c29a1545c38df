"""Makes one picture of an exported site: keeps or fetches the original, writes its files into the copy. Event loop."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from cache.base.errors import CacheError
from cache.durable_tier import Originals
from proxy.config import Config
from proxy.errors import (
    MirrorError,
    NotAnImage,
    SourceNotAllowed,
    SourceTimeout,
    UnsupportedFormat,
)
from proxy.images.encode import RENDER_VERSION
from proxy.images.formats import MEDIA_TYPES, PictureFacts
from proxy.images.geometry import OutputLimits
from proxy.images.pool.workers import Output as RenderOutput
from proxy.images.pool.workers import Wish
from proxy.images.transforms.resolved import Resolved
from proxy.images.transforms.transform import Transform
from proxy.rewrite.exporting.pictures import FOLDER, ExportedFiles, Want
from proxy.services.exporting.offers import Sized, lacking, original_of, shown_of, widths_of, wishes_of
from proxy.services.exporting.output import Output
from proxy.services.exporting.state import PictureRecord
from proxy.services.exporting.svg import is_passive
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.values import Obtained
from proxy.services.serving.way import PictureWay
from proxy.services.warm.warming import (
    NOT_KEPT,
    Browser,
    KeptOriginal,
    PictureToWarm,
    WarmFailure,
    WarmOutcome,
)
from proxy.source import Source

Admit = Callable[[Source], None]
"""Raises `SourceNotAllowed` when a source is not served."""
ORIGINAL = "original"


@dataclass(frozen=True, slots=True)
class ExportParts:
    """The parts that making pictures needs."""

    originals: KeptOriginals
    variants: PictureWay
    kept: Originals
    admit: Admit
    wants_pauses: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How pictures are made. `name` identifies all settings, including the renderer's version."""

    config: Config
    browsers: tuple[Browser, ...]
    offline: bool = False

    @property
    def name(self) -> str:
        """A text that changes when files must be made again."""
        render, presets = self.config.render, self.config.presets
        formats = [browser.name for browser in self.browsers]
        limits = (render.max_output_side, render.max_output_pixels, render.max_pixels, render.max_frames)
        text = repr((RENDER_VERSION, formats, limits, self.config.rewrite.widths, sorted(presets.items())))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def limits(self) -> OutputLimits:
        """The limits on the size of a result."""
        return OutputLimits(self.config.render.max_output_side, self.config.render.max_output_pixels)


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The renders of a want: its widths, and the wish of every kind of browser for each."""

    sizes: tuple[Sized, ...]
    wished: list[tuple[Wish, ...]]


@dataclass(slots=True)
class ExportedPictures:
    """The results for all wants. `instead`: options for which the original was exported, with the error code."""

    shown: dict[Want, ExportedFiles | None] = field(default_factory=dict)
    failures: dict[Want, WarmFailure] = field(default_factory=dict)
    instead: dict[Want, str] = field(default_factory=dict)
    earlier: set[Source] = field(default_factory=set)
    reused: int = 0


class PictureFiles:
    """Exports one picture. It is a `Warmer`, so that origins take turns as in warming.

    1. A source that the policy does not serve is neither fetched nor shown.
    2. A kept original is used whatever its age. Only a missing or damaged one is fetched.
    3. Files that an earlier run made from the same bytes with the same settings are reused.
    4. Every width and format of all wants is made from one decode and written.
    5. When nothing can be rendered, the original is exported if browsers show its format.
    6. A picture that is no longer available but was exported before stays unchanged.
    """

    def __init__(
        self,
        parts: ExportParts,
        settings: ExportSettings,
        output: Output,
        wants: Mapping[Source, tuple[Want, ...]],
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._output = output
        self._wants = wants
        self._name = settings.name
        self.made = ExportedPictures()

    def wants_pauses(self, origin: str) -> bool:
        """Return whether the robots.txt of `origin`, if it was read, asks for pauses."""
        return self._parts.wants_pauses(origin)

    def stop(self) -> None:
        """Do nothing: exporting never waits for a retry."""

    async def warm(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        """Export a picture and return the outcome. Origins never cause an exception."""
        wants = self._wants[work.source]
        try:
            self._parts.admit(work.source)
            obtained = await self._kept(work)
            new = obtained is None
            if obtained is None and self._settings.offline:
                failure = WarmFailure(NOT_KEPT, "The picture is not kept, and --offline fetches nothing.")
            else:
                obtained = obtained or await self._fetched(work, ask=ask)
                return await self._exported(work, wants, obtained, new=new)
        except SourceNotAllowed as error:
            return self._failed(work, wants, WarmFailure.of(error))
        except MirrorError as error:
            failure = WarmFailure.of(error)
        except (CacheError, OSError) as error:
            failure = WarmFailure(NOT_KEPT, f"The store cannot be used: {error}")
        return self._from_before(work, wants, failure) or self._failed(work, wants, failure)

    def _failed(self, work: PictureToWarm, wants: tuple[Want, ...], failure: WarmFailure) -> WarmOutcome:
        self.made.shown |= dict.fromkeys(wants)
        self.made.failures |= dict.fromkeys(wants, failure)
        return WarmOutcome(work, failure=failure)

    def _from_before(
        self, work: PictureToWarm, wants: tuple[Want, ...], failure: WarmFailure
    ) -> WarmOutcome | None:
        """Return the outcome of a picture that is gone, if an earlier run wrote all of its files."""
        record = self._output.state.pictures.get(work.source.url)
        if record is None or not all(want in record.shown for want in wants):
            return None
        shown = {want: record.shown[want] for want in wants}
        if not all(self._are_there(one) for one in shown.values()):
            return None
        self.made.shown |= shown
        self.made.earlier.add(work.source)
        return WarmOutcome(work, KeptOriginal(record.body, 0, "", new=False, stale=failure.code))

    async def _exported(
        self, work: PictureToWarm, wants: tuple[Want, ...], obtained: Obtained, *, new: bool
    ) -> WarmOutcome:
        entry = obtained.entry
        if not entry.media_type.startswith("image/"):
            raise NotAnImage("The source is kept, but it is not a picture.")
        known = self._reusable(work.source, wants, entry.body_sha256)
        missing = tuple(want for want in wants if want not in known)
        self.made.reused += len(known)
        if missing:
            known |= await self._made(Source.parse(entry.source), obtained, missing)
        self.made.shown |= known
        there = {want: shown for want, shown in known.items() if shown is not None}
        self._output.state.pictures[work.source.url] = PictureRecord(entry.body_sha256, self._name, there)
        kept = KeptOriginal(entry.body_sha256, entry.body_size, entry.media_type, new, damaged=entry.damaged)
        return WarmOutcome(work, kept)

    async def _kept(self, work: PictureToWarm) -> Obtained | None:
        """Return the kept original, also one under a wrapper's own address; None when there is none undamaged."""
        for source in (work.source, *work.written):
            look = await self._parts.originals.look(source)
            if look.known is None or (look.known.body is None and not await self._is_sound(look.known)):
                continue
            return look.known
        return None

    async def _is_sound(self, obtained: Obtained) -> bool:
        with suppress(OSError):
            return (await self._parts.kept.condition(obtained.entry.body_sha256)).is_sound
        return False

    async def _fetched(self, work: PictureToWarm, *, ask: bool) -> Obtained:
        if not ask:
            raise SourceTimeout("Not asked: its origin has timed out repeatedly.")
        if (await self._parts.originals.peek(work.source)) is not None:
            obtained = await self._parts.originals.obtain_again(work.source, patient=True)
        else:
            obtained = await self._parts.originals.obtain(
                work.source, patient=True, written=self._askable(work)
            )
        return await asyncio.shield(obtained.ending) if obtained.ending is not None else obtained

    def _askable(self, work: PictureToWarm) -> tuple[Source, ...]:
        found = []
        for source in work.written:
            with suppress(MirrorError):
                self._parts.admit(source)
                found.append(source)
        return tuple(found)

    def _reusable(
        self, source: Source, wants: tuple[Want, ...], body: str
    ) -> dict[Want, ExportedFiles | None]:
        record = self._output.state.pictures.get(source.url)
        if record is None or (record.body, record.settings) != (body, self._name):
            return {}
        return {
            want: record.shown[want]
            for want in wants
            if want in record.shown and self._are_there(record.shown[want])
        }

    def _are_there(self, shown: ExportedFiles) -> bool:
        files = [*(file for offer in shown.offers for file in offer), *shown.plain]
        return all(self._output.is_ours(f"{FOLDER}/{file.name}") for file in files)

    async def _made(
        self, source: Source, obtained: Obtained, wants: tuple[Want, ...]
    ) -> dict[Want, ExportedFiles | None]:
        """Make the files of all wants from one decode, write and return them."""
        facts = PictureFacts.from_dict(obtained.entry.picture) if obtained.entry.picture else None
        body = await self._body(obtained) if obtained.entry.media_type == MEDIA_TYPES["svg"] else None
        passive = body is not None and is_passive(body)
        plans: dict[Want, ExportPlan] = {}
        errors: dict[Want, MirrorError] = {}
        results: dict[object, Sized] = {}
        for want in wants:
            try:
                resolved = self._resolved(want, is_svg=body is not None, passive=passive)
                if resolved is not None:
                    sizes = widths_of(
                        resolved,
                        facts,
                        spread=want.spread,
                        widths=self._settings.config.rewrite.widths,
                        limits=self._settings.limits,
                    )
                    # Render transforms with the same result only once.
                    sizes = tuple(results.setdefault(one.result, one) if one.result else one for one in sizes)
                    wished = [wishes_of(one, self._settings.browsers, untouched=passive) for one in sizes]
                    plans[want] = ExportPlan(sizes, wished)
            except MirrorError as error:
                errors[want] = error
        outputs = await self._outputs(source, obtained, plans)
        found: dict[Want, ExportedFiles | None] = {}
        for want in wants:
            files = shown_of(plans[want].sizes, plans[want].wished, outputs) if want in plans else None
            if files is None:
                files = await self._original(obtained, facts, want, passive=passive or body is None)
                if files is not None and want.options.partition("@")[0] != ORIGINAL:
                    self.made.instead[want] = (errors.get(want) or _error(plans.get(want), outputs)).code
            if files is None:
                why = errors.get(want) or _error(plans.get(want), outputs)
                self.made.failures[want] = WarmFailure.of(why)
                found[want] = None
                continue
            shown, bodies = files
            for name, data in bodies.items():
                await asyncio.to_thread(self._output.put, f"{FOLDER}/{name}", data)
            found[want] = shown
        return found

    def _resolved(self, want: Want, *, is_svg: bool, passive: bool) -> Resolved | None:
        """Return the transform of a want, or None when it wants the original's own bytes."""
        if want.options.partition("@")[0] != ORIGINAL:
            return Transform.parse(want.options).resolved(self._settings.config.presets)
        # An SVG with active content is always rendered.
        return Resolved() if is_svg and not passive else None

    async def _outputs(
        self,
        source: Source,
        obtained: Obtained,
        plans: Mapping[Want, ExportPlan],
    ) -> dict[Wish, RenderOutput]:
        wishes = tuple(dict.fromkeys(wish for plan in plans.values() for row in plan.wished for wish in row))
        if not wishes:
            return {}
        after, answers = await self._parts.variants.warm_kept(source, obtained, wishes)
        outputs = dict(zip(wishes, answers, strict=True))
        more = tuple(dict.fromkeys(wish for plan in plans.values() for wish in lacking(plan.wished, outputs)))
        if more:
            _, answers = await self._parts.variants.warm_kept(source, replace(after, rendered={}), more)
            outputs |= zip(more, answers, strict=True)
        return outputs

    async def _original(
        self, obtained: Obtained, facts: PictureFacts | None, want: Want, *, passive: bool
    ) -> tuple[ExportedFiles, dict[str, bytes]] | None:
        if not passive or obtained.is_corrupt:
            return None
        return original_of(await self._body(obtained), facts)

    async def _body(self, obtained: Obtained) -> bytes:
        if obtained.body is not None:
            return obtained.body
        return await self._parts.kept.read_body(obtained.entry.body_sha256)


def _error(plan: ExportPlan | None, outputs: Mapping[Wish, RenderOutput]) -> MirrorError:
    """Return why the full width of a want was not rendered."""
    answers = (outputs.get(wish) for wish in reversed(plan.wished[-1])) if plan else ()
    found = next((answer for answer in answers if isinstance(answer, MirrorError)), None)
    return found or UnsupportedFormat("Browsers do not show it, and it cannot be rendered.")
