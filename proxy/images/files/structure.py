"""Parses the outer structure of picture files: blocks, chunks and boxes, never pixels. Pure; runs anywhere.

Gives the number of frames and whether the file is complete. Hostile input is the normal case: every loop advances and
stops after `MAX_STEPS`, and data outside the file count as empty.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mmap import mmap

Buffer = bytes | mmap

MAX_BLOCKS = 100_000
"""The most segments of a JPEG, chunks of a PNG, and tiles or strips of a TIFF. Libraries take microseconds for each.
Real files have a few thousand, and a 32 MiB file could have millions."""
MAX_STEPS = 1_000_000
"""The most blocks to examine. A 32 MiB GIF of full blocks has 131,072. A file of tiny blocks is not worth a second."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""PNG third edition §5.2. Which formats begin how stands in `proxy.signatures`."""

# Fill bytes (0xFF) may precede a marker. A pattern that consumed them would take quadratic time on a file full of them.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


_SVG_TAIL_BYTES = 1024
_SVG_END = re.compile(rb"</(?:[\w.-]{1,99}:)?svg\s*>(?:\s|<!--(?:(?!-->).)*-->)*\Z", re.DOTALL)

# ITU-T T.81 table B.1: SOF3, SOF7, SOF11, SOF15.
_LOSSLESS_FRAMES = frozenset({0xC3, 0xC7, 0xCB, 0xCF})


@dataclass(frozen=True, slots=True)
class Structure:
    """The result of parsing. complete: the end of the format was found.

    frames: counted until just above the given limit. extent: the largest right and bottom edge of GIF frames.
    exif: the bytes of a PNG's eXIf chunk, wherever it stands. lossless: the JPEG uses the lossless process.
    scans: the scans of a JPEG; with more than one, a decoder holds the whole picture. refined: the last scan only
    refines earlier ones. blocks: of a JPEG, PNG or TIFF, counted until just above `MAX_BLOCKS`.
    canvas: of a WebP, in pixels, from its first chunk.
    """

    complete: bool
    frames: int = 1
    extent: tuple[int, int] = (0, 0)
    exif: bytes = b""
    lossless: bool = False
    scans: int = 1
    refined: bool = False
    blocks: int = 0
    canvas: tuple[int, int] = (0, 0)


def _big(data: Buffer, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "big")


def _little(data: Buffer, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")


@dataclass(frozen=True, slots=True)
class Segment:
    """A marker of a JPEG with its data: `data[start:end]`, including the bytes of the marker itself.

    ITU-T T.81 §B.1.1.4. whole: the file contains all of it. Entropy-coded data lie between two segments.
    """

    marker: int
    start: int
    end: int
    whole: bool


SOS, EOI = 0xDA, 0xD9


def jpeg_segments(data: Buffer) -> Iterator[Segment]:
    """Return the segments of a JPEG after its first marker, up to EOI."""
    at = 2
    for _ in range(MAX_BLOCKS + 1):
        found = _MARKER.search(data, at)
        if found is None:
            return
        marker, start, at = data[found.end() - 1], found.start(), found.end()
        if marker not in {0x01, 0xD8, EOI}:
            at += max(2, _big(data, at, 2))
        yield Segment(marker, start, min(at, len(data)), at <= len(data))
        if marker == EOI:
            return


def walk_jpeg(data: Buffer, _max_frames: int) -> Structure:
    """ITU-T T.81 §B.1: marker segments, entropy-coded data after each SOS, EOI."""
    ended, scans, lossless, refined, blocks = False, 0, False, False, 0
    for segment in jpeg_segments(data):
        blocks += 1
        ended |= segment.marker == EOI
        if segment.marker == SOS and segment.whole:
            scans += 1
            refined = _refines(data[segment.end - 3 : segment.end])
        lossless |= segment.marker in _LOSSLESS_FRAMES
    return Structure(ended and scans > 0, scans=scans, refined=refined, lossless=lossless, blocks=blocks)


def _refines(header_end: bytes) -> bool:
    """ITU-T T.81 §B.2.3, §G.1.1.1: a scan of higher frequencies (Ss) or of further bits (Ah)."""
    return len(header_end) == 3 and (header_end[0] > 0 or header_end[2] >> 4 > 0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a PNG with `length` bytes of payload in `data` from `start` on. whole: the file contains its checksum
    too."""

    kind: bytes
    data: Buffer
    start: int
    length: int
    whole: bool

    @classmethod
    def of(cls, kind: bytes, payload: bytes) -> Chunk:
        """Return a new chunk."""
        return cls(kind, payload, 0, len(payload), whole=True)

    @property
    def payload(self) -> bytes:
        """The payload, as far as the file contains it."""
        return self.data[self.start : self.start + self.length]

    @property
    def checks_out(self) -> bool:
        """Whether the checksum in the file is correct."""
        found = _big(self.data, self.start + self.length, 4)
        return self.whole and zlib.crc32(self.payload, zlib.crc32(self.kind)) == found

    def written(self) -> bytes:
        """Return the chunk with the correct length and checksum of its payload."""
        payload = self.payload
        checksum = zlib.crc32(payload, zlib.crc32(self.kind))
        return len(payload).to_bytes(4, "big") + self.kind + payload + checksum.to_bytes(4, "big")


def png_chunks(data: Buffer) -> Iterator[Chunk]:
    """Return the chunks of a PNG (third edition §5.3) up to IEND; the last one may be incomplete."""
    at = 8
    for _ in range(MAX_BLOCKS + 1):
        length, kind = _big(data, at, 4), data[at + 4 : at + 8]
        if len(kind) < 4:
            return
        end = at + 12 + length
        yield Chunk(kind, data, at + 8, length, end <= len(data))
        if kind == b"IEND" or end > len(data):
            return
        at = end


def walk_png(data: Buffer, max_frames: int) -> Structure:
    """PNG third edition §11.3.6 (acTL, fcTL), §11.3.4.5 (eXIf)."""
    frames, exif, data_seen, ended, blocks = 0, b"", False, False, 0
    for chunk in png_chunks(data):
        blocks += 1
        if not chunk.whole or frames > max_frames:
            break
        frames += chunk.kind == b"fcTL"
        data_seen |= chunk.kind == b"IDAT"
        ended |= chunk.kind == b"IEND"
        if chunk.kind == b"eXIf" and chunk.length <= 65536:
            exif = chunk.payload
    return Structure(data_seen and ended, max(1, frames), exif=exif, blocks=blocks)


def walk_gif(data: Buffer, max_frames: int) -> Structure:
    """GIF89a §18-27: screen descriptor, then extensions and pictures, each followed by sub-blocks, then 0x3B."""
    at = 13 + colour_table_bytes(data, 10)
    frames, right, bottom, steps = 0, 0, 0, [0]
    while at < len(data) and frames <= max_frames and steps[0] < MAX_STEPS:
        introducer = data[at]
        if introducer == 0x3B:
            return Structure(frames > 0, max(1, frames), (right, bottom))
        if introducer == 0x21:
            at = after_sub_blocks(data, at + 2, steps)
        elif introducer == 0x2C:
            frames += 1
            right = max(right, _little(data, at + 1, 2) + _little(data, at + 5, 2))
            bottom = max(bottom, _little(data, at + 3, 2) + _little(data, at + 7, 2))
            at = after_sub_blocks(data, at + 11 + colour_table_bytes(data, at + 9), steps)
        else:
            # Decoders skip bytes that introduce nothing.
            at += 1
            steps[0] += 1
    return Structure(False, max(1, frames), (right, bottom))


def colour_table_bytes(data: Buffer, at: int) -> int:
    """Return the length of the colour table that the flags at `at` announce (GIF89a §18, §20)."""
    flags = _little(data, at, 1)
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def after_sub_blocks(data: Buffer, at: int, steps: list[int]) -> int:
    """Return the end of a series of sub-blocks, including its terminator. It lies beyond the file if the series is cut.

    GIF89a §15, §16. steps: counts the blocks of the whole file.
    """
    size = len(data)
    while at < size and data[at] and steps[0] < MAX_STEPS:
        at += data[at] + 1
        steps[0] += 1
    return at + 1


def walk_webp(data: Buffer, max_frames: int) -> Structure:
    """RFC 9649 §2.3-2.7: RIFF chunks, padded to even sizes; each ANMF holds a frame."""
    end = _little(data, 4, 4) + 8
    frames, at = 0, 12
    for _ in range(MAX_STEPS):
        if at + 8 > min(end, len(data)) or frames > max_frames:
            break
        frames += data[at : at + 4] == b"ANMF"
        size = _little(data, at + 4, 4)
        at += 8 + size + (size & 1)
    # The size in the RIFF header may lack the last padding byte.
    complete = end <= len(data) and at in {end, end + 1}
    return Structure(complete, max(1, frames), canvas=_webp_canvas(data))


def _webp_canvas(data: Buffer) -> tuple[int, int]:
    """RFC 9649 §2.5-2.7: 14 bits for each side in VP8 (RFC 6386 §9.1) and VP8L, 24 bits in VP8X."""
    kind, sides = data[12:16], _little(data, 21, 4)
    if kind == b"VP8X":
        return _little(data, 24, 3) + 1, _little(data, 27, 3) + 1
    if kind == b"VP8L":
        return (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1
    return _little(data, 26, 2) & 0x3FFF, _little(data, 28, 2) & 0x3FFF


def walk_boxes(data: Buffer, _max_frames: int) -> Structure:
    """ISO/IEC 14496-12 §4.2: boxes up to the end of the file, including a description and data."""
    at = 0
    kinds: set[bytes] = set()
    for _ in range(MAX_STEPS):
        if at == len(data):
            return Structure(b"mdat" in kinds and bool(kinds & {b"meta", b"moov"}))
        size, kind, header = _big(data, at, 4), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = _big(data, at + 8, 8), 16
        kinds.add(kind)
        if size < header or at + size > len(data):
            # A size of 0 means "up to the end of the file", which proves nothing.
            break
        at += size
    return Structure(False)


def walk_bmp(data: Buffer, _max_frames: int) -> Structure:
    """BITMAPFILEHEADER: the start of the pixels. Uncompressed pixels fill rows of four-byte words."""
    offset, width, height = _little(data, 10, 4), _little(data, 18, 4), _little(data, 22, 4)
    bits, compression, size = _little(data, 28, 2), _little(data, 30, 4), _little(data, 34, 4)
    if _little(data, 14, 4) == 12:
        width, height = _little(data, 18, 2), _little(data, 20, 2)
        bits, compression, size = _little(data, 24, 2), 0, 0
    if height >= 2**31:
        height = 2**32 - height
    if compression in {0, 3, 6}:
        size = (width * bits + 31) // 32 * 4 * height
    return Structure(0 < size <= len(data) - offset)


def walk_ico(data: Buffer, _max_frames: int) -> Structure:
    """ICONDIR: every picture of the directory lies inside the file."""
    count = _little(data, 4, 2)
    ends = [_little(data, at + 8, 4) + _little(data, at + 12, 4) for at in range(6, 6 + 16 * count, 16)]
    return Structure(bool(ends) and 6 + 16 * count <= len(data) and max(ends) <= len(data))


def walk_tiff(data: Buffer, _max_frames: int) -> Structure:
    """TIFF 6.0 §2: strips (273, 279) or tiles (324, 325) of the first directory lie inside the file."""
    number = _little if data[:2] == b"II" else _big
    if number(data, 2, 2) != 42:
        return Structure(False)
    at = number(data, 4, 4)
    count = number(data, at, 2)
    tags = {number(data, at + 2 + 12 * i, 2): at + 2 + 12 * i for i in range(count)}
    if not count or at + 2 + 12 * count > len(data):
        return Structure(False)
    for offsets, counts in ((273, 279), (324, 325)):
        if offsets in tags and counts in tags:
            places = zip(
                _values(data, tags[offsets], number), _values(data, tags[counts], number), strict=False
            )
            ends = [start + length for start, length in places]
            return Structure(bool(ends) and max(ends) <= len(data), blocks=len(ends))
    return Structure(False)


def _values(data: Buffer, at: int, number: Callable[[Buffer, int, int], int]) -> Iterator[int]:
    size = {3: 2, 4: 4}.get(number(data, at + 2, 2), 0)
    count = number(data, at + 4, 4)
    if not size or count * size > len(data):
        return
    count = min(count, MAX_BLOCKS + 1)
    start = at + 8 if count * size <= 4 else number(data, at + 8, 4)
    for index in range(count):
        yield number(data, start + index * size, size)


def walk_svg(data: Buffer, _max_frames: int) -> Structure:
    """The end tag of the root, with any prefix. UTF-16 without its zeros reads like ASCII."""
    tail = data[-_SVG_TAIL_BYTES:].replace(b"\0", b"")
    return Structure(_SVG_END.search(tail) is not None)
