"""Generated pictures for tests: one function for each kind, the same bytes every time."""

from __future__ import annotations

import io
import math
import struct
import zlib
from typing import Any, Literal

from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageStat

RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 200, 30), (30, 30, 220), (255, 255, 255)
ORIENTATION_TAG = 274


def saved(picture: Image.Image, picture_format: str, **options: Any) -> bytes:
    """Return the bytes of `picture` in a Pillow format."""
    buffer = io.BytesIO()
    picture.save(buffer, picture_format, **options)
    return buffer.getvalue()


def photo(width: int = 320, height: int = 240) -> Image.Image:
    """Return soft shapes with fine detail, as a camera sees them; every quarter has its own colour."""
    bands = []
    for phase in (0.0, 1.1, 2.3):
        small = Image.new("L", (32, 32))
        across = [60 * math.sin(phase + step / 5) for step in range(32)]
        down = [60 * math.cos(phase * 2 + step / 6) for step in range(32)]
        small.putdata([int(128 + x + y) for y in down for x in across])
        bands.append(small.resize((width, height), Image.Resampling.BICUBIC))
    return Image.merge("RGB", bands)


def quarters(width: int = 120, height: int = 80) -> Image.Image:
    """Return four flat colours: red top left, green top right, blue bottom left, white bottom right."""
    picture = Image.new("RGB", (width, height), WHITE)
    picture.paste(RED, (0, 0, width // 2, height // 2))
    picture.paste(GREEN, (width // 2, 0, width, height // 2))
    picture.paste(BLUE, (0, height // 2, width // 2, height))
    return picture


def chart(width: int = 640, height: int = 400) -> Image.Image:
    """Return lines and letters on white, in a palette."""
    picture = Image.new("RGB", (width, height), WHITE)
    pen = ImageDraw.Draw(picture)
    for step in range(10):
        pen.line((40, 40 + step * 32, width - 20, 40 + step * 32), fill=(200, 200, 200))
        pen.rectangle((60 + step * 55, 380 - step * 30, 90 + step * 55, 380), fill=(40, 90, 40 + step * 20))
    pen.text((60, 10), "Pictures per year", fill=(0, 0, 0))
    return picture.quantize(32)


def chart_png(width: int, height: int, *, seed: int = 0) -> bytes:
    """Return a drawing as a PNG file, a different one for every seed."""
    picture = chart(width, height)
    picture.putpalette([(value + seed * 7 + seed // 32) % 256 for value in picture.getpalette() or []])
    return saved(picture, "PNG")


def photo_jpeg(width: int, height: int) -> bytes:
    """Return a photo as a JPEG file."""
    return saved(photo(width, height), "JPEG", quality=88)


def disc_png(width: int, height: int) -> bytes:
    """Return a picture with transparent parts as a PNG file."""
    return saved(disc(width, height), "PNG")


def disc(width: int = 200, height: int = 200) -> Image.Image:
    """Return a red disc on transparent black; scaling it without care makes a dark fringe."""
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((20, 20, width - 20, height - 20), fill=(255, 0, 0, 255))
    return picture


def upright_arrow(orientation: int) -> Image.Image:
    """Return `quarters` as a camera with that EXIF orientation stores it."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return quarters().transpose(undo[orientation]) if orientation in undo else quarters()


def exif(orientation: int | None = None, **texts: str) -> bytes:
    """Return EXIF data with an orientation and texts by tag name (Artist, Copyright, Make)."""
    tags = Image.Exif()
    if orientation is not None:
        tags[ORIENTATION_TAG] = orientation
    for name, text in texts.items():
        tags[{"Artist": 315, "Copyright": 33432, "Make": 271}[name]] = text
    return tags.tobytes()


def turned(orientation: int, picture_format: str) -> bytes:
    """Return a file whose pixels need the EXIF orientation to be upright (AVIF stores it as irot and imir)."""
    return saved(
        upright_arrow(orientation),
        picture_format,
        exif=exif(orientation),
        **_LOSSLESS.get(picture_format, {}),
    )


_LOSSLESS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}


def grey_16_bit(width: int = 64, height: int = 16) -> bytes:
    """Return a PNG with 16 bits: a ramp from black to white."""
    rows = b"".join(
        b"\0" + b"".join(struct.pack(">H", x * 65535 // (width - 1)) for x in range(width))
        for _ in range(height)
    )
    return png(width, height, zlib.compress(rows), bits=16, colour=0)


def adobe_cmyk(width: int = 64, height: int = 64) -> bytes:
    """Return a CMYK JPEG with inverted ink, as Photoshop writes it: half white, half red."""
    picture = Image.new("RGB", (width, height), WHITE)
    picture.paste((255, 0, 0), (0, 0, width // 2, height))
    return saved(picture.convert("CMYK"), "JPEG", quality=95)


def lossless_jpeg(width: int = 64, height: int = 64) -> bytes:
    """Return a lossless JPEG (T.81 Annex H). Every sample equals the one before, so the whole picture is mid-grey."""
    sizes = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\0"
    only_zero = bytes([0, 1, *[0] * 15, 0])  # one code of one bit: a difference of nothing

    def segment(marker: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    head = segment(0xC3, sizes) + segment(0xC4, only_zero) + segment(0xDA, b"\x01\x01\0\x01\0\0")
    return b"\xff\xd8" + head + bytes(-(-width * height // 8)) + b"\xff\xd9"


def with_profile(picture: Image.Image, profile: Literal["LAB", "XYZ", "sRGB"]) -> bytes:
    """Return a PNG with one of the profiles that Pillow can make: sRGB, LAB, XYZ."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile(profile))
    return saved(picture, "PNG", icc_profile=made.tobytes())


def swapped_profile() -> bytes:
    """Return a display profile with swapped red and green primaries: red pixels look green under it."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    places = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12], profile[red + 4 : red + 12],
    )  # fmt: skip
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "turn".encode("utf-16-be"))


def moving(
    picture_format: str, frames: int = 4, *, size: tuple[int, int] = (60, 40), **options: Any
) -> bytes:
    """Return an endless animation (GIF, WEBP, PNG) of a white bar on red, with delays of 50, 60, 70, ... ms."""
    pictures = []
    for number in range(frames):
        picture = Image.new("RGB", size, RED)
        picture.paste(WHITE, (number * 10, 0, number * 10 + 10, size[1]))
        pictures.append(picture)
    durations = [50 + 10 * number for number in range(frames)]
    settings: dict[str, Any] = {
        "save_all": True,
        "append_images": pictures[1:],
        "duration": durations,
        "loop": 0,
    } | options
    return saved(pictures[0], picture_format, **settings)


def cut(body: bytes, share: float = 0.5) -> bytes:
    """Return the first part of a body, as of an interrupted download."""
    return body[: int(len(body) * share)]


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    compressed: bytes,
    *,
    bits: int = 8,
    colour: int = 2,
    extra: bytes = b"",
    interlaced: bool = False,
) -> bytes:
    """Return a PNG from compressed rows; `extra` are chunks before the data."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", compressed)
        + chunk(b"IEND", b"")
    )


def _zeros(row_bytes: int, rows: int) -> bytes:
    packer = zlib.compressobj(1)
    row = b"\0" * (row_bytes + 1)
    return b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()


def png_bomb(width: int = 40_000, height: int = 40_000) -> bytes:
    """Return a valid PNG with few bytes and very many pixels."""
    return png(width, height, _zeros((width + 7) // 8, height), bits=1, colour=0)


def slow_picture(side: int = 7000) -> bytes:
    """Return a valid PNG within the pixel limit that takes at least 100 ms of processor time to decode."""
    return png(side, side, _zeros(side * 3, side))


def very_slow_picture(side: int = 7000) -> bytes:
    """Return a valid PNG within the pixel limit that takes seconds to decode: four 16-bit channels, interlaced."""
    passes = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    packer = zlib.compressobj(1)
    data = b""
    for left, top, across, down in passes:
        row = bytes(len(range(left, side, across)) * 8 + 1)
        data += b"".join(packer.compress(row) for _ in range(top, side, down))
    return png(side, side, data + packer.flush(), bits=16, colour=6, interlaced=True)


def long_gif(frames: int = 5_000) -> bytes:
    """Return a GIF of many frames of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = (
        b"\x21\xf9\x04\x00\x0a\x00\x00\x00"
        b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    )
    return head + one * frames + b"\x3b"


def opened(body: bytes) -> Image.Image:
    """Return the decoded picture of a body."""
    picture = Image.open(io.BytesIO(body))
    picture.load()
    return picture


def distance(left: Image.Image, right: Image.Image) -> float:
    """Return the mean difference of two pictures of one size, per channel, in steps of 255."""
    assert left.size == right.size
    differences = ImageChops.difference(left.convert("RGBA"), right.convert("RGBA"))
    return sum(ImageStat.Stat(differences).mean) / 4


def colour_at(picture: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """Return red, green and blue at a place in 0-1."""
    pixel = picture.convert("RGB").getpixel((int(x * (picture.width - 1)), int(y * (picture.height - 1))))
    assert isinstance(pixel, tuple)
    return pixel


def looks_like(colour: tuple[int, ...], wanted: tuple[int, ...], *, within: int = 24) -> bool:
    """Tell whether two colours differ by no more than `within` in any channel."""
    return all(abs(a - b) <= within for a, b in zip(colour, wanted, strict=True))
