"""Removes the metadata of a picture file: camera data, comments, thumbnails. Pure; runs in render processes.

Used when the rendered answer would be larger than the original although the picture itself does not change.
"""

from __future__ import annotations

from collections.abc import Iterator

from proxy.images.files.structure import MAX_STEPS, jpeg_segments

_JPEG_DROPPED = frozenset({0xE1, 0xE2, *range(0xE3, 0xEE), 0xEF, 0xFE})
"""Comments, and all application data except those of JFIF and Adobe, which say how the samples are to be read."""
_PNG_KEPT = frozenset({b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD"})
"""Ancillary chunks that affect the look of the picture (PNG third edition §11.3)."""
_WEBP_DROPPED = frozenset({b"EXIF", b"XMP "})
_WEBP_FLAGS_DROPPED = 0x08 | 0x04
_XMP_IN_GIF = b"XMP DataXMP"
_METADATA_IN_AVIF = (b"Exif", b"rdf+xml")
"""The type and the content type of items with metadata (ISO/IEC 23008-12 §A.2, §A.3)."""


def bare(data: bytes, picture_format: str) -> bytes | None:
    """Return the same picture without metadata, or None if the metadata of this format cannot be separated.

    `data` is a file that was decoded without errors.
    """
    if picture_format == "jpeg":
        return b"".join(_jpeg(data))
    if picture_format == "png":
        return b"".join(_png(data))
    if picture_format == "webp":
        return _webp(data)
    if picture_format == "gif" and _XMP_IN_GIF not in data:
        return data
    if picture_format == "avif" and not any(mark in data for mark in _METADATA_IN_AVIF):
        return data
    return None


def _jpeg(data: bytes) -> Iterator[bytes]:
    """ITU-T T.81 §B.1. What follows EOI is another picture (MPF) or nothing."""
    at = 0
    for segment in jpeg_segments(data):
        # SOI, entropy-coded data, or fill bytes before a marker.
        yield data[at : segment.start]
        if segment.marker not in _JPEG_DROPPED:
            yield data[segment.start : segment.end]
        at = segment.end


def _png(data: bytes) -> Iterator[bytes]:
    """PNG third edition §5.3, §5.4: a capital first letter marks a critical chunk."""
    yield data[:8]
    at = 8
    for _ in range(MAX_STEPS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if len(kind) < 4:
            return
        if kind[:1].isupper() or kind in _PNG_KEPT:
            yield data[at : at + 12 + length]
        if kind == b"IEND":
            return
        at += 12 + length


def _webp(data: bytes) -> bytes:
    """RFC 9649 §2.7: chunks. The first one has flags that announce the others."""
    kept, at = [], 12
    for _ in range(MAX_STEPS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if len(kind) < 4:
            break
        chunk = data[at : at + 8 + size + (size & 1)]
        at += 8 + size + (size & 1)
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~_WEBP_FLAGS_DROPPED]) + chunk[9:]
        if kind not in _WEBP_DROPPED:
            kept.append(chunk)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + len(body).to_bytes(4, "little") + body
