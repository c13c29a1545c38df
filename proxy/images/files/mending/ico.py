"""ICO and CUR: rewrites a cursor, or an icon that is cut, as an icon of its best picture alone. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from proxy.images.files.mending import png
from proxy.images.files.structure import PNG_SIGNATURE, Buffer

_ICON, _CURSOR = 1, 2
_HEAD, _ENTRY = 6, 16


@dataclass(frozen=True, slots=True)
class _Entry:
    """A directory entry: the sides in pixels (0 means 256), the number of colours, and the position of the picture."""

    width: int
    height: int
    colours: int
    start: int
    size: int

    @property
    def area(self) -> int:
        return (self.width or 256) * (self.height or 256)


def mended(data: Buffer) -> bytes | None:
    """Return an icon of the largest picture with the most colours, or None if the file needs no repair."""
    kind, count = struct.unpack("<HH", data[2:6].ljust(4, b"\0"))
    entries = [
        _entry(data, at) for at in range(_HEAD, _HEAD + _ENTRY * count, _ENTRY) if at + _ENTRY <= len(data)
    ]
    there = [entry for entry in entries if entry.start < len(data)]
    if not there:
        return None
    best = max(there, key=lambda entry: (entry.area, _bits(data, entry)))
    picture = data[best.start : best.start + best.size]
    whole = png.mended(picture) if picture.startswith(PNG_SIGNATURE) else None
    if kind == _ICON and len(there) == count and whole is None:
        return None
    picture = whole or picture
    # A cursor stores its hot spot where an icon stores planes and bits per pixel.
    line = struct.pack(
        "<BBBBHHII", best.width, best.height, best.colours, 0, 1, _bits(data, best), len(picture), 22
    )
    return struct.pack("<HHH", 0, _ICON, 1) + line + picture


def _entry(data: Buffer, at: int) -> _Entry:
    width, height, colours, _, _, _, size, start = struct.unpack("<BBBBHHII", data[at : at + _ENTRY])
    return _Entry(width, height, colours, start, size)


def _bits(data: Buffer, entry: _Entry) -> int:
    """BITMAPINFOHEADER: biBitCount. A PNG counts as 32."""
    head = data[entry.start : entry.start + 16]
    return 32 if head.startswith(PNG_SIGNATURE) else int.from_bytes(head[14:16], "little")
