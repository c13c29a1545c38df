"""How many bytes a job takes at its peak, told from the header before anything is decoded. Pure; runs anywhere.

Estimates from above, in bytes per pixel, measured on pictures of 20 megapixels with Pillow 13.0 and libvips 8.18
(docs/decisions/0010-admission.md). What is held at the same time is added up: the decoded picture, what the quick
box filter leaves of it, what is worked on, and the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.images.formats import BY_NAME, OUTPUTS

Size = tuple[int, int]

# Pillow keeps one byte a pixel in these modes, and four in all others.
_ONE_BYTE_MODES = frozenset({"1", "L", "P"})
_ALPHA_COPIES = 8
"""Of a picture with transparency: straight from a palette or LA, and multiplied for the filters."""
_DRAWN = 64
"""Of an SVG: canvas, PNG, picture, and some layers of the size of the canvas."""
_CANVASES = 8
"""Of a WebP: Pillow opens each as an animation, for which libwebp takes two canvases at once."""
_STRIPS = 2
"""Of a picture that is decoded strip by strip; the file is mapped, the window of deflate is small."""
_COEFFICIENT = 2
"""ITU-T T.81 §G: a JPEG of several scans is held as coefficients, at full size, whatever `draft` asks for."""

_LEFT = 16
"""Of what is left for resampling: the pixels, and libvips' or Pillow's intermediate picture."""
_WORKED = 12
"""Of a result: resized, filtered, turned."""
_DESCRIBED = 12
"""Of a result that is described instead of encoded."""
_TRIED = 40
"""Of a result whose quality is found by trying: two pictures compared in floating point."""
_MOVING = 12
"""Of each frame of an animated result, all of which are held at once."""


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    """A result: its size in pixels after dpr, the formats that are tried, the number of frames.

    tried: `quality=auto`.
    """

    size: Size
    formats: tuple[str, ...]
    frames: int = 1
    tried: bool = False


def pixels(size: Size) -> int:
    """Return the area of a size."""
    return size[0] * size[1]


def pillow_bytes_per_pixel(picture_format: str, mode: str, *, transparent: bool) -> int:
    """Return what Pillow takes to decode a picture to `mode` and to make it plain."""
    # Some libraries hold the picture more than once, whatever the mode: planes, canvases, rows.
    per_pixel = BY_NAME[picture_format].pillow_bytes_per_pixel or (1 if mode in _ONE_BYTE_MODES else 4)
    if transparent:
        return per_pixel + _ALPHA_COPIES
    return per_pixel if mode in {"L", "RGB"} else per_pixel + 4


def pillow(per_pixel: int, *, decoded: Size, left: Size, frames: int) -> int:
    """Return what Pillow takes to decode `frames` frames of the size `decoded`, each made smaller to `left`."""
    return pixels(decoded) * per_pixel + pixels(left) * (_LEFT + 4 * (frames - 1))


def libvips(picture_format: str, *, decoded: Size, left: Size, transparent: bool) -> int:
    """Return what libvips takes to decode a still, and what resampling needs besides."""
    per_pixel_left = _LEFT + (_ALPHA_COPIES if transparent else 0)
    return (
        pixels(decoded) * (BY_NAME[picture_format].libvips_bytes_per_pixel or _STRIPS)
        + pixels(left) * per_pixel_left
    )


def coefficients(full: Size, samples_per_pixel: float) -> int:
    """Return what libjpeg takes for a file of several scans, besides the pixels."""
    return round(pixels(full) * samples_per_pixel * _COEFFICIENT)


def canvases(size: Size) -> int:
    """Return what opening a WebP takes."""
    return pixels(size) * _CANVASES


def drawing(size: Size) -> int:
    """Return what drawing an SVG takes."""
    return pixels(size) * _DRAWN


def results(wanted: list[ExpectedResult]) -> int:
    """Return what it takes to make and encode these, one after the other, from what was decoded."""
    if not wanted:
        return 0
    held = sum(pixels(one.size) * (4 if one.frames == 1 else _MOVING * one.frames) for one in wanted)
    return held + max(
        pixels(one.size) * (max(_WORKED, *map(_encoding, one.formats)) + (_TRIED if one.tried else 0))
        for one in wanted
    )


def _encoding(name: str) -> int:
    return OUTPUTS[name].encoder_bytes_per_pixel if name in OUTPUTS else _DESCRIBED
