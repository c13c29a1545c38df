"""Chooses the options of a new address: the wrapper's, as far as this configuration serves them. Pure.

no size asked                    the place's preset, followed by the wrapper's other options
a srcset states a larger one     the width of the candidate's descriptor, by which browsers choose
a size asked                     the wrapper's options instead of the preset
presets and widths only          the next width of `rewrite.widths`; all other options are lost
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from proxy.dialects.base.asked import SIZE, Options
from proxy.dialects.native import ORIGINAL

Canonical = Callable[[str], str | None]
"""Returns the canonical text of options, or None when the service would not answer them."""

_RAW = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in ",%/?#")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The text of the chosen options, and the names of the wrapper's options that it lacks."""

    options: str
    lost: tuple[str, ...] = ()


class Sizes:
    """Chooses options for one configuration; `widths` are ascending."""

    def __init__(
        self,
        *,
        any_transform: bool,
        widths: tuple[int, ...],
        canonical: Canonical | None = None,
        preset_widths: Mapping[str, int] | None = None,
    ) -> None:
        self._preset_widths = preset_widths or {}
        self._any_transform = any_transform
        self._widths = widths
        self._canonical: Canonical = canonical or str

    def chosen(self, asked: Options, preset: str, *, described_px: int = 0) -> Chosen:
        """Return the options for a place with `preset` whose wrapper asked for `asked`.

        `described_px`: the width of the picture stated by a srcset, 0 without one.
        """
        sized = "width" in asked or "height" in asked
        if not sized and described_px > self._preset_widths.get(preset, described_px):
            asked = asked | {"width": str(described_px)}
        if not asked:
            return Chosen(preset)
        return self._any(asked, preset) if self._any_transform else self._bounded(asked, preset)

    def _any(self, asked: Options, preset: str) -> Chosen:
        known = {name: value for name, value in asked.items() if self._canonical(_text({name: value}))}
        sized = "width" in known or "height" in known
        if sized and (text := self._canonical(_text(known))):
            return Chosen(text, _without(asked, known))
        # Without a size, or with one above `render.max_output_side` or `render.max_output_pixels`, use the preset's.
        known = {name: value for name, value in known.items() if name not in SIZE}
        if preset != ORIGINAL and known and (text := self._canonical(f"{preset},{_text(known)}")):
            return Chosen(text, _without(asked, known))
        return Chosen(preset, tuple(asked))

    def _bounded(self, asked: Options, preset: str) -> Chosen:
        width = _device_width(asked)
        if width is None or not self._widths:
            return Chosen(preset, tuple(asked))
        index = bisect_left(self._widths, width)
        beyond = index == len(self._widths)
        kept = ("width", "dpr") if not beyond else ("dpr",)
        lost = tuple(name for name in asked if name not in kept)
        return Chosen(f"width={self._widths[index - beyond]}", lost)


def _device_width(asked: Options) -> int | None:
    """Return the requested width in device pixels, or None when there is no valid one."""
    try:
        return round(int(asked["width"]) * float(asked.get("dpr", "1")))
    except (KeyError, ValueError, OverflowError):
        return None


def _without(asked: Options, known: Options) -> tuple[str, ...]:
    return tuple(name for name in asked if name not in known)


def _text(options: Options) -> str:
    return ",".join(f"{name}={quote(value, safe=_RAW)}" for name, value in sorted(options.items()))
