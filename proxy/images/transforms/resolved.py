"""Resolved transforms: the preset is expanded and every option has a value. Pure; runs anywhere.

A resolved transform is rendered, and its `text` names the variant. `text` omits options that change no byte of a
result: the format (which is negotiated, and a separate part of the key), `onerror` and `slow-connection-quality`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.images.geometry import ENLARGING_FITS
from proxy.images.operations import OPTIONS as OPERATION_OPTIONS
from proxy.images.operations.resize import AUTO
from proxy.images.operations.resize import OPTIONS as RESIZE_OPTIONS
from proxy.images.options.readers import Option, Value
from proxy.images.options.wanted import OnError, Wanted
from proxy.images.transforms.output import OPTIONS as OUTPUT_OPTIONS

OPTIONS: dict[str, Option] = {option.name: option for option in (*OPERATION_OPTIONS, *OUTPUT_OPTIONS)}
"""Every option by its long name."""

_ENCODING_DEFAULTS = {option.attribute: option.default for option in OUTPUT_OPTIONS if option.name != "anim"}
_SIZE_DEFAULTS = {option.attribute: option.default for option in RESIZE_OPTIONS} | {
    "upscale": False,
    "anim": True,
    "on_error": "error",
}
HINTABLE = ("width", "dpr")
"""Options that accept the word `auto` for "as the browser says"."""

_WIRE = tuple((name, option.attribute, option.default, option.write) for name, option in OPTIONS.items())
_NOT_IN_TEXT = frozenset({"format", "onerror", "slow-connection-quality"})


@dataclass(frozen=True, kw_only=True)
class Resolved(Wanted):
    """The wanted values, with the text that URLs, signatures, logs and variant names use."""

    # No slots, so that properties computed from the values can be cached. Most transforms never need them.
    @functools.cached_property
    def text(self) -> str:
        """The options that are not at their default; part of the name of a variant."""
        wire = self.to_wire()
        words = [f"{name}={text}" for name, text in sorted(wire.items()) if name not in _NOT_IN_TEXT]
        return ",".join(words)

    @classmethod
    def of(cls, values: Mapping[str, Value], *, on_error: OnError = "error") -> Resolved:
        """Return the transform with `values` by long option name, and defaults for the rest."""
        given: dict[str, Any] = {OPTIONS[name].attribute: value for name, value in values.items()}
        if given.get("upscale") is None:
            given["upscale"] = given.get("fit", "scale-down") in ENLARGING_FITS
        if given.get("onerror") == "redirect":
            on_error = "original"
        hinted = frozenset(name for name in HINTABLE if given.get(name) == AUTO)
        given = {name: value for name, value in given.items() if name not in hinted}
        return cls(**given, on_error=on_error, hinted=hinted)

    @functools.cached_property
    def look(self) -> Resolved:
        """The transform without options that affect only the encoding. Transforms with equal looks give equal
        pixels."""
        return self.replaced(**_ENCODING_DEFAULTS)

    @functools.cached_property
    def only_resizes(self) -> bool:
        """Whether only the size is to change. An SVG need not be drawn for that, because browsers scale it."""
        return self.look.replaced(**_SIZE_DEFAULTS) == Resolved()

    def for_slow_connection(self) -> Resolved:
        """Return the transform for a browser that announced a slow connection."""
        if self.slow_connection_quality is None:
            return self
        return self.replaced(quality=self.slow_connection_quality)

    def for_hints(self, *, width_px: int | None, dpr: float | None) -> Resolved:
        """Return the transform for a browser that shows the picture `width_px` device pixels wide, at `dpr`."""
        changes: dict[str, Any] = {}
        if dpr is not None and "dpr" in self.hinted:
            changes["dpr"] = dpr
        if width_px is not None and "width" in self.hinted:
            density = changes.get("dpr", self.dpr)
            height = None if self.height is None else max(1, round(self.height * density))
            changes = {"width": width_px, "height": height, "dpr": 1.0}
        return self.replaced(**changes) if changes else self

    def to_wire(self) -> dict[str, str]:
        """Return the options that are not at their default as text by long name, for a render process."""
        wire = {}
        for name, attribute, default, write in _WIRE:
            value = getattr(self, attribute)
            if value != (self.fit in ENLARGING_FITS if name == "upscale" else default):
                wire[name] = write(value)
        return wire

    @classmethod
    def from_wire(cls, wire: Mapping[str, str]) -> Resolved:
        """Return the transform from the result of `to_wire`."""
        return cls.of({name: OPTIONS[name].read(text) for name, text in wire.items()})
