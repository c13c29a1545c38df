"""WebP: a wrong size in the RIFF header, cut metadata, a missing last frame. Pure."""

from __future__ import annotations

from proxy.images.files.structure import MAX_STEPS, Buffer

_PICTURES = frozenset({b"VP8 ", b"VP8L", b"ANMF"})
_METADATA = frozenset({b"EXIF", b"XMP ", b"ICCP"})


def mended(data: Buffer) -> bytes | None:
    """Return the file with correct sizes, or None if they are correct already or the picture itself is cut.

    RFC 9649 §2.3: chunks are padded to an even size, and RIFF gives the size of all of them.
    """
    end, at, cut, seen = int.from_bytes(data[4:8], "little") + 8, 12, False, False
    for _ in range(MAX_STEPS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at >= len(data) or (seen and at >= end):
            break
        # Writers often forget the padding byte of the last chunk.
        cut = len(data) - at < 8 or at + 8 + size > len(data)
        if cut:
            break
        seen |= kind in _PICTURES
        at += 8 + size + (size & 1)
    if cut and not (seen and (kind in _METADATA or kind == b"ANMF" or len(data) - at < 8)):
        return None
    if at == end <= len(data) and not cut:
        return None
    body = data[8:at].ljust(at - 8, b"\0")
    return b"RIFF" + len(body).to_bytes(4, "little") + body
