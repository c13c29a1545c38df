"""AVIF. Pure; written in render processes."""

from __future__ import annotations

import functools

from PIL import Image

from proxy.images.files import structure
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import exif_options, saved

_USUAL_QUALITY = 50
"""Looks like WebP at its own (SSIMULACRA2 of 72, photos of 400 to 1200 px) in 70 % of the bytes."""
# SSIMULACRA2 of 78 takes libaom 18 % more bytes at speed 9 than at 6, 5 % more at 8 with full chroma and the tuning;
# it takes a tenth and four tenths of the time.
_SPEED = 8
_SPEED_LARGE = 9
_LARGE_FROM_PIXELS = 500_000
"""From here on a visitor would wait for a tenth of a second and more."""
_TUNED_FOR = {"c:tune": "ssimulacra2"}


@functools.cache
def _tuning() -> dict[str, str]:
    """Return the tuning if the libaom at hand knows it (3.13 and newer)."""
    try:
        saved(Image.new("RGB", (16, 16)), "AVIF", speed=10, max_threads=1, advanced=_TUNED_FOR)
    except (OSError, ValueError):
        return {}
    return _TUNED_FOR


def _write(result: Result) -> bytes:
    width, height = result.picture.size
    quality = result.quality(_USUAL_QUALITY)
    return saved(
        result.picture,
        "AVIF",
        quality=quality,
        speed=_SPEED if width * height < _LARGE_FROM_PIXELS else _SPEED_LARGE,
        subsampling="4:4:4",
        max_threads=1,
        # 100 is lossless, where libaom refuses any tuning but its own.
        advanced=_tuning() if quality < 100 else {},
        **exif_options(result),
    )


AVIF = PictureFormat(
    name="avif",
    label="AVIF",
    media_type="image/avif",
    walk=structure.walk_boxes,
    moves=True,
    pillow_bytes_per_pixel=16,
    libvips_bytes_per_pixel=20,
    written=Written(
        _write,
        encoder_bytes_per_pixel=42,
        usual_quality=_USUAL_QUALITY,
        effort=4,
        # AV1 §5.5.1: 16 bits and one.
        max_side_px=65_536,
    ),
)
