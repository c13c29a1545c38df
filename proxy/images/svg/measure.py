"""Determines the size that a drawing declares, in CSS pixels. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

DEFAULT_SIZE = (300.0, 150.0)
"""CSS 2.2 §10.3.2: the size of a picture that declares none."""

_LENGTH = re.compile(
    r"\s*\+?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(?:[eE]([+-]?\d))?\s*(px|pt|pc|mm|cm|in|em|ex)?\s*"
)
_UNIT_PX = {
    "px": 1.0,
    "pt": 96 / 72,
    "pc": 16.0,
    "mm": 96 / 25.4,
    "cm": 96 / 2.54,
    "in": 96.0,
    "em": 16.0,
    "ex": 8.0,
}


def view_box(text: str) -> tuple[float, float] | None:
    """Return width and height of a viewBox, or None if it is invalid or empty."""
    parts = re.split(r"[\s,]+", text.strip()[:200])
    try:
        _, _, width, height = (float(part) for part in parts)
    except ValueError:
        return None
    return (width, height) if 0 < width < math.inf and 0 < height < math.inf else None


def size(attributes: Mapping[str, str], view: tuple[float, float] | None) -> tuple[float, float]:
    """Return the size that CSS 2.2 §10.3.2 gives a replaced element with these attributes."""
    width, height = _length(attributes.get("width", "")), _length(attributes.get("height", ""))
    if view is not None:
        if width is None and height is None:
            return view
        width = width if width is not None else (height or 0) * view[0] / view[1]
        height = height if height is not None else width * view[1] / view[0]
    return width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1]


def _length(text: str) -> float | None:
    """Return a length in CSS pixels, or None for percentages, for `auto`, and for anything that is not a length."""
    match = _LENGTH.fullmatch(text[:64])
    if match is None:
        return None
    value = float(match[1]) * 10.0 ** int(match[2] or 0) * _UNIT_PX[match[3] or "px"]
    return value if value > 0 else None
