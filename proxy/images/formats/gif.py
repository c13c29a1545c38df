"""GIF (GIF89a). Pure; written in render processes."""

from __future__ import annotations

import itertools
import math
from typing import Any

from PIL import Image

from proxy.images.files import structure
from proxy.images.files.mending import gif as mending
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import MAX_REPEATS, Moving, saved

_MAX_DELAY_MS = 655_350
"""GIF89a §23.c.vii: 16 bits of hundredths of a second."""
_OPAQUE_FROM = 128
_PALETTE_SAMPLE_PIXELS = 16_000


def _write(result: Result) -> bytes:
    frames = tuple((_reduced(picture), duration) for picture, duration in result.frames)
    if len(frames) == 1:
        return saved(frames[0][0], "GIF")
    options: dict[str, Any] = {"duration": _delays(frames)}
    if result.plays != 1:
        options["loop"] = min(max(0, result.plays - 1), MAX_REPEATS)
    if result.picture.mode == "RGBA":
        # Each frame is complete. Without clearing, the previous frame would show through its holes.
        options["disposal"] = 2
    return saved(Moving(frames), "GIF", save_all=True, optimize=False, **options)


def _delays(frames: tuple[tuple[Image.Image, int], ...]) -> list[int]:
    """Return the delays in the units of GIF. Pillow writes equal frames once and adds up their delays."""
    delays = [delay for _, delay in frames]
    if sum(delays) <= _MAX_DELAY_MS:
        return delays
    delays = []
    for _, equal in itertools.groupby(frames, key=lambda frame: frame[0].tobytes()):
        left = _MAX_DELAY_MS
        for _, delay in equal:
            delays.append(min(delay, left))
            left -= delays[-1]
    return delays


def _reduced(picture: Image.Image) -> Image.Image:
    """Return `picture` as GIF can store it: 256 colours, pixels either opaque or transparent."""
    if picture.mode == "RGBA":
        return _two_way_alpha(picture)
    if picture.mode != "RGB":
        return picture
    # The median cut of all pixels takes fifteen times as long as that of a sample and looks the same.
    factor = max(1, math.isqrt(picture.width * picture.height // _PALETTE_SAMPLE_PIXELS))
    palette = picture.reduce(factor).quantize(256, method=Image.Quantize.MEDIANCUT)
    return picture.quantize(palette=palette, dither=Image.Dither.NONE) if factor > 1 else palette


def _two_way_alpha(picture: Image.Image) -> Image.Image:
    alpha = picture.getchannel("A").point(lambda value: 255 if value >= _OPAQUE_FROM else 0)
    hard = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    hard.paste(picture.convert("RGB"), (0, 0), alpha)
    return hard


GIF = PictureFormat(
    name="gif",
    label="GIF",
    media_type="image/gif",
    walk=structure.walk_gif,
    mend=mending.mended,
    is_lossless=True,
    moves=True,
    pillow_bytes_per_pixel=10,
    # GIF89a §18: 16 bits.
    written=Written(_write, encoder_bytes_per_pixel=12, max_side_px=65_535, moves=True),
)
