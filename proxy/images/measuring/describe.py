"""The answer to format=json: describes a result and its original. Runs in render processes.

It has Cloudflare's fields under Cloudflare's names, and the facts that a page needs to reserve the place of a picture
before it arrives: the dominant colour and the ThumbHash.
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
"""The longest side of the picture that is hashed. The hash holds at most seven waves across."""
_COLOUR_PX = 64
_SHADES = 16
"""The number of levels of each channel. Two pixels at the same levels count as one colour."""
_SEEN_FROM = 128
"""The lowest alpha with which a pixel's colour is counted."""


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
    """Return the mean of the commonest shade as `#rrggbb`. A mean over all pixels may be a colour that the picture
    lacks."""
    pixels = _small(picture, _COLOUR_PX).tobytes()
    seen = [pixels[at : at + 3] for at in range(0, len(pixels), 4) if pixels[at + 3] >= _SEEN_FROM]
    if not seen:
        return "#ffffff"
    shades = Counter((r // _SHADES, g // _SHADES, b // _SHADES) for r, g, b in seen)
    # The lightest of equally common shades, so that the answer does not depend on an order.
    common = max(shades, key=lambda shade: (shades[shade], shade))
    members = [pixel for pixel in seen if tuple(value // _SHADES for value in pixel) == common]
    return "#" + "".join(f"{round(sum(band) / len(members)):02x}" for band in zip(*members, strict=True))


def _hash_of(picture: Image.Image) -> bytes:
    small = _small(picture, _THUMBHASH_PX)
    return thumbhash(*small.size, small.tobytes())


def _small(picture: Image.Image, side: int) -> Image.Image:
    """Return a picture in RGBA whose sides are at most `side`. Each pixel is the mean of the pixels it replaces."""
    factor = min(1.0, side / max(picture.size))
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    return picture.convert("RGBA").resize(size, Image.Resampling.BOX)
