"""Telling drawings from photos by their pixels (docs/pictures.md, "Drawings"). Pure; runs in render processes.

Charts, screenshots, logos and comics have few colours, or wide areas of one colour each. Lossless formats often hold
them in fewer bytes than those made for photos, and keep their letters sharp.
"""

from __future__ import annotations

from PIL import Image

from proxy.images.formats import LOSSLESS
from proxy.images.measuring.flatness import flat_share, has_few_colours

FLAT_SHARE = 1 / 3
"""Of the pixels. Photos stay below, but for skies and studio walls without any detail, where trying more encoders costs
time and nothing else."""
MIN_PIXELS = 10_000
"""Smaller ones are a few hundred bytes in every format, mostly headers."""


def is_drawing(picture: Image.Image, source_format: str) -> bool:
    """Tell whether a picture has few colours, or flat areas that came from a lossless source."""
    return drawing_and_flatness(picture, source_format)[0]


def drawing_and_flatness(picture: Image.Image, source_format: str) -> tuple[bool, float | None]:
    """Return what `is_drawing` says, and the share of flat pixels if it had to be measured for that."""
    if picture.width * picture.height < MIN_PIXELS or picture.getcolors(1) is not None:
        return False, None
    if has_few_colours(picture):
        return True, None
    if source_format not in LOSSLESS:
        return False, None
    flat = flat_share(picture)
    return flat >= FLAT_SHARE, flat
