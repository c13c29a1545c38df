"""AVIF. Pure; written in render processes."""

from __future__ import annotations

import functools

from PIL import Image

from proxy.images.files import structure
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import exif_options, saved

_USUAL_QUALITY = 50
"""With this quality AVIF looks like WebP at its usual one (SSIMULACRA2 of 72, photos of 400 to 1200 px) in 70 % of the
bytes."""
# For an SSIMULACRA2 of 78, libaom needs 18 % more bytes at speed 9 than at speed 6, and 5 % more at speed 8 with full
# chroma and the tuning. These take a tenth and four tenths of the time.
_SPEED = 8
_SPEED_LARGE = 9
_LARGE_FROM_PIXELS = 500_000
"""From this size on, a visitor would wait a tenth of a second or longer."""
_TUNED_FOR = {"c:tune": "ssimulacra2"}


@functools.cache
def _tuning() -> dict[str, str]:
    """Return the tuning if the installed libaom knows it (3.13 and newer)."""
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
        # Quality 100 is lossless, and libaom then accepts only its own tuning.
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
        # A faster speed: a large result may cost less than a smaller one.
        effort=40,
        large=(_LARGE_FROM_PIXELS, 10),
        # AV1 §5.5.1: 16 bits plus one.
        max_side_px=65_536,
    ),
)
