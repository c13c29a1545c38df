"""The hard set: generated pictures of every kind that engines get wrong, with their expected appearance.

docs/pictures.md lists them; `table` makes its rows.
"""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pictures
from colour_science import (
    ADOBE_RGB,
    DISPLAY_P3,
    INKS,
    JUST_NOTICEABLE,
    PROPHOTO,
    SRGB_CURVE,
    coded,
    from_light,
    grey_profile,
    ink_profile,
    patches,
    power,
    recoded,
    rgb_profile,
    to_light,
)
from pictures import BLUE, GREEN, RED, WHITE, chunk, saved
from PIL import Image, ImageChops

EXACT = 1.0
"""Mean CIE76 distance allowed for rounding where no step is lossy."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Hard:
    """One file and the picture in it. frames: upright, in sRGB. within: the permitted mean CIE76 distance."""

    format: str
    body: bytes
    frames: tuple[Image.Image, ...]
    within: float = EXACT
    durations_ms: tuple[int, ...] = ()
    plays: int = 0

    @property
    def first(self) -> Image.Image:
        return self.frames[0]

    @property
    def mode(self) -> str:
        """RGBA if any frame has a transparent pixel, else RGB (a grey picture may be L)."""
        return "RGBA" if any(frame.mode == "RGBA" for frame in self.frames) else "RGB"


COLOURS = ((200, 40, 40), (40, 160, 60), (30, 60, 180), (240, 240, 240), (128, 128, 128), (20, 20, 20))
GREYS = tuple((step, step, step) for step in (0, 51, 102, 153, 204, 255))
_LOSSLESS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 98},
}


def _still(picture_format: str, body: bytes, shown: Image.Image, *, within: float = EXACT) -> Hard:
    return Hard(picture_format, body, (shown,), within)


# Colours


def _profiled() -> Iterator[tuple[str, Hard]]:
    shown = patches(COLOURS)
    p3 = recoded(shown, lambda colour: coded(colour, DISPLAY_P3, from_light))
    profile = rgb_profile(DISPLAY_P3, SRGB_CURVE)
    for name in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
        body = saved(p3, name, icc_profile=profile, **_LOSSLESS.get(name, {}))
        within = JUST_NOTICEABLE if name in {"JPEG", "AVIF"} else EXACT
        yield f"Display P3, {_title(name)}", _still(name.lower(), body, shown, within=within)
    body = saved(p3.quantize(16), "PNG", icc_profile=profile)
    yield "Display P3 in a palette, PNG", _still("png", body, shown)
    adobe = recoded(shown, lambda colour: coded(colour, ADOBE_RGB, lambda light: light ** (256 / 563)))
    body = saved(adobe, "JPEG", icc_profile=rgb_profile(ADOBE_RGB, power(563 / 256)), **_LOSSLESS["JPEG"])
    yield "Adobe RGB, JPEG", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
    wide = recoded(shown, lambda colour: coded(colour, PROPHOTO, lambda light: light ** (1 / 1.8)))
    body = saved(wide, "PNG", icc_profile=rgb_profile(PROPHOTO, power(1.8)))
    yield "ProPhoto RGB, PNG", _still("png", body, shown, within=JUST_NOTICEABLE)


def _grey() -> Iterator[tuple[str, Hard]]:
    shown = patches(GREYS)
    odd = recoded(shown, lambda colour: (round(255 * to_light(colour[0] / 255) ** (1 / 1.5)),), "L")
    profile = grey_profile(power(1.5))
    yield "grey profile, PNG", _still("png", saved(odd, "PNG", icc_profile=profile), shown)
    body = saved(odd, "JPEG", icc_profile=profile, quality=98)
    yield "grey profile, JPEG", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
    seen = Image.new("L", shown.size, 255)
    seen.paste(90, (0, 32, 96, 64))
    clear = shown.copy()
    clear.putalpha(seen)
    body = saved(Image.merge("LA", (odd, seen)), "PNG", icc_profile=profile)
    yield "grey profile with transparency, PNG", _still("png", body, clear)
    linear = recoded(shown, lambda colour: (round(255 * to_light(colour[0] / 255)),), "L")
    rows = _rows(linear)
    body = pictures.png(
        *shown.size, zlib.compress(rows), colour=0, extra=chunk(b"gAMA", struct.pack(">I", 100_000))
    )
    # Eight bits of linear light have few dark steps.
    yield "gamma 1.0 (gAMA), PNG", _still("png", body, shown, within=JUST_NOTICEABLE)  # fmt: skip


def _inks() -> Iterator[tuple[str, Hard]]:
    plain = {amounts: tuple(255 - 255 * amount for amount in amounts) for amounts in INKS}
    for profile, looks, said in ((b"", plain, ""), (ink_profile(), INKS, " with a profile")):
        shown = patches(tuple(looks.values())[1:7])
        amounts = {tuple(colour): ink for ink, colour in looks.items()}
        ink = Image.new("CMYK", shown.size)
        colours = [pixel for pixel in shown.get_flattened_data() if isinstance(pixel, tuple)]
        ink.putdata([(*(255 * part for part in amounts[colour]), 0) for colour in colours])
        options = {"icc_profile": profile} if profile else {}
        body = saved(ink, "JPEG", quality=98, **options)
        yield f"CMYK{said}, JPEG of Adobe (inverted)", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
        body = _ycck(ink, **options)
        yield f"YCCK{said}, JPEG of Adobe (inverted)", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
        yield f"CMYK{said}, TIFF", _still("tiff", saved(ink, "TIFF", **options), shown)


def _ycck(ink: Image.Image, **options: bytes) -> bytes:
    """T.872 §6.5.3: cyan, magenta and yellow as YCbCr, Adobe's mark saying 2. Pillow writes CMYK and says 0."""
    cyan, magenta, yellow, black = ink.split()
    luma = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    # Pillow inverts all four channels while it writes; the first three must stay as they are.
    turned = [band.point(lambda value: 255 - value) for band in luma]
    body = saved(Image.merge("CMYK", (*turned, black)), "JPEG", quality=98, **options)
    at = body.index(b"Adobe") + 11
    assert body[at] == 0
    return body[:at] + b"\x02" + body[at + 1 :]


# Shapes


def _turned() -> Iterator[tuple[str, Hard]]:
    for orientation in range(1, 9):
        body = pictures.turned(orientation, "JPEG")
        shown = pictures.quarters()
        yield f"EXIF orientation {orientation}, JPEG", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
    for name in ("PNG", "WEBP", "TIFF", "AVIF"):
        within = JUST_NOTICEABLE if name == "AVIF" else EXACT
        hard = _still(name.lower(), pictures.turned(6, name), pictures.quarters(), within=within)
        yield f"EXIF orientation 6, {_title(name)}", hard


def _rows(picture: Image.Image) -> bytes:
    """The rows of a picture for `pictures.png`, without filters."""
    data, stride = picture.tobytes(), len(picture.tobytes()) // picture.height
    return b"".join(b"\0" + data[at : at + stride] for at in range(0, len(data), stride))


def _deep() -> Iterator[tuple[str, Hard]]:
    ramp = Image.new("RGB", (64, 16))
    ramp.putdata([(round(x * 255 / 63),) * 3 for _ in range(16) for x in range(64)])
    yield "16-bit grey, PNG", _still("png", pictures.grey_16_bit(), ramp)
    wide = Image.new("I;16", (64, 16))
    wide.putdata([x * 65535 // 63 for _ in range(16) for x in range(64)])
    yield "16-bit grey, TIFF", _still("tiff", saved(wide, "TIFF"), ramp)
    shown = patches(COLOURS)
    doubled = b"".join(
        b"\0" + bytes(value for value in row[1:] for _ in range(2))
        for row in _lines(_rows(shown), 96 * 3 + 1)
    )
    yield "16-bit RGB, PNG", _still("png", pictures.png(96, 64, zlib.compress(doubled), bits=16), shown)
    two = patches((WHITE, (0, 0, 0), WHITE, (0, 0, 0), WHITE, (0, 0, 0)))
    for name in ("PNG", "TIFF", "BMP"):
        yield f"1-bit, {_title(name)}", _still(name.lower(), saved(two.convert("1"), name), two)


def _lines(data: bytes, length: int) -> list[bytes]:
    return [data[at : at + length] for at in range(0, len(data), length)]


def _seen_through() -> Iterator[tuple[str, Hard]]:
    clear = patches(COLOURS).convert("RGBA")
    alpha = Image.new("L", clear.size, 255)
    alpha.paste(90, (0, 0, 32, 64))
    alpha.paste(0, (32, 0, 64, 32))
    clear.putalpha(alpha)
    yield "straight alpha, PNG", _still("png", saved(clear, "PNG"), clear)
    yield "alpha, WebP", _still("webp", saved(clear, "WEBP", lossless=True, exact=True), clear)
    yield "alpha, AVIF", _still("avif", saved(clear, "AVIF", quality=98), clear, within=JUST_NOTICEABLE)
    yield "palette with transparency, PNG", _still("png", saved(clear.quantize(16), "PNG"), clear)
    grey = patches(GREYS)
    grey.putalpha(alpha)
    yield "grey with alpha (LA), PNG", _still("png", saved(grey.convert("LA"), "PNG"), grey)
    body = _associated(grey.convert("LA"))
    yield "grey with associated alpha, TIFF", _still("tiff", body, grey, within=JUST_NOTICEABLE)
    hole = patches(COLOURS).convert("RGBA")
    hole.paste((0, 0, 0, 0), (0, 0, 32, 32))
    marked = chunk(b"tRNS", struct.pack(">HHH", *COLOURS[0]))
    body = pictures.png(96, 64, zlib.compress(_rows(patches(COLOURS))), extra=marked)
    yield "one transparent colour (tRNS), PNG", _still("png", body, hole)
    yield "transparent colour, GIF", _still("gif", saved(hole, "GIF"), hole)
    part = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    part.paste((*BLUE, 255), (10, 10, 30, 30))
    body = _gif((60, 40), [_Draw((10, 10, 30, 30), 2, 0, 0)], plays=1)
    yield "GIF that leaves room on its screen", _still("gif", body, part)


def _associated(picture: Image.Image) -> bytes:
    """Return a TIFF with grey values multiplied by alpha (TIFF 6.0, ExtraSamples 1), which Pillow cannot write."""
    grey, alpha = picture.split()
    body = saved(Image.merge("LA", (ImageChops.multiply(grey, alpha), alpha)), "TIFF")
    unassociated = struct.pack("<HHIH", 338, 3, 1, 2)
    assert body.count(unassociated) == 1
    return body.replace(unassociated, struct.pack("<HHIH", 338, 3, 1, 1))


def _scanned() -> Iterator[tuple[str, Hard]]:
    shown = patches(COLOURS)
    yield "interlaced (Adam7), PNG", _still("png", _adam7(shown), shown)
    yield "interlaced, GIF", _still("gif", saved(shown.quantize(16), "GIF", interlace=True), shown)
    body = saved(shown, "JPEG", progressive=True, **_LOSSLESS["JPEG"])
    yield "progressive, JPEG", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    yield "lossless process, JPEG", _still("jpeg", pictures.lossless_jpeg(), grey)


def _adam7(picture: Image.Image) -> bytes:
    """PNG third edition §8.2: seven passes."""
    width, height = picture.size
    places = (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    )
    data = b""
    for left, top, across, down in places:
        for y in range(top, height, down):
            row = picture.crop((left, y, width, y + 1)).tobytes()
            data += b"\0" + b"".join(row[at : at + 3] for at in range(0, len(row), 3 * across))
    return pictures.png(width, height, zlib.compress(data), interlaced=True)


def _several() -> Iterator[tuple[str, Hard]]:
    shown, other = patches(COLOURS), Image.new("RGB", (96, 64), GREEN)
    body = saved(shown, "MPO", save_all=True, append_images=[other], **_LOSSLESS["JPEG"])
    yield "MPO (the first picture)", _still("jpeg", body, shown, within=JUST_NOTICEABLE)
    # Copies, because Pillow leaves one writer's settings on a picture, and the next writer uses them.
    body = saved(shown.copy(), "TIFF", save_all=True, append_images=[other.copy()])
    yield "TIFF of several pages (the first)", _still("tiff", body, shown)
    square = shown.resize((64, 64), Image.Resampling.NEAREST)
    small = [(Image.new("RGB", (side, side), GREEN), 32) for side in (16, 48)]
    yield (
        "ICO of several sizes (the largest)",
        _still("ico", _ico([small[0], (square, 32), small[1]]), square),
    )
    plain = Image.new("RGB", (64, 64), GREEN)
    body = _ico([(plain, 8), (square, 32), (plain, 4)])
    yield "ICO of several depths (the deepest)", _still("ico", body, square)


def _ico(entries: Sequence[tuple[Image.Image, int]]) -> bytes:
    """Return an icon of PNG pictures; its directory claims these bits per pixel."""
    head, data, at = struct.pack("<HHH", 0, 1, len(entries)), b"", 6 + 16 * len(entries)
    for picture, bits in entries:
        body = saved(picture, "PNG")
        head += struct.pack("<BBBBHHII", *picture.size, 0, 0, 1, bits, len(body), at + len(data))
        data += body
    return head + data


# Animations: a red screen, blue on it, green where blue has been cleared away, white where green never was


@dataclass(frozen=True)
class _Draw:
    """One frame as stored in a file. colour: number in _PALETTE. disposal: as in GIF89a §23.c.iv."""

    box: Box
    colour: int
    disposal: int
    milliseconds: int


_PALETTE = (RED, WHITE, BLUE, GREEN)
_SCREEN = (60, 40)
_STORY = (
    _Draw((0, 0, 60, 40), 0, 1, 50),
    _Draw((10, 10, 30, 30), 2, 2, 60),
    _Draw((30, 10, 50, 30), 3, 3, 70),
    _Draw((0, 0, 6, 6), 1, 1, 80),
)


def _shown(story: Sequence[_Draw]) -> tuple[Image.Image, ...]:
    """Return the frames as browsers show them."""
    screen, frames = Image.new("RGBA", _SCREEN, (0, 0, 0, 0)), []
    for draw in story:
        before = screen.copy()
        screen.paste((*_PALETTE[draw.colour], 255), draw.box)
        frames.append(screen.copy())
        if draw.disposal == 2:
            screen.paste((0, 0, 0, 0), draw.box)
        elif draw.disposal == 3:
            screen = before
    return tuple(
        frame if min(frame.getchannel("A").tobytes()) < 255 else frame.convert("RGB") for frame in frames
    )


def _moving() -> Iterator[tuple[str, Hard]]:
    delays = tuple(draw.milliseconds for draw in _STORY)
    shown = _shown(_STORY)
    yield "animated GIF (all disposals)", Hard("gif", _gif(_SCREEN, _STORY, plays=3), shown, EXACT, delays, 3)
    yield "APNG (all disposals)", Hard("png", _apng(_STORY, plays=3), shown, EXACT, delays, 3)
    body = _apng(_STORY, plays=0, still=True)
    yield "APNG with a picture for old readers", Hard("png", body, shown, EXACT, delays, 0)
    # WebP has no disposal "previous", so green stays.
    story = (*_STORY[:2], replace(_STORY[2], disposal=1), _STORY[3])
    body = _animated_webp(story, plays=3)
    yield "animated WebP (all disposals)", Hard("webp", body, _shown(story), EXACT, delays, 3)


def _gif(size: tuple[int, int], story: Sequence[_Draw], *, plays: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, 0, 0) + b"".join(map(bytes, _PALETTE))
    if plays != 1:
        head += b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", max(0, plays - 1)) + b"\0"
    for draw in story:
        left, top, right, bottom = draw.box
        head += struct.pack("<BBBBHBB", 0x21, 0xF9, 4, draw.disposal << 2, draw.milliseconds // 10, 0, 0)
        head += struct.pack("<BHHHHB", 0x2C, left, top, right - left, bottom - top, 0)
        head += _lzw(draw.colour, (right - left) * (bottom - top))
    return head + b"\x3b"


def _lzw(colour: int, count: int) -> bytes:
    """Encode one colour in codes of three bits. The table is cleared after every second pixel, so it never grows."""
    codes = [code for at in range(0, count, 2) for code in (4, *[colour] * min(2, count - at))] + [5]
    packed = sum(code << 3 * place for place, code in enumerate(codes)).to_bytes(
        -(-3 * len(codes) // 8), "little"
    )
    return b"\x02" + b"".join(bytes([len(block)]) + block for block in _lines(packed, 255)) + b"\0"


def _apng(story: Sequence[_Draw], *, plays: int, still: bool = False) -> bytes:
    """Return an APNG (PNG third edition §11.3.6); `still` puts a green picture before the animation, outside it."""
    numbers = iter(range(100))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *_SCREEN, 8, 6, 0, 0, 0))
    body = b"\x89PNG\r\n\x1a\n" + header + chunk(b"acTL", struct.pack(">II", len(story), plays))
    if still:
        body += chunk(b"IDAT", zlib.compress(_rows(Image.new("RGBA", _SCREEN, (*GREEN, 255)))))
    for index, draw in enumerate(story):
        left, top, right, bottom = draw.box
        size = right - left, bottom - top
        place = struct.pack(">IIIII", next(numbers), *size, left, top)
        body += chunk(b"fcTL", place + struct.pack(">HHBB", draw.milliseconds, 1000, draw.disposal - 1, 0))
        data = zlib.compress(_rows(Image.new("RGBA", size, (*_PALETTE[draw.colour], 255))))
        is_first = index == 0 and not still
        body += chunk(b"IDAT", data) if is_first else chunk(b"fdAT", struct.pack(">I", next(numbers)) + data)
    return body + chunk(b"IEND", b"")


def _animated_webp(story: Sequence[_Draw], *, plays: int) -> bytes:
    """Return an animated WebP (RFC 9649 §2.7): VP8X, ANIM, and ANMF with the chunks of a still file."""

    def riff(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) & 1)

    def three(number: int) -> bytes:
        return number.to_bytes(3, "little")

    body = riff(b"VP8X", b"\x12\0\0\0" + three(_SCREEN[0] - 1) + three(_SCREEN[1] - 1))
    body += riff(b"ANIM", bytes(4) + struct.pack("<H", plays))
    for draw in story:
        left, top, right, bottom = draw.box
        picture = Image.new("RGB", (right - left, bottom - top), _PALETTE[draw.colour])
        place = three(left // 2) + three(top // 2) + three(right - left - 1) + three(bottom - top - 1)
        flags = bytes([2 | (draw.disposal == 2)])  # 2: not blended with the pixels below
        still = saved(picture, "WEBP", lossless=True)[12:]
        body += riff(b"ANMF", place + three(draw.milliseconds) + flags + still)
    return riff(b"RIFF", b"WEBP" + body)


def _title(name: str) -> str:
    return {"WEBP": "WebP"}.get(name, name)


@functools.cache
def hard_set() -> dict[str, Hard]:
    """Return every picture of the set by its name in docs/pictures.md."""
    kinds = (_profiled, _grey, _inks, _turned, _deep, _seen_through, _scanned, _several, _moving)
    return dict(pair for kind in kinds for pair in kind())


def table() -> str:
    """Return the table of docs/pictures.md."""
    lines = ["| picture | size | mode | frames | mean CIE76 distance at most |", "|---|---|---|---|---|"]
    for name, hard in hard_set().items():
        width, height = hard.first.size
        lines.append(f"| {name} | {width} x {height} | {hard.mode} | {len(hard.frames)} | {hard.within:g} |")
    return "\n".join(lines) + "\n"


def reopened(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))
