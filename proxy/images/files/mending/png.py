"""PNG: chunks that libraries cannot read, animations without their last frames, missing ends. Pure.

It drops what libpng ignores: ancillary chunks with a wrong checksum or length, at a wrong place, or duplicated.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from proxy.images.files.structure import PNG_SIGNATURE, Buffer, Chunk, png_chunks

MAX_PROFILE_BYTES = 8 << 20
"""The largest colour profile that is read. The largest ones in use, those of printing presses, have 3 MB."""

_DATA = frozenset({b"IDAT", b"fdAT"})
_ANIMATING = frozenset({b"acTL", b"fcTL", b"fdAT"})
_PIXELS = _DATA | _ANIMATING | {b"IHDR", b"PLTE"}
_LOOKS = frozenset({b"tRNS", b"gAMA", b"sRGB", b"iCCP", b"eXIf"})
"""Chunks that affect the look of the pixels. Each may occur once, and all but eXIf before the pixels (PNG third edition
§5.6)."""
_LENGTHS = {b"gAMA": 4, b"sRGB": 1, b"cHRM": 32, b"pHYs": 9, b"acTL": 8, b"fcTL": 26}
"""PNG third edition §11.3."""
_COMPRESSED_TEXTS = frozenset({b"zTXt", b"iTXt"})
"""Chunks that nothing here reads and that libraries decompress."""
_GREY, _RGB, _PALETTE = 0, 2, 3


def mended(data: Buffer) -> bytes | None:
    """Return the repaired file, or None if it needs no repair."""
    file = _PngFile()
    for chunk in png_chunks(data):
        if chunk.kind == b"IEND":
            file.ended = chunk.whole
            break
        file.take(chunk)
    return file.written()


@dataclass(slots=True)
class _PngFile:
    """The chunks that are kept. broken: something harmful was dropped, or something must be written differently."""

    parts: list[Chunk] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    broken: bool = False
    ended: bool = False

    def take(self, chunk: Chunk) -> None:
        # A data chunk that is cut may still contain all rows. They are counted when they are decoded.
        sound = chunk.kind in _DATA or self._is_sound(chunk)
        self.broken |= not sound or not chunk.whole
        if sound and (chunk.kind in _PIXELS or chunk.kind in _LOOKS):
            self.parts.append(self._narrowed(chunk) if chunk.kind == b"tRNS" else chunk)
        self.seen.add(chunk.kind)

    def _is_sound(self, chunk: Chunk) -> bool:
        if chunk.kind in _PIXELS and chunk.kind != b"acTL":
            # The decoder decides about a wrong checksum here.
            return chunk.whole and chunk.length == _LENGTHS.get(chunk.kind, chunk.length)
        if not chunk.whole or not chunk.checks_out or chunk.kind in _COMPRESSED_TEXTS:
            return False
        late = b"IDAT" in self.seen and chunk.kind != b"eXIf"
        if chunk.kind in _LOOKS and (late or chunk.kind in self.seen):
            return False
        if chunk.kind == b"tRNS":
            return self._is_transparency(chunk.length)
        if chunk.kind == b"iCCP":
            return _is_profile(chunk.payload)
        return chunk.length == _LENGTHS.get(chunk.kind, chunk.length)

    def _is_transparency(self, length: int) -> bool:
        """PNG third edition §11.3.1.1: a value for each channel, or an alpha for each of the first colours."""
        _, colour = self._header()
        colours = sum(part.length // 3 for part in self.parts if part.kind == b"PLTE")
        return {_GREY: length == 2, _RGB: length == 6, _PALETTE: 0 < length <= colours}.get(colour, False)

    def _narrowed(self, chunk: Chunk) -> Chunk:
        """Return a transparent colour without meaningless bits: as many of its 16 bits count as a channel has."""
        bits, colour = self._header()
        if colour == _PALETTE or bits == 16:
            return chunk
        most = (1 << bits) - 1
        payload = bytes(byte & most if number % 2 else 0 for number, byte in enumerate(chunk.payload))
        self.broken |= payload != chunk.payload
        return Chunk.of(b"tRNS", payload)

    def _header(self) -> tuple[int, int]:
        """Return the bits of each channel and the colour type (PNG third edition §11.2.1)."""
        header = self.parts[0].payload if self.parts else b""
        return (header[8], header[9]) if len(header) == 13 else (0, -1)

    def written(self) -> bytes | None:
        """Return the repaired file, or None if it was valid before."""
        self._end_animation()
        if not (self.broken or not self.ended) or b"IDAT" not in self.seen:
            return None
        return (
            PNG_SIGNATURE + b"".join(part.written() for part in self.parts) + Chunk.of(b"IEND", b"").written()
        )

    def _end_animation(self) -> None:
        """Count the frames that have data, and write that number. An animation of one frame becomes a still.

        APNG §acTL: the number of frames must not be larger than the number of frames that follow.
        """
        control = next((part for part in self.parts if part.kind == b"acTL"), None)
        if control is None:
            self.broken |= any(part.kind in _ANIMATING for part in self.parts)
            self._make_still()
            return
        while self.parts[-1].kind == b"fcTL":
            self.parts.pop()
            self.broken = True
        frames = sum(part.kind == b"fcTL" for part in self.parts)
        if frames <= 1 < int.from_bytes(control.payload[:4], "big"):
            self.broken = True
            self._make_still()
        elif frames < int.from_bytes(control.payload[:4], "big"):
            self.broken = True
            payload = frames.to_bytes(4, "big") + control.payload[4:]
            self.parts[self.parts.index(control)] = Chunk.of(b"acTL", payload)

    def _make_still(self) -> None:
        self.parts = [part for part in self.parts if part.kind not in _ANIMATING]


def _is_profile(payload: bytes) -> bool:
    """PNG third edition §11.3.2.3: a name, a zero, the method 0, and a stream that we decompress here up to a limit."""
    name, _, packed = payload.partition(b"\0")
    if not name or packed[:1] != b"\0":
        return False
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail
