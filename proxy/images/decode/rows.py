"""Checks the rows of a PNG and rebuilds the picture where Pillow gives up or misses a fault. Pure; runs in render
processes.

zlib's header and checksum do not matter if every row is there. For an interlaced picture the first pass suffices:
missing pixels of later passes repeat their neighbours, as in a browser while a picture loads.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image, ImageFile, PngImagePlugin

from proxy.errors import DecodeFailed
from proxy.images.decode import keys
from proxy.images.decode.body import Body
from proxy.images.decode.faults import guarded
from proxy.images.files.structure import PNG_SIGNATURE, Chunk, png_chunks
from proxy.images.geometry import Size

# PNG third edition §8.1: the origin of each pass of Adam7 and its steps (left, top, across, down).
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
_KNOWN_AFTER = ((8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2), (1, 1))
"""The size of the block, across and down, in which one pixel is known after each pass."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""PNG third edition §11.2.1: the number of channels by colour type."""
_STEP_BYTES = 1 << 20
_LAST_COLOUR = 255


def with_all_rows(image: ImageFile.ImageFile, body: Body) -> Image.Image:
    """Return a still PNG, loaded, with its transparent pixels.

    Pillow stops at a wrong checksum although all rows are there, and reports nothing if the data end properly but too
    early.

    Raises:
        DecodeFailed: an area of the picture has no data.
    """
    loaded: Image.Image = image
    has_wide_key = keys.has_wide_key(image)
    try:
        with guarded():
            unwritten = _prepared(image)
            image.load()
        doubtful = image.info.get("interlace") or _last_row_is(image, unwritten)
        rows = PngRows(body.read()) if doubtful else None
        wanting = rows is not None and not rows.all_there
    except DecodeFailed:
        rows, wanting = PngRows(body.read()), True
    if rows is not None and wanting:
        with guarded():
            loaded = rows.picture()
        loaded.info = image.info
    return keys.cleared(loaded, body) if has_wide_key else loaded


def _prepared(image: ImageFile.ImageFile) -> int:
    """Return the value that fills a row without data. Nothing is loaded at this point.

    Pillow would leave zeros. The first colour of a palette is often the paper of a chart, which would make every last
    row look suspicious. The last colour rarely fills a row, and most palettes have no colour with that number.
    """
    if image.mode != "P":
        return 0
    image.im = Image.new("P", image.size, _LAST_COLOUR).im
    return _LAST_COLOUR


def _last_row_is(image: Image.Image, unwritten: int) -> bool:
    """Return whether the last row looks as if it had no data."""
    last = image.crop((0, image.height - 1, image.width, image.height)).tobytes()
    return last.count(unwritten) == len(last)


@dataclass(frozen=True, slots=True)
class _Pass:
    """Consecutive rows in the data: their number, the bytes of each, and their distance in the picture."""

    rows: int
    row_bytes: int
    down: int

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes


class PngRows:
    """The pixel data of a still PNG."""

    def __init__(self, body: bytes) -> None:
        self._chunks = list(png_chunks(body))
        header = next(chunk.payload for chunk in self._chunks if chunk.kind == b"IHDR")
        self._size = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
        bits_per_pixel = header[8] * _CHANNELS[header[9]]
        steps = _ADAM7 if header[12] else ((0, 0, 1, 1),)
        self._interlaced = bool(header[12])
        self._passes = [_pass(self._size, step, bits_per_pixel) for step in steps]
        self._expected = sum(one.bytes for one in self._passes)

    @property
    def all_there(self) -> bool:
        """Whether there is data for every row."""
        return sum(map(len, self._inflated())) >= self._expected

    def picture(self) -> Image.Image:
        """Return the picture, loaded, from the existing rows.

        Raises:
            OSError: an area of the picture has no data.
        """
        packer, there = zlib.compressobj(1), 0
        packed = []
        for piece in self._inflated():
            there += len(piece)
            packed.append(packer.compress(piece))
        known, rows = self._known(there)
        missing = self._expected - there
        for start in range(0, missing, _STEP_BYTES):
            packed.append(packer.compress(bytes(min(_STEP_BYTES, missing - start))))
        picture = _loaded(self._chunks, b"".join(packed) + packer.flush())
        return picture if known == len(self._passes) else self._filled(picture, known, rows)

    def _known(self, there: int) -> tuple[int, int]:
        """Return the number of complete passes, and the number of rows of the picture that the next pass has
        reached."""
        for number, one in enumerate(self._passes):
            if there < one.bytes:
                if number == 0:
                    raise OSError(f"{there} bytes of rows instead of {self._expected}")
                return number, there // one.row_bytes * one.down
            there -= one.bytes
        return len(self._passes), 0

    def _filled(self, picture: Image.Image, known: int, rows: int) -> Image.Image:
        filled = _repeated(picture, _KNOWN_AFTER[known - 1])
        if rows:
            better = _repeated(picture, _KNOWN_AFTER[known])
            filled.paste(better.crop((0, 0, picture.width, min(rows, picture.height))), (0, 0))
        return filled

    def _inflated(self) -> Iterator[bytes]:
        """Return the rows as stored in the file, up to the last one of the picture."""
        # RFC 1950 §2.2: skip two bytes of header. The checksum is then not compared either.
        packed = b"".join(chunk.payload for chunk in self._chunks if chunk.kind == b"IDAT")[2:]
        unpacker, left = zlib.decompressobj(-zlib.MAX_WBITS), self._expected
        while left > 0:
            try:
                piece = unpacker.decompress(packed, min(left, _STEP_BYTES))
            except zlib.error:
                return
            packed, left = unpacker.unconsumed_tail, left - len(piece)
            if not piece:
                return
            yield piece


def _pass(size: Size, step: tuple[int, int, int, int], bits_per_pixel: int) -> _Pass:
    left, top, across, down = step
    columns, rows = len(range(left, size[0], across)), len(range(top, size[1], down))
    return _Pass(rows if columns else 0, 1 + (columns * bits_per_pixel + 7) // 8, down)


def _loaded(chunks: list[Chunk], data: bytes) -> Image.Image:
    before = [chunk for chunk in chunks if chunk.kind in {b"IHDR", b"PLTE", b"tRNS"}]
    parts = [*before, Chunk.of(b"IDAT", data), Chunk.of(b"IEND", b"")]
    image = PngImagePlugin.PngImageFile(
        io.BytesIO(PNG_SIGNATURE + b"".join(part.written() for part in parts))
    )
    image.load()
    return image


def _repeated(picture: Image.Image, step: tuple[int, int]) -> Image.Image:
    """Return a picture in which the upper left pixel of each block of `step` fills the whole block."""
    across, down = step
    small = picture.transform(
        (-(-picture.width // across), -(-picture.height // down)),
        Image.Transform.AFFINE,
        (across, 0, 0.5 - across / 2, 0, down, 0.5 - down / 2),
    )
    large = small.resize((small.width * across, small.height * down), Image.Resampling.NEAREST)
    return large.crop((0, 0, *picture.size))
