"""Resampling with libvips: the same filter as Pillow's, on the processor's vector units. Runs in render processes."""

from __future__ import annotations

import pyvips
from PIL import Image

from proxy.images.geometry import Size
from proxy.images.resampling import Box, by_pillow

_FROM_PIXELS = 1 << 16
"""Below that Pillow is as fast, and cuts through pixels where a box says so."""
_MAX_FACTOR = 16
_STRIP_ROWS = 64


def by_libvips(picture: Image.Image, size: Size, box: Box) -> Image.Image:
    """Return `box` of `picture` in `size`. What libvips would do otherwise than Pillow is left to Pillow."""
    left, top, right, bottom = (round(edge) for edge in box)
    width, height = right - left, bottom - top
    shrinks = size[0] <= width <= size[0] * _MAX_FACTOR and size[1] <= height <= size[1] * _MAX_FACTOR
    if not shrinks or width * height < _FROM_PIXELS:
        return by_pillow(picture, size, box)
    # Colours of transparent pixels must not shine through: alpha is multiplied in, as Pillow does it.
    source = picture.convert("RGBa") if picture.mode == "RGBA" else picture
    if (left, top, right, bottom) != (0, 0, *source.size):
        source = source.crop((left, top, right, bottom))
    image = pyvips.Image.new_from_memory(
        source.tobytes(), width, height, len(source.getbands()), pyvips.BandFormat.UCHAR
    )
    smaller = image.resize(size[0] / width, vscale=size[1] / height, kernel="lanczos3", gap=0)
    if (smaller.width, smaller.height) != size:
        return by_pillow(picture, size, box)
    # Strips in order, on this thread: intermediate rows stay in the cache, and nothing is started.
    region = pyvips.Region.new(smaller)
    strips = [
        region.fetch(0, row, size[0], min(_STRIP_ROWS, size[1] - row))
        for row in range(0, size[1], _STRIP_ROWS)
    ]
    result = Image.frombytes(source.mode, size, b"".join(strips))
    return result.convert("RGBA") if source.mode == "RGBa" else result
