"""Chooses filter and compression level of a PNG, for any writer. Pure; runs in render processes.

The filter matters more than the level. Measured on results of 400 to 512 px: flat drawings are smallest without a
filter, busier ones gain from their left neighbour, and photos from Paeth's predictor. For photos, more than level 2
gains 1 % for a tenth more time (docs/decisions/0029-rendering-costs.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image


@dataclass(frozen=True, slots=True)
class PngEffort:
    """The filter of all rows (PNG third edition §9) and the level of deflate, 0 to 9."""

    row_filter: Literal["none", "sub", "paeth"]
    level: int


FLAT = PngEffort("none", 7)
BUSY = PngEffort("sub", 6)
PHOTO = PngEffort("paeth", 2)

WritePng = Callable[[Image.Image, PngEffort], bytes]
"""Takes a picture in mode L, RGB or RGBA and returns it as a PNG without metadata. Raises OSError if it cannot."""
