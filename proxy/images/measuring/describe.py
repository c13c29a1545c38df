"""The answer to format=json: the result and its original in words. Runs in render processes.

Cloudflare's fields under Cloudflare's names, and what a page needs to keep the place of a picture that is still to
come: its dominant colour and its ThumbHash.
"""

from __future__ import annotations

import base64
import json
from collections import Counter

from PIL import Image

from proxy.images.files.exif import orientation_of
from proxy.images.formats import MEDIA_TYPES, PictureFacts
from proxy.images.measuring.thumbhash import thumbhash

_THUMBHASH_PX = 64
"""Longest side of the picture that is hashed: the hash holds seven waves across at most."""
_COLOUR_PX = 64
_SHADES = 16
"""Steps of each channel within which two pixels count as one colour."""
_SEEN_FROM = 128
"""Alpha from which a pixel has a colour to be counted."""


def describe(picture: Image.Image, facts: PictureFacts, exif: bytes, *, file_size_bytes: int) -> bytes:
    """Return the description of `picture`, the first frame of a result, as JSON."""
    answer = {
        "width": picture.width,
        "height": picture.height,
        "dominant_colour": dominant_colour(picture),
        "thumbhash": base64.b64encode(_hash_of(picture)).decode("ascii"),
        "original": {
            "file_size": file_size_bytes,
            "width": facts.width,
            "height": facts.height,
            "format": MEDIA_TYPES[facts.format],
            "frames": facts.frames,
            "orientation": orientation_of(exif),
        },
    }
    return json.dumps(answer, separators=(",", ":")).encode("ascii")


def dominant_colour(picture: Image.Image) -> str:
    """Return the mean of the commonest shade as `#rrggbb`: no mixture that stands nowhere in the picture."""
    pixels = _small(picture, _COLOUR_PX).tobytes()
    seen = [pixels[at : at + 3] for at in range(0, len(pixels), 4) if pixels[at + 3] >= _SEEN_FROM]
    if not seen:
        return "#ffffff"
    shades = Counter((r // _SHADES, g // _SHADES, b // _SHADES) for r, g, b in seen)
    # Of equally common ones the lightest, so that the answer never depends on an order.
    common = max(shades, key=lambda shade: (shades[shade], shade))
    members = [pixel for pixel in seen if tuple(value // _SHADES for value in pixel) == common]
    return "#" + "".join(f"{round(sum(band) / len(members)):02x}" for band in zip(*members, strict=True))


def _hash_of(picture: Image.Image) -> bytes:
    small = _small(picture, _THUMBHASH_PX)
    return thumbhash(*small.size, small.tobytes())


def _small(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture in RGBA whose sides are at most `side`, each pixel the mean of those it stands for."""
    factor = min(1.0, side / max(picture.size))
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture.convert("RGBA").resize(size, Image.Resampling.BOX)
