"""JPEG. Pure; written in render processes."""

from __future__ import annotations

from PIL import Image

from proxy.images.files import structure
from proxy.images.files.mending import jpeg as mending
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.result import Result
from proxy.images.formats.saving import exif_options, saved
from proxy.images.operations.background import WHITE, colour_of
from proxy.images.options.wanted import Wanted

_USUAL_QUALITY = 80
"""The usual quality of JPEG elsewhere: SSIMULACRA2 of 77, where WebP and AVIF reach 72 at their usual ones."""
_FULL_CHROMA_FROM_QUALITY = 90
_MAX_EXIF_BYTES = 65_533
"""ITU-T T.81 §B.2.4.6: the length of a segment has 16 bits and includes itself."""


def _write(result: Result) -> bytes:
    quality = result.quality(_USUAL_QUALITY)
    subsampling = "4:4:4" if quality >= _FULL_CHROMA_FROM_QUALITY else "4:2:0"
    picture = flattened(result.picture, result.wanted)
    exif = exif_options(result)
    if len(exif.get("exif", b"")) > _MAX_EXIF_BYTES:
        # Other formats can store more EXIF data. The picture is more important than its metadata.
        exif = {}
    return saved(
        picture,
        "JPEG",
        quality=quality,
        optimize=True,
        progressive=False,
        subsampling=subsampling,
        **exif,
    )


def flattened(picture: Image.Image, wanted: Wanted) -> Image.Image:
    """Return `picture` without transparency, on the wanted background or on white."""
    if picture.mode != "RGBA":
        return picture
    colour = colour_of(wanted.background) if wanted.background else WHITE
    ground = Image.new("RGBA", picture.size, (*colour[:3], 255))
    ground.alpha_composite(picture)
    return ground.convert("RGB")


JPEG = PictureFormat(
    name="jpeg",
    label="JPEG",
    media_type="image/jpeg",
    aliases=("image/jpg", "image/pjpeg"),
    walk=structure.walk_jpeg,
    mend=mending.mended,
    # libjpeg's JPEG_MAX_DIMENSION.
    written=Written(_write, encoder_bytes_per_pixel=6, usual_quality=_USUAL_QUALITY, max_side_px=65_500),
)
