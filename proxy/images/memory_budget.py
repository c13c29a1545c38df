"""Estimates the peak memory of a job from the header, before anything is decoded. Pure; runs anywhere.

The estimates are upper bounds in bytes per pixel, measured on pictures of 20 megapixels with Pillow 13.0 and libvips
8.18 (docs/decisions/0010-admission.md). They add up everything that is held at the same time: the decoded picture, the
result of the quick box filter, intermediate pictures, and the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.images.formats import BY_NAME, OUTPUTS

Size = tuple[int, int]

# Pillow stores one byte per pixel in these modes and four in all others.
_ONE_BYTE_MODES = frozenset({"1", "L", "P"})
_ALPHA_COPIES = 8
"""Bytes per pixel for a picture with transparency: one copy from a palette or LA, and a premultiplied one for
filters."""
_DRAWN = 64
"""Bytes per pixel for an SVG: canvas, PNG, picture, and some layers of the size of the canvas."""
_CANVASES = 8
"""Bytes per pixel for a WebP. Pillow opens each as an animation, for which libwebp needs two canvases at once."""
_STRIPS = 2
"""Bytes per pixel for a picture that is decoded strip by strip. The file is mapped, and the window of deflate is
small."""
_COEFFICIENT = 2
"""ITU-T T.81 §G: a JPEG of several scans is held as coefficients in full size, whatever `draft` asks for."""

_LEFT = 16
"""Bytes per pixel left for resampling: the pixels, and the intermediate picture of libvips or Pillow."""
_WORKED = 12
"""Bytes per pixel of a result: resized, filtered, turned."""
_DESCRIBED = 12
"""Bytes per pixel of a result that is described instead of encoded."""
_TRIED = 40
"""Bytes per pixel of a result with quality=auto: two pictures are compared in floating point."""
_MOVING = 12
"""Bytes per pixel for each frame of an animated result. All frames are held at once."""


@dataclass(frozen=True, slots=True)
class ExpectedResult:
    """A result: its size in pixels after dpr, the formats to try, and the number of frames.

    tried: the quality is found by trying (quality=auto).
    """

    size: Size
    formats: tuple[str, ...]
    frames: int = 1
    tried: bool = False


def pixels(size: Size) -> int:
    """Return the number of pixels of a size."""
    return size[0] * size[1]


def pillow_bytes_per_pixel(picture_format: str, mode: str, *, transparent: bool) -> int:
    """Return the bytes per pixel that Pillow needs to decode a picture to `mode` and to make it plain."""
    # Some libraries hold the picture more than once, regardless of the mode: planes, canvases, rows.
    per_pixel = BY_NAME[picture_format].pillow_bytes_per_pixel or (1 if mode in _ONE_BYTE_MODES else 4)
    if transparent:
        return per_pixel + _ALPHA_COPIES
    return per_pixel if mode in {"L", "RGB"} else per_pixel + 4


def pillow(per_pixel: int, *, decoded: Size, left: Size, frames: int) -> int:
    """Return the bytes that Pillow needs to decode `frames` frames of size `decoded` and to reduce each to `left`."""
    return pixels(decoded) * per_pixel + pixels(left) * (_LEFT + 4 * (frames - 1))


def libvips(picture_format: str, *, decoded: Size, left: Size, transparent: bool) -> int:
    """Return the bytes that libvips needs to decode a still picture, including resampling."""
    per_pixel_left = _LEFT + (_ALPHA_COPIES if transparent else 0)
    return (
        pixels(decoded) * (BY_NAME[picture_format].libvips_bytes_per_pixel or _STRIPS)
        + pixels(left) * per_pixel_left
    )


def coefficients(full: Size, samples_per_pixel: float) -> int:
    """Return the bytes that libjpeg needs for a file of several scans, besides the pixels."""
    return round(pixels(full) * samples_per_pixel * _COEFFICIENT)


def canvases(size: Size) -> int:
    """Return the bytes that opening a WebP needs."""
    return pixels(size) * _CANVASES


def drawing(size: Size) -> int:
    """Return the bytes that drawing an SVG needs."""
    return pixels(size) * _DRAWN


def results(wanted: list[ExpectedResult]) -> int:
    """Return the bytes needed to make and encode these results one after the other from the decoded picture."""
    if not wanted:
        return 0
    held = sum(pixels(one.size) * (4 if one.frames == 1 else _MOVING * one.frames) for one in wanted)
    return held + max(
        pixels(one.size) * (max(_WORKED, *map(_encoding, one.formats)) + (_TRIED if one.tried else 0))
        for one in wanted
    )


def _encoding(name: str) -> int:
    return OUTPUTS[name].encoder_bytes_per_pixel if name in OUTPUTS else _DESCRIBED
