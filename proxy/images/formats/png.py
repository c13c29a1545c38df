"""PNG. Pure; written in render processes."""

from __future__ import annotations

from PIL import Image, ImageChops

from proxy.images.files import structure
from proxy.images.files.mending import png as mending
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import exif_options, saved
from proxy.images.measuring.flatness import flat_share
from proxy.images.pixels.png_writing import BUSY, FLAT, PHOTO, PngEffort, write_png

_PALETTE = {"compress_level": 6}
_DRAWING_COLOURS = 4096
_FLAT_DRAWING_SHARE = 0.5


def _write(result: Result) -> bytes:
    picture = result.picture
    # Only pictures of many colours were measured.
    if result.flat is None and (indexed := _with_palette(picture)) is not None:
        return saved(indexed, "PNG", **_PALETTE, **exif_options(result))
    drawing = result.drawing or picture.getcolors(_DRAWING_COLOURS) is not None
    return write_png(picture, _effort(result) if drawing else PHOTO, **exif_options(result))


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
    written=Written(_write, encoder_bytes_per_pixel=10),
)
