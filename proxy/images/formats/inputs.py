"""Formats that are never written: some are decoded, the others are kept and served unchanged. Pure; runs anywhere."""

from __future__ import annotations

from proxy.images.files import structure
from proxy.images.files.mending import ico as mending
from proxy.images.formats.record import PictureFormat


def _has_second_header(head: bytes) -> bool:
    # Many texts begin with "BM", but not with the size of the second header as well.
    return int.from_bytes(head[14:18], "little") in {12, 16, 40, 52, 56, 64, 108, 124}


BMP = PictureFormat(
    "bmp",
    "BMP",
    "image/bmp",
    ("image/x-ms-bmp",),
    confirm=_has_second_header,
    walk=structure.walk_bmp,
    is_lossless=True,
)
TIFF = PictureFormat(
    "tiff", "TIFF", "image/tiff", walk=structure.walk_tiff, is_lossless=True, pillow_bytes_per_pixel=6
)
ICO = PictureFormat(
    "ico",
    "ICO",
    "image/x-icon",
    ("image/vnd.microsoft.icon",),
    walk=structure.walk_ico,
    mend=mending.mended,
    is_lossless=True,
)
SVG = PictureFormat("svg", "SVG", "image/svg+xml", walk=structure.walk_svg, is_lossless=True)
HEIC = PictureFormat(
    "heic", "HEIC", "image/heic", ("image/heif",), walk=structure.walk_boxes, is_decoded=False
)
JXL = PictureFormat("jxl", "JPEG XL", "image/jxl", is_decoded=False)
JP2 = PictureFormat("jp2", "JPEG 2000", "image/jp2", is_decoded=False)
PSD = PictureFormat("psd", "Photoshop", "image/vnd.adobe.photoshop", is_decoded=False)
