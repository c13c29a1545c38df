"""JPEG: application data that libraries cannot read, and a missing EOI. Pure.

A progressive JPEG without its last scans is complete if every area has its first scan. The end mark is therefore added
where the file breaks off. The decoder finds out whether the data of a scan reach the last pixel.
"""

from __future__ import annotations

from proxy.images.files.structure import EOI, SOS, Buffer, Segment, jpeg_segments

_END = b"\xff\xd9"
_APPLICATION = range(0xE0, 0xF0)
# ITU-T T.81 table B.1: SOF to DAC, then DQT, DNL, DRI, DHP and EXP.
_PIXELS = frozenset({*range(0xC0, 0xD0), *range(0xDB, 0xE0)})
_LOOKS = {b"JFIF\0": 12, b"Exif\0\0": 6, b"ICC_PROFILE\0": 15, b"Adobe": 12}
"""Application data that affect the look of the pixels, with the minimum length of such a segment."""
_COMMENT = 0xFE
_PHOTOSHOP = b"Photoshop 3.0\0"


def mended(data: Buffer) -> bytes | None:
    """Return the repaired file, or None if it needs no repair or has no scan."""
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
        # Pillow parses Photoshop's resources and trusts their lengths, and nothing needs them.
        least = next((size for prefix, size in _LOOKS.items() if payload.startswith(prefix)), 0)
        return len(payload) >= least and not payload.startswith(_PHOTOSHOP)
    return segment.marker in _PIXELS or segment.marker == _COMMENT
