"""Formats: one record for each, and tables that follow from all of them. Pure; runs anywhere.

A new output format takes three edits: a file here with a record whose `written` says how it is encoded, its name in
`FORMATS`, and its first bytes in `proxy.signatures`; see docs/architecture.md.
"""

from __future__ import annotations

from proxy.images.formats.avif import AVIF
from proxy.images.formats.facts import PictureFacts
from proxy.images.formats.gif import GIF
from proxy.images.formats.inputs import BMP, HEIC, ICO, JP2, JXL, PSD, SVG, TIFF
from proxy.images.formats.jpeg import JPEG
from proxy.images.formats.png import PNG
from proxy.images.formats.record import PictureFormat, Written
from proxy.images.formats.webp import WEBP
from proxy.prolog import root_of
from proxy.signatures import media_type_of

__all__ = ["PictureFacts", "PictureFormat", "Written"]

FORMATS = (AVIF, WEBP, JPEG, PNG, GIF, BMP, TIFF, ICO, SVG, HEIC, JXL, JP2, PSD)
"""Output formats come first, in the order in which people are told about them."""

BY_NAME: dict[str, PictureFormat] = {one.name: one for one in FORMATS}
OUTPUTS: dict[str, Written] = {one.name: one.written for one in FORMATS if one.written is not None}
"""How answers are encoded, by the name of the format."""
JSON = "json"
"""The name of the answer that describes a picture."""
MEDIA_TYPES: dict[str, str] = {one.name: one.media_type for one in FORMATS} | {JSON: "application/json"}
FORMAT_OF_MEDIA_TYPE: dict[str, str] = {media_type: name for name, media_type in MEDIA_TYPES.items()} | {
    alias: one.name for one in FORMATS for alias in one.aliases
}
RENDERABLE = frozenset(one.name for one in FORMATS if one.is_decoded)
"""Formats that are decoded (SVG if its library is installed). All others are kept and served unchanged."""
LOSSLESS = frozenset(one.name for one in FORMATS if one.is_lossless)
"""Formats that preserve drawings exactly."""
UNTOUCHED = SVG.name
"""Stands among acceptable formats for an SVG that is answered unchanged."""

SNIFF_BYTES = 1445
"""WHATWG MIME Sniffing §5.2: the length of the resource header."""


def sniff(head: bytes) -> str | None:
    """Return the picture format of the first bytes `head`, or None if it is not known.

    An SVG whose root lies beyond `head` is not recognised; `proxy.prolog.RootFinder` finds it piece by piece.
    """
    name = FORMAT_OF_MEDIA_TYPE.get(media_type_of(head) or "")
    if name is not None:
        return name if BY_NAME[name].confirm(head) else None
    return SVG.name if root_of(head) == "svg" else None
