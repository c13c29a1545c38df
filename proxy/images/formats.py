"""Formats: recognising them by their first bytes, naming them, and choosing the one to answer. Pure; runs anywhere.

Signatures are those of the WHATWG MIME Sniffing Standard §6.1 where it has them, else of the format's own
specification. Knows nothing of decoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.prolog import root_of

MEDIA_TYPES: dict[str, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "ico": "image/x-icon",
    "svg": "image/svg+xml",
    "heic": "image/heic",
    "jxl": "image/jxl",
    "jp2": "image/jp2",
    "psd": "image/vnd.adobe.photoshop",
    "json": "application/json",
}
FORMAT_OF_MEDIA_TYPE: dict[str, str] = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    "image/jpg": "jpeg",
    "image/pjpeg": "jpeg",
    "image/x-png": "png",
    "image/apng": "png",
    "image/x-ms-bmp": "bmp",
    "image/vnd.microsoft.icon": "ico",
    "image/heif": "heic",
}

RENDERABLE = frozenset({"jpeg", "png", "gif", "webp", "avif", "bmp", "tiff", "ico", "svg"})
"""Formats that are decoded (SVG where its library is there). Everything else is kept and served as it is."""

FALLBACK = "fallback"
"""What every browser takes: JPEG, PNG or GIF, whichever suits the picture."""

SNIFF_BYTES = 1445
"""WHATWG MIME Sniffing §5.2: the length of the resource header."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x00\x00\x01\x00", "ico"),
    (b"\x00\x00\x02\x00", "ico"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"8BPS\x00", "psd"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def sniff(head: bytes) -> str | None:
    """Return the picture format that `head`, the first bytes, begins; None when it is none we know.

    An SVG whose root lies beyond `head` is not recognised: `proxy.prolog.RootFinder` finds it in pieces.
    """
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[:4] == b"RIFF" and head[8:14] == b"WEBPVP":
        return "webp"
    if head[4:8] == b"ftyp":
        return _sniff_ftyp(head)
    if head[:2] == b"BM" and _is_bmp(head):
        return "bmp"
    return "svg" if root_of(head) == "svg" else None


def _sniff_ftyp(head: bytes) -> str | None:
    # ISO/IEC 14496-12 §4.3: major brand, minor version, compatible brands.
    length = min(int.from_bytes(head[:4], "big"), len(head), 256)
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, length - 3, 4)}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None


def _is_bmp(head: bytes) -> bool:
    # "BM" begins many texts; the size of the second header does not.
    return int.from_bytes(head[14:18], "little") in {12, 16, 40, 52, 56, 64, 108, 124}


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What is known about a picture without decoding it.

    width, height: upright, in pixels. frames: 1 for stills. has_alpha: transparency is possible. drawing: few
    colours (a palette, two tones), so that JPEG would spoil it. bits: per channel. beyond_bound: of an SVG that is more
    work than is begun, here or in a browser.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    has_alpha: bool = False
    drawing: bool = False
    bits: int = 8
    beyond_bound: bool = False

    @property
    def animated(self) -> bool:
        """Whether there is more than one frame."""
        return self.frames > 1

    @property
    def scalable(self) -> bool:
        """Whether it is drawn at any size, so that enlarging costs no sharpness."""
        return self.format == "svg"

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON can hold them."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PictureFacts:
        """Return the facts that `to_dict` wrote; names that are not known any more are ignored.

        Raises:
            ValueError: a name is missing or not of its kind.
        """
        try:
            return cls(
                format=str(stored["format"]),
                width=int(stored["width"]),
                height=int(stored["height"]),
                frames=int(stored.get("frames", 1)),
                has_alpha=bool(stored.get("has_alpha", False)),
                drawing=bool(stored.get("drawing", False)),
                bits=int(stored.get("bits", 8)),
                beyond_bound=bool(stored.get("beyond_bound", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the facts of a picture: {error}") from error


UNTOUCHED = "svg"
"""Among acceptable formats: an SVG is answered as it is."""

_ANIMATING = {"webp": "webp", "gif": "gif", FALLBACK: "gif"}


def choose_output(acceptable: tuple[str, ...], facts: PictureFacts, *, anim: bool = True) -> str:
    """Return the format to answer: one of `avif`, `webp`, `jpeg`, `png`, `gif`, `json`, `svg`.

    `acceptable` is in order of preference; `fallback` in it stands for JPEG, PNG or GIF. One format alone is that
    format. An animation takes the first that can be animated; `anim=False` treats it as a still. `svg` counts, wherever
    it stands, for an SVG only, which is then answered as it is.
    """
    if UNTOUCHED in acceptable:
        if facts.scalable:
            return UNTOUCHED
        acceptable = tuple(name for name in acceptable if name != UNTOUCHED)
    if not acceptable:
        acceptable = (FALLBACK,)
    if facts.animated and anim:
        moving = [_ANIMATING[name] for name in acceptable if name in _ANIMATING]
        if moving:
            return moving[0]
    if acceptable[0] != FALLBACK:
        return acceptable[0]
    return "png" if facts.has_alpha or facts.drawing else "jpeg"
