"""Colour arithmetic for sRGB, CIELAB and ICC profiles, independent of littlecms, which the tests check with it.

All values are relative to D50, as in ICC profiles. Colours are (red, green, blue) in 0-255, XYZ has Y = 1 for white.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Callable, Sequence

from PIL import Image

Colour = tuple[int, ...]
Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

D50: Vector = (0.9642, 1.0, 0.8249)
JUST_NOTICEABLE = 2.3
"""CIE76 distance of two colours that half of the people tell apart (Mahy, Van Eycken and Oosterlinck 1994)."""

# Columns are the primaries, adapted to D50 by Bradford (Lindbloom, "RGB/XYZ matrices").
SRGB: Matrix = (
    (0.4360747, 0.3850649, 0.1430804),
    (0.2225045, 0.7168786, 0.0606169),
    (0.0139322, 0.0971045, 0.7141733),
)
DISPLAY_P3: Matrix = ((0.51512, 0.29198, 0.15710), (0.24120, 0.69225, 0.06657), (-0.00105, 0.04189, 0.78407))
ADOBE_RGB: Matrix = (
    (0.6097559, 0.2052401, 0.1492240),
    (0.3111242, 0.6256560, 0.0632197),
    (0.0194811, 0.0608902, 0.7448387),
)
PROPHOTO: Matrix = (
    (0.7976749, 0.1351917, 0.0313534),
    (0.2880402, 0.7118741, 0.0000857),
    (0.0, 0.0, 0.8252100),
)


def to_light(value: float) -> float:
    """Return the amount of light (0-1) that a number (0-1) stands for (IEC 61966-2-1)."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def from_light(light: float) -> float:
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _times(matrix: Matrix, vector: Vector) -> Vector:
    x, y, z = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return x, y, z


def _inverse(m: Matrix) -> Matrix:
    minors = [
        [m[(j + 1) % 3][(i + 1) % 3] * m[(j + 2) % 3][(i + 2) % 3]
         - m[(j + 1) % 3][(i + 2) % 3] * m[(j + 2) % 3][(i + 1) % 3] for j in range(3)]
        for i in range(3)
    ]  # fmt: skip
    determinant = sum(m[0][j] * minors[j][0] for j in range(3))
    a, b, c = ((row[0] / determinant, row[1] / determinant, row[2] / determinant) for row in minors)
    return a, b, c


def to_xyz(colour: Colour) -> Vector:
    red, green, blue = (to_light(value / 255) for value in colour[:3])
    return _times(SRGB, (red, green, blue))


@functools.cache
def lab(colour: Colour) -> Vector:
    """Return an sRGB colour in CIELAB."""
    x, y, z = (
        part ** (1 / 3) if part > 216 / 24389 else (part * 24389 / 27 + 16) / 116
        for part in (value / white for value, white in zip(to_xyz(colour), D50, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def coded(colour: Colour, primaries: Matrix, encode: Callable[[float], float]) -> Colour:
    """Return the numbers for an sRGB colour in another space."""
    light = _times(_inverse(primaries), to_xyz(colour))
    return tuple(round(255 * encode(min(1.0, max(0.0, part)))) for part in light)


def recoded(picture: Image.Image, change: Callable[[Colour], Colour], mode: str = "RGB") -> Image.Image:
    """Return a picture of few colours with every colour converted."""
    pixels = [
        change(pixel) for pixel in picture.convert("RGB").get_flattened_data() if isinstance(pixel, tuple)
    ]
    made = Image.new(mode, picture.size)
    made.putdata([pixel[0] for pixel in pixels] if mode == "L" else pixels)
    return made


def difference(left: Image.Image, right: Image.Image) -> float:
    """Return the mean CIE76 distance of two pictures, on white or on black, whichever is larger."""
    assert left.size == right.size, (left.size, right.size)
    return max(_mean_distance(_on(left, ground), _on(right, ground)) for ground in ("white", "black"))


def _on(picture: Image.Image, ground: str) -> Image.Image:
    made = Image.new("RGBA", picture.size, ground)
    made.alpha_composite(picture.convert("RGBA"))
    return made.convert("RGB")


def _mean_distance(left: Image.Image, right: Image.Image) -> float:
    pairs = zip(left.get_flattened_data(), right.get_flattened_data(), strict=True)
    return sum(_distance(a, b) for a, b in pairs) / (left.width * left.height)


@functools.cache
def _distance(left: Colour, right: Colour) -> float:
    return float(sum((a - b) ** 2 for a, b in zip(lab(left), lab(right), strict=True)) ** 0.5)


# ICC.1:2010: header §7.2, tag table §7.3, types §10


def _fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _xyz(*numbers: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*numbers)


def power(gamma: float) -> bytes:
    """Return a tone curve: light is the number to the power of `gamma`."""
    return b"para\0\0\0\0\0\0\0\0" + _fixed(gamma)


SRGB_CURVE = b"para\0\0\0\0\0\x03\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    name = "made for tests".encode("utf-16-be")
    text = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(name), 28) + name
    tags = {b"desc": text, b"cprt": text, b"wtpt": _xyz(*D50), **tags}
    at, table, data = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, at + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12x4s28x", at + len(data), b"\0" * 4, 0x04300000, kind, space, connection, b"acsp"
    )
    return (head + _fixed(*D50)).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data  # fmt: skip


def rgb_profile(primaries: Matrix, curve: bytes) -> bytes:
    columns = {
        name: _xyz(*(row[i] for row in primaries)) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))
    }
    return _profile(b"mntr", b"RGB ", b"XYZ ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))  # fmt: skip


def grey_profile(curve: bytes) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": curve})


INKS: dict[tuple[int, int, int], Colour] = {
    (0, 0, 0): (255, 255, 255),
    (1, 0, 0): (0, 150, 220),
    (0, 1, 0): (220, 0, 120),
    (0, 0, 1): (250, 230, 0),
    (1, 1, 0): (50, 50, 140),
    (1, 0, 1): (0, 140, 70),
    (0, 1, 1): (220, 30, 40),
    (1, 1, 1): (50, 45, 45),
}
"""Full cyan, magenta and yellow as they look in print; naive arithmetic turns them into screen colours."""


def ink_profile() -> bytes:
    """Return a CMYK profile of INKS; full black over anything is black."""
    corners = b""
    for c, m, y, k in itertools.product((0, 1), repeat=4):
        lightness, a, b = (0.0, 0.0, 0.0) if k else lab(INKS[c, m, y])
        corners += bytes((round(lightness * 2.55), round(a + 128), round(b + 128)))
    straight = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table + straight * 4 + corners + straight * 3})


def patches(colours: Sequence[Colour], size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Return flat colours in three columns."""
    made = Image.new("RGB", size)
    rows = -(-len(colours) // 3)
    width, height = size[0] // 3, size[1] // rows
    for number, colour in enumerate(colours):
        left, top = number % 3 * width, number // 3 * height
        made.paste(colour, (left, top, left + width, top + height))
    return made
