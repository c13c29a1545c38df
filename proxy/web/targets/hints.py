"""Client hints: what a browser says about its line (`Save-Data`, and `ECT`, `Downlink` of Network Information), and
about the place of a picture (`Sec-CH-Width`, `Sec-CH-DPR`, and their names before 2021, `Width` and `DPR`). Pure.

They are asked for by the page, not by us: a browser sends all but `Save-Data` to other hosts only where the page's
own answer carried `Accept-CH` and a `Permissions-Policy` that names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

CONNECTION_HINTS = ("Save-Data", "ECT", "Downlink")
WIDTH_HINTS = ("Sec-CH-Width", "Width")
DPR_HINTS = ("Sec-CH-DPR", "DPR")

WIDTH_STEPS_PX = (160, 240, 320, 480, 640, 800, 960, 1200, 1600, 2000, 2400, 3200, 4096)
"""Device pixels that a width from a hint is rounded up to, so that visitors' windows make no variant each."""
DPR_STEPS = (1.0, 1.5, 2.0, 3.0)
"""Densities that one from a hint is rounded up to. More than three pixels for one are not seen."""

_SLOW_TYPES = frozenset({"slow-2g", "2g", "3g"})
_SLOW_BELOW_MBIT = 1.5
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

_Number = TypeVar("_Number", int, float)


class Hints(NamedTuple):
    """What a request said, as far as its address minds it. width_px: device pixels; both numbers are steps."""

    slow: bool = False
    width_px: int | None = None
    dpr: float | None = None

    def downwards(self) -> Iterator[Hints]:
        """Yield these hints and then ever smaller ones, for whoever cannot have so much."""
        for dpr in _not_above(self.dpr, DPR_STEPS):
            for width_px in _not_above(self.width_px, WIDTH_STEPS_PX):
                yield Hints(self.slow, width_px, dpr)


NO_HINTS = Hints()


class Minded(NamedTuple):
    """Which hints the answer of an address depends on."""

    connection: bool = False
    width: bool = False
    dpr: bool = False

    @property
    def vary(self) -> tuple[str, ...]:
        """The names of their headers, for `Vary`."""
        names = CONNECTION_HINTS if self.connection else ()
        return names + (WIDTH_HINTS if self.width else ()) + (DPR_HINTS if self.dpr else ())

    @property
    def accept_ch(self) -> tuple[str, ...]:
        """The hints of the picture's place to ask for (RFC 8942 §3.1), under their present names."""
        return (WIDTH_HINTS[:1] if self.width else ()) + (DPR_HINTS[:1] if self.dpr else ())

    def read(self, headers: Mapping[str, str]) -> Hints:
        """Return what `headers` say. What cannot be read counts as not said."""
        width = _number(headers, WIDTH_HINTS) if self.width else None
        dpr = _number(headers, DPR_HINTS) if self.dpr else None
        return Hints(
            slow=self.connection and is_slow(headers),
            width_px=None if width is None else _step(width, WIDTH_STEPS_PX),
            dpr=None if dpr is None else _step(dpr, DPR_STEPS),
        )


def is_slow(headers: Mapping[str, str]) -> bool:
    """Tell whether a request comes over a slow line, or from somebody who pays for every byte."""
    # Save-Data is a list with parameters, of which `on` is the only word with a meaning.
    saving = (word.strip().lower() for word in re.split("[,;]", headers.get("Save-Data", "")))
    if "on" in saving or headers.get("ECT", "").strip().lower() in _SLOW_TYPES:
        return True
    downlink = headers.get("Downlink", "").strip()
    return _NUMBER.fullmatch(downlink) is not None and float(downlink) < _SLOW_BELOW_MBIT


def _number(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    text = next((headers[name].strip() for name in names if name in headers), "")
    return float(text) if _NUMBER.fullmatch(text) and float(text) > 0 else None


def _step(wanted: float, steps: Sequence[_Number]) -> _Number:
    return next((step for step in steps if step >= wanted), steps[-1])


def _not_above(step: _Number | None, steps: Sequence[_Number]) -> Sequence[_Number | None]:
    """Return `step` and the smaller ones, falling; None alone for none."""
    return (None,) if step is None else steps[steps.index(step) :: -1]
