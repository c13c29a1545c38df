"""Writes PNG with one filter for all rows, and libdeflate. Pure; runs in render processes.

The filter matters more than the level. Measured on results of 400 to 512 px: flat drawings are smallest without a
filter, busier ones gain from their left neighbour, and photos from the mean of the left and the upper neighbour. Pillow
tries five filters for each row and takes several times as long (docs/decisions/0036-fewer-passes.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import deflate
from PIL import Image, ImageChops

from proxy.images.files.structure import PNG_SIGNATURE

RowFilter = Literal["none", "sub", "average"]

_FILTER_TYPES = {"none": 0, "sub": 1, "average": 3}
"""PNG third edition §9.2."""
_COLOUR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6}
"""PNG third edition §11.2.1."""
_INDEXED = 3
_INDEXED_LEVEL = 8
"""libdeflate's level for indices of a palette. They have at most a byte for each pixel, so a high level costs
little."""
_BAND_BYTES = 1 << 17
"""The bytes of rows that are filtered together. They stay in the processor's second-level cache."""
_EXIF_PREFIX = b"Exif\0\0"
"""JPEG has this prefix before the TIFF header, and eXIf does not (PNG third edition §11.3.4.5)."""


@dataclass(frozen=True, slots=True)
class PngEffort:
    """The filter of all rows (PNG third edition §9) and libdeflate's level, 1 to 12."""

    row_filter: RowFilter
    level: int


FLAT = PngEffort("none", 6)
BUSY = PngEffort("sub", 6)
PHOTO = PngEffort("average", 1)
ESTIMATE = PngEffort("sub", 1)
"""A fast setting whose sizes are proportional to those of lossless formats for drawings."""


def write_png(picture: Image.Image, effort: PngEffort, *, exif: bytes = b"") -> bytes:
    """Return `picture` (mode L, RGB or RGBA) as a PNG without metadata except `exif`."""
    data = deflated(picture, effort)
    return _png(picture, 8, _COLOUR_TYPES[picture.mode], _metadata(exif), data)


def write_indexed_png(picture: Image.Image, *, exif: bytes = b"") -> bytes:
    """Return `picture` (mode P) as a PNG with its palette, with as few bits for each pixel as its indices need."""
    colours = 1 + max(index for index, count in enumerate(picture.histogram()) if count)
    bits = next(bits for bits in (1, 2, 4, 8) if colours <= 1 << bits)
    palette = bytes(picture.getpalette("RGBA") or ())[: 4 * colours]
    chunks = [(b"PLTE", bytes(value for at, value in enumerate(palette) if at % 4 < 3))]
    if min(palette[3::4]) < 255:
        chunks.append((b"tRNS", palette[3::4]))
    packed = picture.tobytes("raw", "P" if bits == 8 else f"P;{bits}")
    lines = Image.frombuffer("L", (-(-picture.width * bits // 8), picture.height), packed, "raw", "L", 0, 1)
    data = deflate.zlib_compress(_typed(lines, "none"), _INDEXED_LEVEL)
    return _png(picture, bits, _INDEXED, [*chunks, *_metadata(exif)], data)


def _png(
    picture: Image.Image, bits: int, colour_type: int, chunks: Sequence[tuple[bytes, bytes]], data: bytearray
) -> bytes:
    size = b"".join(side.to_bytes(4, "big") for side in picture.size)
    # Deflate, the five filters, not interlaced.
    parts = [PNG_SIGNATURE, *_chunk(b"IHDR", size + bytes((bits, colour_type, 0, 0, 0)))]
    for kind, payload in chunks:
        parts += _chunk(kind, payload)
    return b"".join((*parts, *_chunk(b"IDAT", data), *_chunk(b"IEND", b"")))


def _metadata(exif: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"eXIf", exif.removeprefix(_EXIF_PREFIX))] if exif else []


def deflated(picture: Image.Image, effort: PngEffort) -> bytearray:
    """Return the pixel data of a PNG of `picture`: filtered rows, deflated."""
    rows = bytearray()
    for band in _filtered(picture, effort.row_filter):
        rows += band
    return deflate.zlib_compress(rows, effort.level)


def _chunk(kind: bytes, payload: bytes | bytearray) -> tuple[bytes, bytes | bytearray, bytes]:
    """PNG third edition §5.3. The chunk is returned in parts, because a payload may be as large as the picture."""
    checksum = deflate.crc32(payload, deflate.crc32(kind))
    return len(payload).to_bytes(4, "big") + kind, payload, checksum.to_bytes(4, "big")


def _filtered(picture: Image.Image, row_filter: RowFilter) -> Iterator[bytes]:
    """Yield the rows with their filter types in front, several at a time.

    A picture of mode L holds the bytes of some rows, so that Pillow's arithmetic performs the filters.
    """
    width, channels = picture.width * len(picture.getbands()), len(picture.getbands())
    count = max(1, _BAND_BYTES // width)
    above: Image.Image | None = None
    for top in range(0, picture.height, count):
        height = min(count, picture.height - top)
        # Do not use `crop`: Pillow refuses it for more pixels than it would decode.
        band = Image.new(picture.mode, (picture.width, height))
        band.paste(picture, (0, -top))
        lines = Image.frombuffer("L", (width, height), band.tobytes(), "raw", "L", 0, 1)
        filtered = _less_predicted(lines, above, row_filter, channels)
        yield _typed(filtered, row_filter)
        above = lines


def _typed(filtered: Image.Image, row_filter: RowFilter) -> bytes:
    """Return rows with the number of their filter in front of each."""
    typed = Image.new("L", (filtered.width + 1, filtered.height), _FILTER_TYPES[row_filter])
    typed.paste(filtered, (1, 0))
    return typed.tobytes()


def _less_predicted(
    lines: Image.Image, above: Image.Image | None, row_filter: RowFilter, channels: int
) -> Image.Image:
    """Return the rows after the filter. above: the rows before, None at the top."""
    if row_filter == "none":
        return lines
    left = Image.new("L", lines.size)
    left.paste(lines, (channels, 0))
    if row_filter == "sub":
        return ImageChops.subtract_modulo(lines, left)
    upper = Image.new("L", lines.size)
    upper.paste(lines, (0, 1))
    if above is not None:
        upper.paste(above, (0, 1 - above.height))
    return ImageChops.subtract_modulo(lines, ImageChops.add(left, upper, scale=2))
