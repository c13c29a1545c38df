"""Resizes pictures, the only costly step besides the codecs. Pure; runs in render processes."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from proxy.images.geometry import Size

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the picture; an edge may lie inside a pixel."""
Resample = Callable[[Image.Image, Size, Box], Image.Image]
"""Takes a picture in mode L, RGB or RGBA, the wanted size and the part to show. The filter is Lanczos with three
lobes."""

_REDUCING_GAP = 2.0
"""How many times larger than the result the box-filtered intermediate is (Pillow advises 2 to 3 for LANCZOS)."""


def by_pillow(picture: Image.Image, size: Size, box: Box) -> Image.Image:
    """Return the part `box` of `picture` in `size`."""
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_REDUCING_GAP)
