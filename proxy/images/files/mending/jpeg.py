"""JPEG: application data that libraries stumble over, and missing EOI. Pure.

A progressive JPEG that lacks its last scans is whole as soon as every area has its first one, so the end mark is put
where the file breaks off. Whether the data of a scan reach the last pixel is for the decoder to find out.
"""

from __future__ import annotations

from proxy.images.files.structure import EOI, SOS, Buffer, Segment, jpeg_segments

_END = b"\xff\xd9"
_APPLICATION = range(0xE0, 0xF0)
# ITU-T T.81 table B.1: SOF to DAC, then DQT, DNL, DRI, DHP and EXP.
_PIXELS = frozenset({*range(0xC0, 0xD0), *range(0xDB, 0xE0)})
_LOOKS = {b"JFIF\0": 12, b"Exif\0\0": 6, b"ICC_PROFILE\0": 15, b"Adobe": 12}
"""Application data that say how the pixels look, and the fewest bytes of such a segment."""
_COMMENT = 0xFE
_PHOTOSHOP = b"Photoshop 3.0\0"


def mended(data: Buffer) -> bytes | None:
    """Return the file without what a library stumbles over, None when there is nothing of the kind or no scan."""
    head, end, broken, ended = bytearray(data[:2]), len(data), False, False
    first_scan: int | None = None
    for segment in jpeg_segments(data):
        if not segment.whole:
            end = segment.start
        ended |= segment.marker == EOI
        if first_scan is None and segment.marker == SOS:
            first_scan = segment.start
        if first_scan is None:
            payload = data[segment.start : segment.end].lstrip(b"\xff")[3:]
            sound = segment.whole and _is_sound(segment, payload)
            broken |= not sound
            if sound and (segment.marker in _PIXELS or payload.startswith(tuple(_LOOKS))):
                head += data[segment.start : segment.end]
    if first_scan is None or first_scan >= end or (ended and not broken):
        return None
    return bytes(head) + data[first_scan:end] + (b"" if ended else _END)


def _is_sound(segment: Segment, payload: bytes) -> bool:
    if segment.marker in _APPLICATION:
        # Pillow reads Photoshop's resources, trusts their lengths, and nobody asks for them.
        least = next((size for prefix, size in _LOOKS.items() if payload.startswith(prefix)), 0)
        return len(payload) >= least and not payload.startswith(_PHOTOSHOP)
    return segment.marker in _PIXELS or segment.marker == _COMMENT
