"""Damaged files, and what a reader must make of them: the picture, or an error.

`HARMLESS` holds (format, damaged file, good file) by name: both show the same picture. `FATAL` holds (format, file):
part of the picture has no data.
"""

from __future__ import annotations

import random
import struct
import zlib

import pictures
from pictures import chunk, saved
from PIL import Image, ImageCms

_SIZE = (97, 61)
_PHOTO = pictures.photo(*_SIZE)
_NOISE = random.Random(11).randbytes(200)  # noqa: S311 - damage, not a secret
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
_END = chunk(b"IEND", b"")


def _rows(picture: Image.Image) -> bytes:
    row_bytes, data = picture.width * 3, picture.tobytes()
    return b"".join(b"\0" + data[at : at + row_bytes] for at in range(0, len(data), row_bytes))


def _png(*chunks: bytes, end: bytes = _END, interlaced: bool = False) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *_SIZE, 8, 2, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + end


def _idat(rows: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(rows))


def _wrong(one: bytes) -> bytes:
    """Return a chunk with a wrong checksum."""
    return one[:-4] + b"\1\2\3\4"


_ROWS = _rows(_PHOTO)
_PACKED = zlib.compress(_ROWS)
_PIXELS = _idat(_ROWS)
_PNG = _png(_PIXELS)
_SHORT = {
    b"gAMA": b"\0\0", b"pHYs": b"\0\0\x0b", b"cHRM": b"\0" * 9, b"tRNS": b"\0", b"sBIT": b"", b"bKGD": b"\0",
    b"hIST": b"\0", b"tIME": b"\7", b"sRGB": b"", b"iCCP": b"x", b"eXIf": b"MM", b"acTL": b"\0\0\0", b"zTXt": b"a",
    b"iTXt": b"a\0\1", b"sPLT": b"", b"cICP": b"\1", b"abCd": b"",
}  # fmt: skip
_MISPLACED = {b"gAMA": struct.pack(">I", 100_000), b"tRNS": bytes(_ROWS[1:2].rjust(2, b"\0")) * 3}


def _large_profile() -> bytes:
    return chunk(b"iCCP", b"large\0\0" + zlib.compress(_SRGB + bytes(2_000_000)))


def _long_texts() -> bytes:
    text = zlib.compress(b'{"node":1}' * 200_000)
    return chunk(b"zTXt", b"workflow\0\0" + text) + chunk(b"iTXt", b"prompt\0\1\0\0\0" + text)


def _unfinished() -> bytes:
    """Return a deflate stream that holds every row and lacks its end."""
    packer = zlib.compressobj()
    return packer.compress(_ROWS) + packer.flush(zlib.Z_SYNC_FLUSH)


_HARMLESS_PNG = {
    **{f"short {kind.decode()}": _png(chunk(kind, data), _PIXELS) for kind, data in _SHORT.items()},
    **{
        f"{kind.decode()} with a wrong checksum": _png(_wrong(chunk(kind, data + bytes(8))), _PIXELS)
        for kind, data in _SHORT.items()
    },
    **{
        f"{kind.decode()} behind the pixels": _png(_PIXELS, chunk(kind, data))
        for kind, data in _MISPLACED.items()
    },
    **{f"short {kind.decode()} behind the pixels": _png(_PIXELS, chunk(kind, b"\0")) for kind in _MISPLACED},
    "second gamma": _png(*(chunk(b"gAMA", struct.pack(">I", gamma)) for gamma in (45_455, 90_000)), _PIXELS),
    "large profile": _png(_large_profile(), _PIXELS),
    "profile of an unknown method": _png(chunk(b"iCCP", b"x\0\7" + zlib.compress(_SRGB)), _PIXELS),
    "texts of 2 MB": _png(_long_texts(), _PIXELS),
    "checksum of the pixels": _png(_wrong(_PIXELS)),
    "checksum of zlib": _png(chunk(b"IDAT", _PACKED[:-4] + b"abcd")),
    "no checksum of zlib": _png(chunk(b"IDAT", _PACKED[:-4])),
    "header of zlib": _png(chunk(b"IDAT", b"\x78\0" + _PACKED[2:])),
    "no end of deflate": _png(chunk(b"IDAT", _unfinished())),
    "more rows than there are": _png(_idat(_ROWS * 2)),
    "no IEND": _png(_PIXELS, end=b""),
    "half an IEND": _png(_PIXELS, end=_END[:7]),
    "IEND with a wrong checksum": _png(_PIXELS, end=_wrong(_END)),
    "cut in the last checksum": _png(_PIXELS, end=b"")[:-2],
}

_JPEG = saved(_PHOTO, "JPEG", quality=90)


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


_SEGMENTS = {
    "short JFIF": _segment(0xE0, b"JFIF\0\1"),
    "short Adobe": _segment(0xEE, b"Adobe\0"),
    "EXIF that is noise": _segment(0xE1, b"Exif\0\0" + _NOISE),
    "EXIF that is cut": _segment(0xE1, pictures.exif(6)[:13]),
    "profile without a number": _segment(0xE2, b"ICC_PROFILE\0"),
    "profile without its other part": _segment(0xE2, b"ICC_PROFILE\0\1\2" + _SRGB[:200]),
    "profile that is noise": _segment(0xE2, b"ICC_PROFILE\0\1\1" + _NOISE),
    "directory of pictures that is noise": _segment(0xE2, b"MPF\0" + _NOISE),
    "Photoshop's data, cut": _segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04"),
    "end mark in a comment": _segment(0xFE, b"\xff\xd9\xff\xda"),
    "reserved marker": b"\xff\x02\0\4ab",
    "fill bytes": b"\xff" * 40,
}
_HARMLESS_JPEG = {
    **{name: _JPEG[:2] + segment + _JPEG[2:] for name, segment in _SEGMENTS.items()},
    "no EOI": _JPEG[:-2],
    "half an EOI": _JPEG[:-1],
    "zeros for an EOI": _JPEG[:-2] + bytes(300),
}

_GIF = saved(_PHOTO.quantize(64), "GIF")
_GIF_HEAD = 13 + 3 * (2 << (_GIF[10] & 7))
_EXTENSIONS = {
    "short control": b"\x21\xf9\2\0\0\0",
    "empty control": b"\x21\xf9\0",
    "empty application": b"\x21\xff\0",
    "short application": b"\x21\xff\3abc\0",
    "loop without a number": b"\x21\xff\x0bNETSCAPE2.0\0",
    "empty unknown extension": b"\x21\x77\0",
}
_HARMLESS_GIF = {
    **{name: _GIF[:_GIF_HEAD] + extension + _GIF[_GIF_HEAD:] for name, extension in _EXTENSIONS.items()},
    "no trailer": _GIF[:-1],
    "no terminator": _GIF[:-2],
}

_WEBP = saved(_PHOTO, "WEBP", quality=90)


def _riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _extended(flags: int, *chunks: bytes) -> bytes:
    sides = b"".join((side - 1).to_bytes(3, "little") for side in _SIZE)
    return _riff(b"VP8X" + struct.pack("<II", 10, flags) + sides, *chunks)


def _sized(difference: int) -> bytes:
    size = struct.unpack("<I", _WEBP[4:8])[0] + difference
    return _WEBP[:4] + struct.pack("<I", size) + _WEBP[8:]


_HARMLESS_WEBP = {
    **{f"RIFF size off by {difference}": _sized(difference) for difference in (-2, -1, 1, 2, 900)},
    "EXIF that is noise": _extended(8, _WEBP[12:], b"EXIF" + struct.pack("<I", 200) + _NOISE),
    "EXIF that is cut": _extended(8, _WEBP[12:], b"EXIF" + struct.pack("<I", 5000) + _NOISE),
    "header of EXIF that is cut": _extended(8, _WEBP[12:], b"EXI"),
    "profile that is noise": _extended(0x20, b"ICCP" + struct.pack("<I", 200) + _NOISE, _WEBP[12:]),
    "flags of what is not there": _extended(0x2C, _WEBP[12:]),
}

_AVIF = saved(_PHOTO, "AVIF", quality=90)
_AVIF_EXIF = saved(_PHOTO, "AVIF", quality=90, exif=pictures.exif(1, Artist="painter"))
_HARMLESS_AVIF = {
    "profile that is noise": saved(_PHOTO, "AVIF", quality=90, icc_profile=_NOISE),
    "EXIF that is noise": _AVIF_EXIF.replace(b"painter", b"\xff" * 7).replace(b"MM\0*", b"\xff" * 4),
    "XMP that is noise": saved(_PHOTO, "AVIF", quality=90, xmp=b"\xff\xfe<<<"),
}

_ICO = saved(pictures.disc(64, 64).resize((32, 32)), "ICO", sizes=[(32, 32)])
_ICON_BMP = saved(
    pictures.disc(64, 64).resize((32, 32)), "ICO", sizes=[(16, 16), (32, 32)], bitmap_format="bmp"
)
_HARMLESS_ICO = {"PNG inside without IEND": _ICO[:-12], "PNG inside without its last checksum": _ICO[:-16]}


def cursor(icon: bytes, hot_spot: tuple[int, int] = (5, 7)) -> bytes:
    """Return an icon as a cursor: type 2, and a hot spot for planes and bits."""
    made = bytearray(b"\0\0\2\0" + icon[4:])
    for at in range(6, 6 + 16 * icon[4], 16):
        made[at + 4 : at + 8] = struct.pack("<HH", *hot_spot)
    return bytes(made)


def two_tone_cursor() -> bytes:
    """Return a one-bit cursor whose mask makes the left half white and the right half transparent."""
    head = struct.pack("<IiiHHIIiiII", 40, 32, 64, 1, 1, 0, 256, 0, 0, 2, 0) + b"\0\0\0\0\xff\xff\xff\0"
    body = head + b"\xff\xff\0\0" * 32 + b"\0\0\xff\xff" * 32
    return struct.pack("<HHHBBBBHHII", 0, 2, 1, 32, 32, 2, 0, 3, 4, len(body), 22) + body


HARMLESS: dict[str, tuple[str, bytes, bytes]] = {
    f"{picture_format}: {name}": (picture_format, damaged, good)
    for picture_format, good, all_of_it in (
        ("png", _PNG, _HARMLESS_PNG),
        ("jpeg", _JPEG, _HARMLESS_JPEG),
        ("gif", _GIF, _HARMLESS_GIF),
        ("webp", _WEBP, _HARMLESS_WEBP),
        ("avif", _AVIF, _HARMLESS_AVIF),
        ("ico", _ICO, _HARMLESS_ICO),
    )
    for name, damaged in all_of_it.items()
}
HARMLESS |= {
    "ico: cursor with a PNG": ("ico", cursor(_ICO), _ICO),
    "ico: cursor with BMP of two sizes": ("ico", cursor(_ICON_BMP), _ICON_BMP),
    "ico: cursor with a hot spot far out": ("ico", cursor(_ICON_BMP, (900, 65_535)), _ICON_BMP),
}

# PNG third edition §8.1: left, top, across, down.
_ADAM7 = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip


def interlaced(passes: float) -> bytes:
    """Return the photo as an interlaced PNG with so many of its seven passes."""
    data = [_rows(_every(left, top, across, down)) for left, top, across, down in _ADAM7]
    whole = int(passes)
    part = data[whole][: int(len(data[whole]) * (passes - whole))] if whole < 7 else b""
    return _png(_idat(b"".join(data[:whole]) + part), interlaced=True)


def _every(left: int, top: int, across: int, down: int) -> Image.Image:
    columns, rows = range(left, _SIZE[0], across), range(top, _SIZE[1], down)
    picture = Image.new("RGB", (len(columns), len(rows)))
    for row, y in enumerate(rows):
        for column, x in enumerate(columns):
            pixel = _PHOTO.getpixel((x, y))
            assert pixel is not None
            picture.putpixel((column, row), pixel)
    return picture


_PROGRESSIVE = saved(_PHOTO, "JPEG", quality=90, progressive=True)


def scans(count: float, *, ended: bool) -> bytes:
    """Return the photo as a progressive JPEG with so many scans, with or without EOI behind them."""
    starts = [at for at in range(len(_PROGRESSIVE) - 1) if _PROGRESSIVE[at : at + 2] == b"\xff\xda"]
    starts.append(len(_PROGRESSIVE) - 2)
    whole = int(count)
    end = starts[whole] + int((starts[whole + 1] - starts[whole]) * (count - whole))
    return _PROGRESSIVE[:end] + (b"\xff\xd9" if ended else b"")


PHOTO = _PHOTO
_RESTARTED = saved(pictures.photo(200, 160), "JPEG", quality=90, restart_marker_rows=1)
_BODIES = {
    name: saved(pictures.photo(200, 160), name.upper())
    for name in ("png", "jpeg", "webp", "avif", "bmp", "tiff")
}

FATAL: dict[str, tuple[str, bytes]] = {
    **{f"{name}: cut by a third": (name, body[: len(body) * 2 // 3]) for name, body in _BODIES.items()},
    "png: one row too few": ("png", _png(_idat(_ROWS[: -3 * _SIZE[0] - 1]))),
    "png: one byte too few": ("png", _png(_idat(_ROWS[:-1]))),
    "png: rows missing and no end": ("png", _png(_idat(_ROWS[: len(_ROWS) // 2]), end=b"")),
    "png: rows of an unknown filter": ("png", _png(_idat(b"\7" + _ROWS[1:]))),
    "png: half of the first pass": ("png", interlaced(0.5)),
    "jpeg: cut by a third with an end": (
        "jpeg",
        _BODIES["jpeg"][: len(_BODIES["jpeg"]) * 2 // 3] + b"\xff\xd9",
    ),
    "jpeg: forty bytes and the end missing": ("jpeg", _BODIES["jpeg"][:-40]),
    "jpeg: cut before a restart marker": ("jpeg", _RESTARTED[: _RESTARTED.rindex(b"\xff\xd0")]),
    "jpeg: half of the first scan": ("jpeg", scans(0.5, ended=False)),
    "jpeg: half of the first scan with an end": ("jpeg", scans(0.5, ended=True)),
    "gif: cut by a third": ("gif", _GIF[: len(_GIF) * 2 // 3]),
    "webp: cut before its last bytes": ("webp", _WEBP[:-40]),
    "ico: cut by a third": ("ico", _ICON_BMP[: len(_ICON_BMP) * 2 // 3]),
}
