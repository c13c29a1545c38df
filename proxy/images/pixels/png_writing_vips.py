"""Writes PNG with libvips, which uses one filter for all rows where Pillow tries five. Runs in render processes."""

from __future__ import annotations

from PIL import Image

from proxy.images.pixels.ownvips import pyvips
from proxy.images.pixels.png_writing import PngEffort

_IHDR_END = 33
_PHYS_AT = slice(37, 41)
_PHYS_END = 54
"""The chunk with the size of a pixel. libvips always writes 25.4 dpi, which a layout program would use."""


def png_by_libvips(picture: Image.Image, effort: PngEffort) -> bytes:
    """Return `picture` (mode L, RGB or RGBA) as a PNG without metadata.

    Raises:
        OSError: libvips cannot write it.
    """
    bands = len(picture.getbands())
    image = pyvips.Image.new_from_memory(picture.tobytes(), *picture.size, bands, pyvips.BandFormat.UCHAR)
    # Pixels from memory have no interpretation. The writer needs one to tell grey from colour.
    image = image.copy(interpretation="b-w" if bands == 1 else "srgb")
    try:
        body: bytes = image.pngsave_buffer(compression=effort.level, filter=effort.row_filter, keep="none")
    except pyvips.Error as error:
        raise OSError(str(error)) from error
    return body[:_IHDR_END] + body[_PHYS_END:] if body[_PHYS_AT] == b"pHYs" else body
