"""Checks whether the data of a JPEG reach its last pixel. libjpeg fills missing pixels with grey and only warns. Pure.

If all pixels have data, noise after these data changes no pixel.
"""

from __future__ import annotations

from PIL import Image

from proxy.images.files.structure import EOI, Buffer, jpeg_segments

_GREY = frozenset({127, 128})
_BITS = bytes(range(1, 251)) * 4
_NOISE = _BITS + b"".join(b"\xff" + bytes([0xD0 + number]) + _BITS for number in range(8))
"""The noise is repeated after each of the restart markers (T.81 table B.1), because the decoder may wait for any of
them."""


def may_be_unfinished(picture: Image.Image) -> bool:
    """Return whether the last pixel has the grey that libjpeg uses for missing data."""
    pixel = picture.getpixel((picture.width - 1, picture.height - 1))
    return set(pixel if isinstance(pixel, tuple) else (pixel,)) <= _GREY


def with_noise(data: Buffer) -> bytes:
    """Return the file with noise between its last scan and its end."""
    end = next((segment.start for segment in jpeg_segments(data) if segment.marker == EOI), len(data))
    return data[:end] + _NOISE + b"\xff\xd9"
