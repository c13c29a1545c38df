"""Warms pictures in this process, with the services that answer visitors. Event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from cache.base.entry import Entry
from cache.base.errors import CacheError
from cache.durable_tier import Originals
from proxy.errors import MirrorError, NotAnImage, PictureError, SourceError, SourceTimeout
from proxy.images.pool.workers import Rendered, Wish
from proxy.services.articles.keptpictures import DESCRIBED
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.values import Obtained
from proxy.services.serving.way import PictureWay
from proxy.services.warm.looks import Looks
from proxy.services.warm.previews import Preview, preview_of
from proxy.services.warm.warming import (
    NOT_KEPT,
    REFUSALS,
    KeptOriginal,
    PictureToWarm,
    VariantToWarm,
    WarmedVariant,
    WarmFailure,
    WarmOutcome,
)
from proxy.source import Source

Admit = Callable[[Source, bool], None]
"""Raises `SourceNotAllowed` when a source is not served, or options are neither a preset nor a width for articles."""
Check = Callable[[str], object]
"""Raises `MirrorError` for an address of ours, given without the base URL, that visitors are refused."""

_DRAWN = (".svg", ".svgz")
_REFRESHING = "refreshing"
_MAX_WAITS = 120


@dataclass(frozen=True, slots=True)
class WarmingParts:
    """The parts that the warmer needs."""

    originals: KeptOriginals
    variants: PictureWay
    kept: Originals
    admit: Admit
    wants_pauses: Callable[[str], bool]
    check: Check


class LocalWarmer:
    """Warms one picture.

    1. Do not fetch a source that the policy does not serve.
    2. Fetch a kept original again when its body has vanished from the disk; otherwise we would report it as kept.
    3. Obtain the original and make all missing variants from one decode.
    4. Wait for a refresh even when it takes longer than visitors would wait.
    5. If the source cannot be fetched, accept an original kept under a wrapper's own address.
    6. Report the picture as dead when the articles use an address of ours that visitors are refused.
    """

    def __init__(self, parts: WarmingParts, looks: Looks) -> None:
        self._parts = parts
        self._looks = looks

    async def warm(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        """Warm `work` and return the outcome. Without `ask`, use only originals that are kept already."""
        outcome = await self._outcome(work, ask=ask)
        for address in work.own:
            try:
                self._parts.check(address)
            except MirrorError as error:
                if error.code in REFUSALS:
                    return outcome.refused_with(WarmFailure.of(error), address)
        return outcome

    async def _outcome(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        try:
            return await self._warmed(work, ask=ask)
        except (SourceError, NotAnImage) as error:
            return await self._as_written(work) or WarmOutcome(work, failure=WarmFailure.of(error))
        except MirrorError as error:
            return WarmOutcome(work, failure=WarmFailure.of(error))
        except (CacheError, OSError) as error:
            return WarmOutcome(work, failure=WarmFailure(NOT_KEPT, f"The store cannot be used: {error}"))

    async def _as_written(self, work: PictureToWarm) -> WarmOutcome | None:
        """Return the outcome for an original kept under a wrapper's own address, which is served in its place."""
        for source in work.written:
            if await self._parts.originals.peek(source) is not None:
                outcome = await self._outcome(replace(work, source=source, written=()), ask=True)
                return replace(outcome, work=work)
        return None

    def wants_pauses(self, origin: str) -> bool:
        """Return whether the robots.txt of `origin`, if it was read, asks for pauses."""
        return self._parts.wants_pauses(origin)

    def stop(self) -> None:
        """Do nothing: this warmer never waits for a retry."""

    async def _warmed(self, work: PictureToWarm, *, ask: bool) -> WarmOutcome:
        self._parts.admit(work.source, True)
        before = await self._before(work, ask=ask)
        if before is None and not ask:
            raise _not_asked()
        looks, failed = self._admitted(work)
        obtained, made, preview = await self._made(work, looks)
        kept = await self._kept(work.source, obtained, before)
        lost = kept is None or obtained.body is not None
        failure = self._not_kept(obtained) if lost else None
        return WarmOutcome(work, kept, failure, (*made, *failed), preview=preview)

    async def _before(self, work: PictureToWarm, *, ask: bool) -> Entry | None:
        entry = await self._parts.originals.peek(work.source)
        if entry is None:
            return None
        if await self._is_whole(entry):
            return entry
        if not ask:
            raise _not_asked()
        await self._parts.originals.obtain_again(work.source, patient=True, date=work.date)
        return None

    def _admitted(self, work: PictureToWarm) -> tuple[tuple[VariantToWarm, ...], tuple[WarmedVariant, ...]]:
        looks, failed = self._looks.of(work)
        refused: dict[str, WarmedVariant] = {}
        for options in {look.options for look in looks}:
            try:
                self._parts.admit(work.source, self._looks.is_bounded(options))
            except MirrorError as error:
                refused[options] = WarmedVariant(options, "", failure=WarmFailure.of(error))
        return tuple(look for look in looks if look.options not in refused), (*failed, *refused.values())

    async def _made(
        self, work: PictureToWarm, looks: tuple[VariantToWarm, ...]
    ) -> tuple[Obtained, tuple[WarmedVariant, ...], Preview | None]:
        wishes = tuple(Wish(look.resolved, look.browser.acceptable) for look in looks)
        if looks and not work.source.target.partition("?")[0].lower().endswith(_DRAWN):
            # `rewrite --responsive` needs the description; it is cheap while the picture is decoded. An SVG would have
            # to be drawn for it.
            wishes += (DESCRIBED,)
        obtained, results = await self._parts.variants.warm(
            work.source, wishes, date=work.date, written=self._askable(work)
        )
        for _ in range(_MAX_WAITS):
            if obtained.state.detail != _REFRESHING:
                break
            # Each call waits a limited time for the same refresh.
            obtained, results = await self._parts.variants.warm(
                work.source, wishes, date=work.date, written=self._askable(work)
            )
        pairs = zip(looks, results, strict=False)
        return obtained, tuple(_made(look, result) for look, result in pairs), preview_of(results)

    def _askable(self, work: PictureToWarm) -> tuple[Source, ...]:
        """Return the wrapper addresses that may be fetched when the source is dead."""
        found: list[Source] = []
        for source in work.written:
            with suppress(MirrorError):
                self._parts.admit(source, True)
                found.append(source)
        return tuple(found)

    async def _kept(self, source: Source, obtained: Obtained, before: Entry | None) -> KeptOriginal | None:
        entry: Entry | None = obtained.entry
        stale = obtained.state.detail if obtained.short else ""
        if obtained.body is not None:
            entry, stale = await self._parts.originals.peek(source), NOT_KEPT
        # A killed process may have left the entry in the page cache only. We report it as kept, so make it durable.
        entry = entry and await self._parts.kept.confirm(source.url)
        if entry is None or not await self._is_whole(entry):
            return None
        new = before is None or before.body_sha256 != entry.body_sha256
        return KeptOriginal(
            entry.body_sha256,
            entry.body_size,
            entry.media_type,
            new,
            damaged=entry.damaged,
            stale=stale,
            recovered=str(entry.recovered.get("url", "")) if entry.recovered else "",
        )

    async def _is_whole(self, entry: Entry) -> bool:
        return await self._parts.kept.has_body(entry.body_sha256, entry.body_size)

    def _not_kept(self, obtained: Obtained) -> WarmFailure:
        if self._parts.kept.room_for(obtained.entry.body_size):
            return WarmFailure(NOT_KEPT, "The store could not be written.")
        return WarmFailure(NOT_KEPT, "The store has no room (store.min_free or store.originals_max_bytes).")


def _not_asked() -> SourceTimeout:
    return SourceTimeout("Not asked: its origin has timed out repeatedly.")


def _made(look: VariantToWarm, result: Rendered | MirrorError) -> WarmedVariant:
    if isinstance(result, Rendered):
        return WarmedVariant(look.options, look.browser.name, result.output_format, len(result.body))
    is_beyond = isinstance(result, PictureError) and result.beyond_limits
    redirected = look.resolved.on_error == "original" and is_beyond
    return WarmedVariant(
        look.options, look.browser.name, failure=WarmFailure.of(result), redirected=redirected
    )
