"""Lists the variants of each picture that a visitor may ask for. Pure.

Articles name options as presets (`content`) or spell them out (`headimg,width=800`). With `format=auto` different
browsers get different variants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from proxy.config import PresetOptions
from proxy.errors import MirrorError
from proxy.images.formats import UNTOUCHED
from proxy.images.transforms.transform import Resolved, Transform
from proxy.services.warm.warming import Browser, PictureToWarm, VariantToWarm, WarmedVariant, WarmFailure

ORIGINAL = "original"


class Looks:
    """Computes looks from presets and browsers. Results are cached, because most pictures have the same options."""

    def __init__(
        self,
        presets: Mapping[str, PresetOptions],
        browsers: tuple[Browser, ...],
        *,
        widths: tuple[int, ...] = (),
    ) -> None:
        self._widths = widths
        self._presets = presets
        self._browsers = browsers
        self._known: dict[str, tuple[VariantToWarm, ...] | MirrorError] = {}

    def of(self, work: PictureToWarm) -> tuple[tuple[VariantToWarm, ...], tuple[WarmedVariant, ...]]:
        """Return the looks of a picture, and a failure for each of its options that is invalid."""
        looks: list[VariantToWarm] = []
        failed: list[WarmedVariant] = []
        for options in work.options:
            found = self._of(options)
            if isinstance(found, MirrorError):
                failed.append(WarmedVariant(options, "", failure=WarmFailure.of(found)))
            else:
                looks.extend(found)
        return tuple(looks), tuple(failed)

    def is_bounded(self, options: str) -> bool:
        """Return whether valid options are a preset, the original, or one of the widths of articles."""
        return options == ORIGINAL or Transform.parse(options).is_bounded(self._widths)

    def _of(self, options: str) -> tuple[VariantToWarm, ...] | MirrorError:
        if options not in self._known:
            self._known[options] = self._read(options)
        return self._known[options]

    def _read(self, options: str) -> tuple[VariantToWarm, ...] | MirrorError:
        if options == ORIGINAL:
            return ()
        try:
            resolved = Transform.parse(options).resolved(self._presets)
        except MirrorError as error:
            return error
        if resolved.format == "auto":
            return tuple(
                VariantToWarm(options, resolved, _for(resolved, browser)) for browser in self._browsers
            )
        return (VariantToWarm(options, resolved, Browser("*/*", (resolved.format,))),)


def _for(resolved: Resolved, browser: Browser) -> Browser:
    """Return `browser` with SVG acceptable when only the size is requested; every browser shows an SVG as it is."""
    return replace(browser, acceptable=(*browser.acceptable, UNTOUCHED)) if resolved.only_resizes else browser
