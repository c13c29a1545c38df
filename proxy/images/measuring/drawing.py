"""Tells drawings from photos by their pixels (docs/pictures.md, "Drawings"). Pure; runs in render processes.

Charts, screenshots, logos and comics have few colours, or large areas of a single colour. Lossless formats often hold
them in fewer bytes than formats for photos, and keep their letters sharp.
"""

from __future__ import annotations

from PIL import Image

from proxy.images.formats import LOSSLESS
from proxy.images.pixels.flatness import flat_share, has_few_colours

FLAT_SHARE = 1 / 3
"""The share of flat pixels from which a picture is a drawing. Photos have fewer, except for skies and studio walls
without any detail. For these, trying more encoders only costs time."""
MIN_PIXELS = 10_000
"""Smaller pictures have a few hundred bytes in every format, mostly headers."""


def drawing_and_flatness(picture: Image.Image, source_format: str) -> tuple[bool, float | None]:
    """Return whether a picture has few colours, or flat areas that came from a lossless source, and the share of flat
    pixels if it had to be measured."""
    if picture.width * picture.height < MIN_PIXELS or picture.getcolors(1) is not None:
        return False, None
    if has_few_colours(picture):
        return True, None
    if source_format not in LOSSLESS:
        return False, None
    flat = flat_share(picture)
    return flat >= FLAT_SHARE, flat
