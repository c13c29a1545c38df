"""Making a picture smaller or larger, the one costly step besides the codecs. Pure; runs in render processes."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from proxy.images.geometry import Size

Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels of the picture; pixels may be cut through."""
Resample = Callable[[Image.Image, Size, Box], Image.Image]
"""Takes a picture in mode L, RGB or RGBA, the size wanted and the part to show; Lanczos with three lobes."""

_REDUCING_GAP = 2.0
"""How much larger than the result the box-filtered intermediate stays (Pillow's advice for LANCZOS: 2 to 3)."""


def by_pillow(picture: Image.Image, size: Size, box: Box) -> Image.Image:
    """Return `box` of `picture` in `size`."""
    return picture.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=_REDUCING_GAP)
