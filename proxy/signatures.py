"""The one table of signatures: recognizes binary media types by the first bytes of a body. Pure.

Follows the WHATWG MIME Sniffing standard §6 and adds formats that it lacks: AVIF, HEIF, TIFF, JPEG XL. Does not
recognize text or SVG, and does not know what happens to a body.

    good   89 50 4E 47 0D 0A 1A 0A  ->  image/png
    good   .... ftyp avif           ->  image/avif
    bad    <svg ...                 ->  None
    bad    BM, a word               ->  None
"""

from __future__ import annotations

import re

BINARY = "application/octet-stream"

# A signature stands at the start of the body. If one is a prefix of another, the longer one comes first.
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
BINARY_BYTE = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""WHATWG MIME Sniffing §4.2, "binary data byte"."""


def media_type_of(head: bytes) -> str | None:
    """Return the media type of a body that begins with `head`, or None when we do not know it."""
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
    # Text may begin with these two or three letters, so the binary header that must follow is checked as well.
    if head.startswith(b"BM") and BINARY_BYTE.search(head, 2, 18):
        return "image/bmp"
    if head.startswith(b"ID3") and head[3:4] < b"\x09":
        return "audio/mpeg"
    return _mpeg_audio(head)


def _iso_media(head: bytes) -> str:
    """Return the media type of an ISO base media file by its brands (ISO/IEC 14496-12 §4.3, ISO/IEC 23008-12)."""
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
