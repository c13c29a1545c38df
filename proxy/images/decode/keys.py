"""The single transparent colour of a PNG without alpha (tRNS), where Pillow compares it wrongly. Pure.

Two good examples: 2-bit grey 3 becomes 255 when the pixels are expanded to eight bits; 16-bit red (1, 0, 0) differs
from (2, 0, 0), although both are (0, 0, 0) in eight bits.
"""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageChops, ImageFile

from proxy.images.decode.body import Body

_STEPS = {"L;2": 85, "L;4": 17}
"""The distance between two adjacent values after the expansion to eight bits, by Pillow's raw mode."""
_WIDE = "RGB;16B"
_LOW_BYTES = "RGB;16L"
"""Reads two bytes in the other order, so that the low byte of a big-endian number remains."""


def raw_mode(image: ImageFile.ImageFile) -> str:
    """Return the raw mode of the samples in the file."""
    return str(image.tile[0].args) if image.tile else ""


def scale_key(image: ImageFile.ImageFile) -> None:
    """Expand the transparent value of a 2- or 4-bit grey PNG to eight bits, as Pillow does with its pixels."""
    step, key = _STEPS.get(raw_mode(image)), image.info.get("transparency")
    if step and isinstance(key, int):
        image.info["transparency"] = key * step


def has_wide_key(image: ImageFile.ImageFile) -> bool:
    """Return whether the file has a transparent 16-bit colour in three channels. Pillow keeps only eight of these
    bits."""
    return raw_mode(image) == _WIDE and isinstance(image.info.get("transparency"), tuple)


def cleared(high: Image.Image, body: Body) -> Image.Image:
    """Return the picture of the high bytes, transparent where both the high and the low bytes are those of the key."""
    low = body.opened()
    low.tile = [tile._replace(args=_LOW_BYTES) for tile in low.tile]
    low.load()
    alpha = Image.new("L", high.size)
    for bands, shift in ((high.split(), 8), (low.split(), 0)):
        for band, value in zip(bands, high.info["transparency"], strict=True):
            alpha = ImageChops.lighter(alpha, band.point(_differs_from(value >> shift & 255)))
    picture = high.copy()
    picture.info = {}
    picture.putalpha(alpha)
    return picture


def _differs_from(value: int) -> list[Any]:
    return [0 if number == value else 255 for number in range(256)]
