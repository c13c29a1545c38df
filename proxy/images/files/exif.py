"""Reads EXIF data: the orientation, and the part to keep. Pure; runs anywhere.

Damaged EXIF data never damage a picture: they give no orientation, and nothing of them is kept.
"""

from __future__ import annotations

import struct

from PIL import ExifTags, Image

UPRIGHT = 1
"""The orientation of pixels that are stored upright (EXIF 2.32 §4.6.4 A, tag 274)."""

_COPYRIGHT_TAGS = (int(ExifTags.Base.Artist), int(ExifTags.Base.Copyright))
# All of these have occurred: Pillow's reader trusts lengths, offsets and types.
_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def orientation_of(exif: bytes) -> int:
    """Return the orientation (1-8) in EXIF data, 1 if they give none."""
    if not exif:
        return UPRIGHT
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(ExifTags.Base.Orientation, UPRIGHT)
    except _FAULTS:
        return UPRIGHT
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def kept(exif: bytes, metadata: str) -> bytes:
    """Return the part of EXIF data that the option `metadata` (none, copyright, keep) selects; may be empty."""
    if metadata == "none" or not exif:
        return b""
    tags = Image.Exif()
    try:
        tags.load(exif)
        if metadata == "copyright":
            wanted = {tag: tags[tag] for tag in _COPYRIGHT_TAGS if isinstance(tags.get(tag), str)}
            tags = Image.Exif()
            tags.update(wanted)
        # The pixels are upright at this point.
        tags.pop(ExifTags.Base.Orientation, None)
        return bytes(tags.tobytes()) if len(tags) else b""
    except _FAULTS:
        return b""
