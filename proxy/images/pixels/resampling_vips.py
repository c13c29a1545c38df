"""Resamples with libvips: the same filter as Pillow's, on the processor's vector units. Runs in render processes."""

from __future__ import annotations

from PIL import Image

from proxy.images.geometry import Size
from proxy.images.pixels.ownvips import pyvips
from proxy.images.pixels.resampling import Box, by_pillow
from proxy.images.pixels.zero_copy import Packed, Pixels

_FROM_PIXELS = 1 << 16
"""Below this size Pillow is as fast, and it supports boxes whose edges lie inside pixels."""
_MAX_FACTOR = 16


def by_libvips(picture: Image.Image, size: Size, box: Box) -> Image.Image:
    """Return the part `box` of `picture` in `size`. Cases in which libvips differs from Pillow are left to Pillow."""
    left, top, right, bottom = (round(edge) for edge in box)
    width, height = right - left, bottom - top
    shrinks = size[0] <= width <= size[0] * _MAX_FACTOR and size[1] <= height <= size[1] * _MAX_FACTOR
    if not shrinks or width * height < _FROM_PIXELS:
        return by_pillow(picture, size, box)
    # Premultiply alpha, as Pillow does, so that the colours of transparent pixels do not bleed.
    source = picture.convert("RGBa") if picture.mode == "RGBA" else picture
    image, layout = _shared(source, (left, top, right, bottom))
    smaller = image.resize(size[0] / width, vscale=size[1] / height, kernel="lanczos3", gap=0)
    if (smaller.width, smaller.height) != size:
        return by_pillow(picture, size, box)
    # Use libvips' own thread, which keeps its buffers. On our thread, every strip would take new, cleared memory.
    result = Image.frombytes(source.mode, size, smaller.write_to_memory(), "raw", layout)
    return result.convert("RGBA") if source.mode == "RGBa" else result


def _shared(picture: Image.Image, box: tuple[int, int, int, int]) -> tuple[pyvips.Image, str]:
    """Return the part `box` of `picture` as a libvips image, and the layout of its pixels."""
    if isinstance(picture, Packed) and picture.packed is not None:
        image = _image(picture.packed, picture.size, picture.layout)
        if box == (0, 0, *picture.size):
            # Most pictures are shown whole, and even a no-op of libvips costs time for a small one.
            return image, picture.layout
        return image.crop(box[0], box[1], box[2] - box[0], box[3] - box[1]), picture.layout
    if box != (0, 0, *picture.size):
        picture = picture.crop(box)
    return _image(picture.tobytes(), picture.size, picture.mode), picture.mode


def _image(pixels: Pixels, size: Size, layout: str) -> pyvips.Image:
    return pyvips.Image.new_from_memory(pixels, *size, len(layout), pyvips.BandFormat.UCHAR)
