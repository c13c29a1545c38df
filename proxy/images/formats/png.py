"""PNG. Pure; written in render processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageChops

from proxy.images.files import structure
from proxy.images.files.mending import png as mending
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import exif_options
from proxy.images.pixels.flatness import flat_share
from proxy.images.pixels.png_writing import BUSY, FLAT, PHOTO, PngEffort, write_indexed_png, write_png

_DRAWING_COLOURS = 4096
_CELLS = 64
"""The number of cells in each direction of Pillow's look-up of palette colours."""
_FLAT_DRAWING_SHARE = 0.5


def _write(result: Result) -> bytes:
    picture = result.picture
    # `flat` is measured only for pictures with many colours.
    if result.flat is None and (indexed := _with_palette(picture)) is not None:
        return write_indexed_png(indexed, **exif_options(result))
    drawing = result.drawing or picture.getcolors(_DRAWING_COLOURS) is not None
    return write_png(picture, _effort(result) if drawing else PHOTO, **exif_options(result))


def _effort(drawing: Result) -> PngEffort:
    share = flat_share(drawing.picture) if drawing.flat is None else drawing.flat
    return FLAT if share >= _FLAT_DRAWING_SHARE else BUSY


def _with_palette(picture: Image.Image) -> Image.Image | None:
    """Return exactly the same pixels as indices of a palette, in a fourth of the bytes; None if there are too many
    colours."""
    colours = picture.getcolors(256) if picture.mode in {"RGB", "RGBA"} else None
    if colours is None:
        return None
    indexed = _by_exact_palette(picture, colours) if picture.mode == "RGB" else None
    if indexed is None:
        method = Image.Quantize.MEDIANCUT if picture.mode == "RGB" else Image.Quantize.FASTOCTREE
        indexed = picture.quantize(256, method=method, dither=Image.Dither.NONE)
    # Pillow does not guarantee to preserve few colours exactly.
    differences = ImageChops.difference(indexed.convert(picture.mode), picture)
    return indexed if differences.getbbox(alpha_only=False) is None else None


def _by_exact_palette(picture: Image.Image, colours: Sequence[tuple[int, Any]]) -> Image.Image | None:
    """Return `picture` (RGB) with a palette of its own colours, or None if a channel has too many values.

    Finding a palette takes Pillow ten times as long as using one. Pillow looks colours up in cells of 4 x 4 x 4. Each
    channel's values are therefore spread to multiples of four first, so that every colour has a cell of its own.
    """
    found = [colour for _, colour in sorted(colours, reverse=True)]
    values = [sorted(set(channel)) for channel in zip(*found, strict=True)]
    if max(map(len, values)) > _CELLS:
        return None
    spread = [{value: 4 * number for number, value in enumerate(channel)} for channel in values]
    wide = picture.point([table.get(value, 0) for table in spread for value in range(256)])
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        bytes(table[value] for colour in found for table, value in zip(spread, colour, strict=True))
    )
    indexed = wide.quantize(palette=palette, dither=Image.Dither.NONE)
    indexed.putpalette(bytes(value for colour in found for value in colour))
    return indexed


PNG = PictureFormat(
    name="png",
    label="PNG",
    media_type="image/png",
    aliases=("image/x-png", "image/apng"),
    walk=structure.walk_png,
    mend=mending.mended,
    is_lossless=True,
    moves=True,
    written=Written(_write, encoder_bytes_per_pixel=10, effort=4),
)
