"""GIF: extensions that libraries cannot read, missing trailers and last frames, a pixel without data. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from proxy.images.files.structure import MAX_STEPS, Buffer, after_sub_blocks, colour_table_bytes

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_CONTROL, _APPLICATION = 0xF9, 0xFF
_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_DESCRIPTOR_BYTES = 10
"""GIF89a §20: the descriptor of a frame before its colour table."""
_ONE_BY_ONE = b"\1\0\1\0"
_PIXEL = struct.pack("<BHHHHB", _IMAGE, 0, 0, 1, 1, 0x80) + bytes(6) + b"\x02\x02\x44\x01\x00"
"""A frame of one pixel in colour 0."""
_GREYS = b"".join(bytes([level] * 3) for level in range(256))
_TRANSPARENT = b"\x21\xf9\x04\x01\0\0\0\0"
"""GIF89a §23: the next frame is transparent where it has colour 0."""


def mended(data: Buffer) -> bytes | None:
    """Return the repaired file, or None if it needs no repair or has no frame."""
    file = _GifFile(data, 13 + colour_table_bytes(data, 10))
    while file.at < len(data) and file.steps[0] < MAX_STEPS and not file.ended:
        file.take_block()
    return file.written()


@dataclass(slots=True)
class _GifFile:
    """The parts that are kept. broken: something was dropped or changed that decoders would not drop themselves."""

    data: Buffer
    at: int
    steps: list[int] = field(default_factory=lambda: [0])
    parts: list[bytes] = field(default_factory=list)
    control: bytes = b""
    frames: int = 0
    broken: bool = False
    ended: bool = False

    def take_block(self) -> None:
        """Read one block: an extension, a frame, the trailer, or a byte that introduces nothing."""
        self.steps[0] += 1
        introducer = self.data[self.at]
        if introducer == _EXTENSION:
            self._take_extension()
        elif introducer == _IMAGE:
            self._take_frame()
        else:
            self.ended = introducer == _TRAILER
            self.at += 1

    def _take_extension(self) -> None:
        start, self.at = self.at, after_sub_blocks(self.data, self.at + 2, self.steps)
        block = self.data[start : min(self.at, len(self.data))]
        if len(block) < 4 or block[2] == 0 or self.at > len(self.data):
            self.broken = True
        elif block[1] == _CONTROL:
            self.broken |= block[2] < 4
            self.control = block if block[2] >= 4 else self.control
        elif block[1] == _APPLICATION and block[3:14] in _LOOPS:
            self.broken |= len(block) < 19
            self.parts += [block] if len(block) >= 19 else []

    def _take_frame(self) -> None:
        """Read a frame. A frame without data is made transparent if it is a single pixel. A cut frame is dropped unless
        it is the first.

        GIF89a §20, §22: descriptor, colour table, the size of the first code, sub-blocks.
        """
        start = self.at
        data_start = start + 10 + colour_table_bytes(self.data, start + 9)
        self.at = after_sub_blocks(self.data, data_start + 1, self.steps)
        block, cut = self.data[start : self.at], self.at > len(self.data)
        control, self.control = self.control, b""
        self.broken |= cut
        # A GIF of a single pixel, which counts visits, may lack everything except the trailer.
        sides = block[5:9] if len(block) >= 9 else self.data[6:10]
        if sides == _ONE_BY_ONE and len(block) <= data_start - start + 2:
            self.broken = True
            self.parts.append((_marked(control) or _TRANSPARENT) + block[:5].ljust(5, b"\0") + _PIXEL[5:])
        elif cut and self.frames:
            return
        else:
            block = _closed(block, data_start - start + 1) if cut else block
            self.parts += [control, self._with_colours(block, control)]
        self.frames += 1

    def _with_colours(self, block: bytes, control: bytes) -> bytes:
        """Return a frame with a grey colour table if it has none. Without a table, Pillow forgets transparency."""
        has_colours = len(block) < _DESCRIPTOR_BYTES or (self.data[10] | block[9]) & 0x80
        if has_colours or not control or not control[3] & 1:
            return block
        self.broken = True
        return block[:9] + bytes([block[9] | 0x87]) + _GREYS + block[10:]

    def written(self) -> bytes | None:
        """Return the repaired file, or None if it was valid before."""
        if not self.frames and self.data[6:10] == _ONE_BY_ONE:
            self.parts, self.frames, self.broken = [_TRANSPARENT + _PIXEL], 1, True
        if not self.frames or (self.ended and not self.broken):
            return None
        head = self.data[: 13 + colour_table_bytes(self.data, 10)]
        return head + b"".join(self.parts) + bytes([_TRAILER])


def _closed(block: bytes, at: int) -> bytes:
    """Return a cut frame whose sub-blocks, from `at` on, end at the end of the file."""
    while at < len(block) and at + 1 + block[at] <= len(block):
        at += 1 + block[at]
    rest = block[at + 1 :]
    return block[:at] + (bytes([len(rest)]) + rest if rest else b"") + b"\0"


def _marked(control: bytes) -> bytes:
    """Return a graphic control extension with colour 0 as the transparent one and unchanged delay and disposal."""
    return control[:3] + bytes([control[3] | 1]) + control[4:6] + b"\0\0" if len(control) >= 8 else b""
