"""What kind of thing a body is, told by its first bytes; the origin's word counts only for text. Pure.

Follows the WHATWG MIME Sniffing standard, and goes beyond it where that one stops: AVIF, HEIF, TIFF, JPEG XL,
SVG and HTML behind byte order marks, comments and prologs. Refuses to know whether a picture can be decoded.

    good   89 50 4E 47 …  called text/html   ->  image/png
    good   a{color:red}   called text/css    ->  text/css
    bad    <html> …       called image/png   ->  text/html
    bad    00 01 02 …     called text/css    ->  application/octet-stream
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.prolog import root_of

HEAD_BYTES = 4096
"""How much of a body `decide` should see. 1,445 are enough for the standard; HTML prologs are longer."""
BINARY = "application/octet-stream"
SVG = "image/svg+xml"

# At the beginning. Longer ones first where one begins another.
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x02\x00", "image/x-icon"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"8BPS\x00\x01", "image/vnd.adobe.photoshop"),
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xc5\xd0\xd3\xc6", "application/postscript"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"fLaC\x00", "audio/flac"),
    (b"\x00\x01\x00\x00", "font/ttf"),
    (b"OTTO\x00", "font/otf"),
    (b"ttcf\x00", "font/collection"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x00asm", "application/wasm"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"FWS", BINARY),  # Flash: never under the origin's name
    (b"CWS", BINARY),
)
_CONTAINERS = {
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RIFF", b"AVI "): "video/avi",
    (b"RIFF", b"WAVE"): "audio/wave",
    (b"FORM", b"AIFF"): "audio/aiff",
}
_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_BINARY_BYTE = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))
# Each alternative ends in one way only: this runs over hostile text.
_BEFORE_ROOT = re.compile(
    r"\s+|<!--.*?-->|<\?.*?\?>|<!doctype(?!\s+html\b)\s[^>\[]*(?:\[[^\]]*\]\s*)?>",
    re.DOTALL | re.IGNORECASE,
)
# WHATWG MIME Sniffing §7.1, and the tags that scripts hide in.
_HTML_ROOT = re.compile(
    r"<!doctype\s+html|<!--|<(?:[\w.-]+:)?(?:html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|img|"
    r"meta|link|form|object|embed|base|video|audio|math|template)(?=[\s/>])",
    re.IGNORECASE,
)
_ESSENCE = re.compile(
    r"[ \t\r\n]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t\r\n]*(?:;|\Z)"
)
_TEXT = re.compile(
    r"text/.+|(?!image/).+\+(?:json|xml|yaml)|(?:audio|application)/(?:x-|vnd\.apple\.)?mpegurl"
    r"|application/(?:json|xml|(?:x-)?javascript|ecmascript|(?:x-)?yaml|toml|x-sh|x-subrip|rtf)"
)


def decide(head: bytes, claimed: str | None, *, root: str | None = None) -> str:
    """Return the media type of a body that begins with `head` and that its origin calls `claimed`.

    Empty for an empty body. `head` should be the first `HEAD_BYTES`, or all there are. `root` is the name of the
    root element where it was looked for in more than `head` (`proxy.prolog.RootFinder`).
    """
    if not head:
        return ""
    found = _by_signature(head)
    if found is not None:
        return found
    if (root_of(head) if root is None else root) == "svg":
        return SVG
    text = _as_text(head)
    if text is None:
        return BINARY
    return _markup(text, essence(claimed)) or _claimed_text(essence(claimed))


def essence(claimed: str | None) -> str | None:
    """Return type and subtype of a Content-Type in lower case, or None when it cannot be read."""
    match = _ESSENCE.match(claimed or "")
    return match[1].lower() if match else None


def admitted(media_type: str, types: Iterable[str]) -> bool:
    """Tell whether a media type is in one of the ranges (`image/*`, `text/css`, `*/*`)."""
    kind, slash, _ = media_type.partition("/")
    return bool(slash) and any(text in {media_type, f"{kind}/*", "*/*"} for text in types)


def _by_signature(head: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    container = _CONTAINERS.get((head[:4], head[8:12]))
    return container or _by_structure(head)


def _by_structure(head: bytes) -> str | None:
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head[34:36] == b"LP" and head[8:11] in {b"\x00\x00\x01", b"\x01\x00\x02", b"\x02\x00\x02"}:
        return "application/vnd.ms-fontobject"
    # Two and three letters are words as well: only with the binary header that must follow.
    if head.startswith(b"BM") and _BINARY_BYTE.search(head, 2, 18):
        return "image/bmp"
    if head.startswith(b"ID3") and head[3:4] < b"\x09":
        return "audio/mpeg"
    return _mpeg_audio(head)


def _iso_media(head: bytes) -> str:
    """ISO base media: the brands tell (ISO/IEC 14496-12 §4.3, ISO/IEC 23008-12)."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]
    if not _AVIF.isdisjoint(brands):
        return "image/avif"
    if not _HEIF.isdisjoint(brands):
        return "image/heif" if brands[0] in {b"mif1", b"msf1"} else "image/heic"
    if brands[0] == b"qt  ":
        return "video/quicktime"
    return "audio/mp4" if brands[0] in {b"M4A ", b"M4B "} else "video/mp4"


def _mpeg_audio(head: bytes) -> str | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head.startswith(b"\xff\xfe"):
        return None
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    rate, frequency = head[2] >> 4, head[2] >> 2 & 3
    return "audio/mpeg" if version != 1 and layer and rate not in {0, 15} and frequency != 3 else None


def _as_text(head: bytes) -> str | None:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return head[len(bom) :].decode(encoding, "replace")
    # WHATWG MIME Sniffing §4.2, "binary data byte".
    return None if _BINARY_BYTE.search(head) else head.decode("latin-1")


def _markup(text: str, claimed: str | None) -> str | None:
    is_xml = False
    position = 0
    while match := _BEFORE_ROOT.match(text, position):
        is_xml = is_xml or match[0][:5].lower() == "<?xml"
        position = match.end()
    if _HTML_ROOT.match(text, position):
        return "text/html"
    return "text/xml" if is_xml and (claimed is None or not _TEXT.fullmatch(claimed)) else None


def _claimed_text(claimed: str | None) -> str:
    return claimed if claimed is not None and _TEXT.fullmatch(claimed) else "text/plain"
