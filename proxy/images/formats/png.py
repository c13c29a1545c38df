"""PNG. Pure; written in render processes."""

from __future__ import annotations

import zlib

from PIL import Image, ImageChops

from proxy.images.files import structure
from proxy.images.files.mending import png as mending
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import exif_options, saved
from proxy.images.measuring.flatness import flat_share
from proxy.images.pixels.png_writing import BUSY, FLAT, PHOTO, PngEffort

# Strategies of zlib (zlib.h). Run lengths give photos the size of level 4 in half the time; drawings need matches.
_PHOTO = {"compress_level": 4, "compress_type": zlib.Z_RLE}
_DRAWING = {"compress_level": 6, "compress_type": zlib.Z_FILTERED}
_PALETTE = {"compress_level": 6}
_DRAWING_COLOURS = 4096
_FLAT_DRAWING_SHARE = 0.5


def _write(result: Result) -> bytes:
    picture = result.picture
    if (indexed := _with_palette(picture)) is not None:
        return saved(indexed, "PNG", **_PALETTE, **exif_options(result))
    drawing, exif = result.drawing or picture.getcolors(_DRAWING_COLOURS) is not None, exif_options(result)
    if result.write_png is not None and not exif:
        return result.write_png(picture, _effort(result) if drawing else PHOTO)
    return saved(picture, "PNG", **(_DRAWING if drawing else _PHOTO), **exif)


def _effort(drawing: Result) -> PngEffort:
    share = flat_share(drawing.picture) if drawing.flat is None else drawing.flat
    return FLAT if share >= _FLAT_DRAWING_SHARE else BUSY


def _with_palette(picture: Image.Image) -> Image.Image | None:
    """Return exactly the same pixels as indices of a palette, in a fourth of the bytes; None if there are too many
    colours."""
    if picture.mode not in {"RGB", "RGBA"} or picture.getcolors(256) is None:
        return None
    method = Image.Quantize.MEDIANCUT if picture.mode == "RGB" else Image.Quantize.FASTOCTREE
    indexed = picture.quantize(256, method=method, dither=Image.Dither.NONE)
    # Neither method guarantees to preserve few colours exactly.
    differences = ImageChops.difference(indexed.convert(picture.mode), picture)
    return indexed if differences.getbbox(alpha_only=False) is None else None


PNG = PictureFormat(
    name="png",
    label="PNG",
    media_type="image/png",
    aliases=("image/x-png", "image/apng"),
    walk=structure.walk_png,
    mend=mending.mended,
    is_lossless=True,
    moves=True,
    written=Written(_write, encoder_bytes_per_pixel=6),
)
