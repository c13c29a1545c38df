"""Reads client hints. Pure.

A browser describes its connection with `Save-Data` and with `ECT` and `Downlink` (Network Information). It describes
the place of a picture with `Sec-CH-Width` and `Sec-CH-DPR`, before 2021 named `Width` and `DPR`.

The page asks for hints, we cannot: a browser sends all but `Save-Data` to other hosts only when the page's own answer
carried `Accept-CH` and a `Permissions-Policy` that names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

CONNECTION_HINTS = ("Save-Data", "ECT", "Downlink")
WIDTH_HINTS = ("Sec-CH-Width", "Width")
DPR_HINTS = ("Sec-CH-DPR", "DPR")

WIDTH_STEPS_PX = (160, 240, 320, 480, 640, 800, 960, 1200, 1600, 2000, 2400, 3200, 4096)
"""Device pixels to which a width from a hint is rounded up, so that not every window size needs its own variant."""
DPR_STEPS = (1.0, 1.5, 2.0, 3.0)
"""Densities to which a density from a hint is rounded up. People cannot see more than three pixels for one."""

_SLOW_TYPES = frozenset({"slow-2g", "2g", "3g"})
_SLOW_BELOW_MBIT = 1.5
_NUMBER = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")

_Number = TypeVar("_Number", int, float)


class Hints(NamedTuple):
    """The hints of a request that its answer depends on. width_px: device pixels. Width and density are steps."""

    slow: bool = False
    width_px: int | None = None
    dpr: float | None = None

    def downwards(self) -> Iterator[Hints]:
        """Yield these hints, then smaller and smaller ones, for a transform that exceeds the limits."""
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
        """The header names of these hints, for `Vary`."""
        names = CONNECTION_HINTS if self.connection else ()
        return names + (WIDTH_HINTS if self.width else ()) + (DPR_HINTS if self.dpr else ())

    @property
    def accept_ch(self) -> tuple[str, ...]:
        """The current names of the hints about the picture's place, for `Accept-CH` (RFC 8942 §3.1)."""
        return (WIDTH_HINTS[:1] if self.width else ()) + (DPR_HINTS[:1] if self.dpr else ())

    def read(self, headers: Mapping[str, str]) -> Hints:
        """Return the hints in `headers`. A header that cannot be read counts as absent."""
        width = _number(headers, WIDTH_HINTS) if self.width else None
        dpr = _number(headers, DPR_HINTS) if self.dpr else None
        return Hints(
            slow=self.connection and is_slow(headers),
            width_px=None if width is None else _step(width, WIDTH_STEPS_PX),
            dpr=None if dpr is None else _step(dpr, DPR_STEPS),
        )


def is_slow(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes over a slow connection or asks to save data."""
    # Save-Data is a list with parameters. `on` is its only word with a meaning.
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
    """Return `step` and all smaller steps in descending order; only None when `step` is None."""
    return (None,) if step is None else steps[steps.index(step) :: -1]
