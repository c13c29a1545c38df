"""Computes sizes: from a picture's size and the wanted one to crop box, size and canvas. Pure; runs anywhere.

With the picture W x H, the area w x h (after dpr), s = min(w/W, h/H) and S = max(w/W, h/H):

    scale-down   scale min(s, 1)
    contain      scale s, at most 1 unless upscale
    cover        scale S and cut the overhang; without upscale the largest cut of the area's shape, at most w x h
    crop         as cover; without upscale, a picture smaller than the area in one direction as scale-down
    pad          scale s (at most 1 unless upscale) on a canvas of w x h
    squeeze      w x h, changing the shape; without upscale each side at most the picture's
    cover-down   cover of min(w, W) x min(h, H): nothing is enlarged, and a side that is too short is not cut
    pad-down     pad, and
    squeeze-down squeeze, of the area times min(1, W/w, H/h): nothing is enlarged, and the area keeps its shape
    oriented     if picture and area are both upright or neither is: cover, cover-down without upscale; else contain

The last four exist for the addresses of other proxies, whose modes mostly do not enlarge. With one side only, every fit
is contain with its own upscale rule. With none, the picture keeps its size. An address that asks for more than the
limits is refused. A size beyond the limits that merely follows from the picture's shape is scaled down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from proxy.errors import InvalidTransform
from proxy.images.options.wanted import Wanted

Size = tuple[int, int]
Box = tuple[float, float, float, float]

FITS = (
    "scale-down", "contain", "cover", "crop", "pad", "squeeze", "cover-down", "pad-down", "squeeze-down",
    "oriented",
)  # fmt: skip
ENLARGING_FITS = frozenset({"cover", "crop", "pad", "squeeze"})
"""Fits that may enlarge if `upscale` is absent."""
DOWN_FITS = frozenset({"cover-down", "pad-down", "squeeze-down"})
"""Fits that never enlarge, whatever `upscale` says."""

SIDES = {
    "center": (0.5, 0.5),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "top-left": (0.0, 0.0),
    "top-right": (1.0, 0.0),
    "bottom-left": (0.0, 1.0),
    "bottom-right": (1.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """The limits on the size of a result, after dpr."""

    max_side: int = 8192
    max_pixels: int = 40_000_000


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """The steps of resizing: cut `crop` (left, top, right, bottom in pixels of `natural`), scale it to `size`, and put
    that on `canvas`. All sizes are (width, height)."""

    natural: Size
    crop: Box
    size: Size
    canvas: Size

    @property
    def scale(self) -> float:
        """The larger of the two factors by which the size of the cut changes."""
        left, top, right, bottom = self.crop
        return max(self.size[0] / (right - left), self.size[1] / (bottom - top))


def focus_of(gravity: str) -> tuple[float, float]:
    """Return the point, in 0-1, for `gravity`. `auto` counts as the centre until `settled` has replaced it."""
    if gravity in SIDES:
        return SIDES[gravity]
    if gravity == "auto":
        return SIDES["center"]
    x, _, y = gravity.partition("x")
    return float(x), float(y)


def asked_area(wanted: Wanted) -> tuple[int | None, int | None]:
    """Return the asked width and height in device pixels."""
    return _times(wanted.width, wanted.dpr), _times(wanted.height, wanted.dpr)


def _times(side: int | None, dpr: float) -> int | None:
    return None if side is None else max(1, round(side * dpr))


def require_within(wanted: Wanted, limits: OutputLimits) -> None:
    """Check a wish against `limits`.

    Raises:
        InvalidTransform: it asks for more; the message names the option and the limit.
    """
    width, height = asked_area(wanted)
    for name, side in (("width", width), ("height", height)):
        if side is not None and side > limits.max_side:
            raise InvalidTransform(
                f"Option {name}: {side} px with dpr is more than the {limits.max_side} allowed."
            )
    if width and height and width * height > limits.max_pixels:
        raise InvalidTransform(
            f"Options width and height: {width} x {height} px with dpr is more than the {limits.max_pixels} allowed."
        )


def make_plan(natural: Size, wanted: Wanted, *, limits: OutputLimits) -> ResizePlan:
    """Return the steps of resizing a picture of `natural` size.

    Raises:
        InvalidTransform: the wish asks for more than `limits` allow.
    """
    require_within(wanted, limits)
    width, height = asked_area(wanted)
    whole = (0.0, 0.0, float(natural[0]), float(natural[1]))
    if width is None or height is None:
        size = _one_sided(natural, width, height, upscale=_may_enlarge(wanted))
        plan = ResizePlan(natural, whole, size, size)
    else:
        plan = _in_area(natural, (width, height), wanted)
    return _within(plan, limits)


def _may_enlarge(wanted: Wanted) -> bool:
    return wanted.upscale and wanted.fit != "scale-down" and wanted.fit not in DOWN_FITS


def _one_sided(natural: Size, width: int | None, height: int | None, *, upscale: bool) -> Size:
    if width is None and height is None:
        return natural
    if width is not None and (upscale or width < natural[0]):
        return width, _side(natural[1] * width / natural[0])
    if height is not None and (upscale or height < natural[1]):
        return _side(natural[0] * height / natural[1]), height
    return natural


def _in_area(natural: Size, area: Size, wanted: Wanted) -> ResizePlan:
    whole = (0.0, 0.0, float(natural[0]), float(natural[1]))
    if wanted.fit == "oriented":
        wanted = wanted.replaced(fit=_oriented(natural, area, upscale=wanted.upscale))
    if wanted.fit in DOWN_FITS:
        area = _at_most(natural, area, keeping_shape=wanted.fit != "cover-down")
    if wanted.fit == "cover-down":
        return ResizePlan(natural, _largest_cut(natural, area, focus_of(wanted.gravity)), area, area)
    if wanted.fit in {"cover", "crop"}:
        return _cut(natural, area, wanted)
    if wanted.fit == "squeeze-down":
        return ResizePlan(natural, whole, area, area)
    if wanted.fit == "squeeze":
        size = area if wanted.upscale else (min(area[0], natural[0]), min(area[1], natural[1]))
        return ResizePlan(natural, whole, size, size)
    size = _inside(natural, area, upscale=_may_enlarge(wanted))
    return ResizePlan(natural, whole, size, area if wanted.fit in {"pad", "pad-down"} else size)


def _oriented(natural: Size, area: Size, *, upscale: bool) -> str:
    # A square is not upright (imgproxy's resizing type `auto`).
    if (natural[0] < natural[1]) != (area[0] < area[1]):
        return "contain"
    return "cover" if upscale else "cover-down"


def _at_most(natural: Size, area: Size, *, keeping_shape: bool) -> Size:
    """Return the area reduced so that no side is longer than the picture's."""
    if not keeping_shape:
        return min(area[0], natural[0]), min(area[1], natural[1])
    if area[0] <= natural[0] and area[1] <= natural[1]:
        return area
    # Compare whole numbers, so that the limiting side is exactly the picture's.
    if natural[0] * area[1] <= natural[1] * area[0]:
        return natural[0], min(natural[1], _side(area[1] * natural[0] / area[0]))
    return min(natural[0], _side(area[0] * natural[1] / area[1])), natural[1]


def _inside(natural: Size, area: Size, *, upscale: bool) -> Size:
    if not upscale and natural[0] <= area[0] and natural[1] <= area[1]:
        return natural
    # Compare whole numbers, so that the limiting side is exactly the one asked for.
    if area[0] * natural[1] <= area[1] * natural[0]:
        return area[0], min(area[1], _side(natural[1] * area[0] / natural[0]))
    return min(area[0], _side(natural[0] * area[1] / natural[1])), area[1]


def _cut(natural: Size, area: Size, wanted: Wanted) -> ResizePlan:
    smaller = natural[0] < area[0] or natural[1] < area[1]
    if smaller and not wanted.upscale:
        if wanted.fit == "crop":
            whole = (0.0, 0.0, float(natural[0]), float(natural[1]))
            size = _inside(natural, area, upscale=False)
            return ResizePlan(natural, whole, size, size)
        crop = _largest_cut(natural, area, focus_of(wanted.gravity))
        size = _side(crop[2] - crop[0]), _side(crop[3] - crop[1])
        return ResizePlan(natural, crop, size, size)
    return ResizePlan(natural, _largest_cut(natural, area, focus_of(wanted.gravity)), area, area)


def _largest_cut(natural: Size, area: Size, focus: tuple[float, float]) -> Box:
    width = min(float(natural[0]), natural[1] * area[0] / area[1])
    height = min(float(natural[1]), natural[0] * area[1] / area[0])
    # A very flat area must not make a cut of less than one pixel.
    width, height = max(1.0, width), max(1.0, height)
    left = (natural[0] - width) * focus[0]
    top = (natural[1] - height) * focus[1]
    return left, top, min(left + width, natural[0]), min(top + height, natural[1])


def _within(plan: ResizePlan, limits: OutputLimits) -> ResizePlan:
    width, height = plan.canvas
    factor = min(1.0, limits.max_side / max(width, height), math.sqrt(limits.max_pixels / (width * height)))
    if factor == 1.0:
        return plan
    # Only sizes that nobody asked for explicitly come here.
    size = min(limits.max_side, _side(width * factor)), min(limits.max_side, _side(height * factor))
    if size[0] * size[1] > limits.max_pixels:
        # Rounding exceeded the limit. Keep the shape of the shorter side and round down.
        short = max(1, math.floor(min(width, height) * factor))
        long = math.floor(short * max(width, height) / min(width, height))
        long = max(1, min(long, limits.max_side, limits.max_pixels // short))
        size = (short, long) if width <= height else (long, short)
    return ResizePlan(plan.natural, plan.crop, size, size)


def _side(length: float) -> int:
    return max(1, round(length))
