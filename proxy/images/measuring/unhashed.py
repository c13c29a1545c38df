"""Turns a ThumbHash back into a picture of a few pixels, for pages that no service answers. Pure.

Follows the public definition (Evan Wallace, https://evanw.github.io/thumbhash/), for opaque pictures only: transparency
is left out. Writes PNG without a codec, so a process that renders nothing loads none.
"""

from __future__ import annotations

import functools
import math
import operator
import struct
import zlib
from collections.abc import Iterator

FREQUENCIES = 7
"""The most frequencies along a side."""
SIDE_PX = 16
"""The longer side. With so few frequencies, more pixels would show nothing more."""


def unhashed(data: bytes) -> tuple[bytes, int, int]:
    """Return the picture of a ThumbHash as PNG, with its width and height in pixels.

    Raises:
        ValueError: it is not a hash.
    """
    if len(data) < 6:
        raise ValueError("a ThumbHash has at least six bytes")
    head, second = int.from_bytes(data[:3], "little"), int.from_bytes(data[3:5], "little")
    clear, landscape = bool(head >> 23), bool(second >> 15)
    longest, shorter = 5 if clear else 7, max(1, second & 7)
    size = (longest, shorter) if landscape else (shorter, longest)
    nibbles = (half for value in data[6 if clear else 5 :] for half in (value & 15, value >> 4))
    means = ((head & 63) / 63, (head >> 6 & 63) / 31.5 - 1, (head >> 12 & 63) / 31.5 - 1)
    # Colours are stored a quarter weaker than they were.
    scales = ((head >> 18 & 31) / 31, (second >> 3 & 63) / 63 * 1.25, (second >> 9 & 63) / 63 * 1.25)
    corners = ((max(3, size[0]), max(3, size[1])), (3, 3), (3, 3))
    width = max(1, round(SIDE_PX * min(1.0, size[0] / size[1])))
    height = max(1, round(SIDE_PX * min(1.0, size[1] / size[0])))
    light, yellow, red = (
        _plane(mean, scale, list(_frequencies(nibbles, *corner)), width, height)
        for mean, scale, corner in zip(means, scales, corners, strict=True)
    )
    pixels = bytearray()
    for at, (lightness, yellowness, redness) in enumerate(zip(light, yellow, red, strict=True)):
        if at % width == 0:
            pixels.append(0)  # each row begins with its filter
        blue = lightness - 2 / 3 * yellowness
        hot = (3 * lightness - blue + redness) / 2
        pixels += bytes(round(255 * min(1.0, max(0.0, value))) for value in (hot, hot - redness, blue))
    return _png(bytes(pixels), width, height), width, height


def _frequencies(nibbles: Iterator[int], across: int, down: int) -> Iterator[tuple[int, int, float]]:
    for high in range(down):
        for wide in range(across):
            if (wide or high) and wide * down < across * (down - high):
                yield wide, high, next(nibbles, 8) / 7.5 - 1


def _plane(
    mean: float, scale: float, waves: list[tuple[int, int, float]], width: int, height: int
) -> list[float]:
    plane: list[float] = []
    for row in _cosines(height):
        # First the columns and then the rows: the same numbers as in the definition, with a fifth of the products.
        weights = [0.0] * FREQUENCIES
        for wide, high, value in waves:
            weights[wide] += 2 * scale * value * row[high]
        plane += (mean + sum(map(operator.mul, weights, column)) for column in _cosines(width))
    return plane


@functools.cache
def _cosines(length: int) -> list[list[float]]:
    return [
        [math.cos(math.pi / length * (place + 0.5) * number) for number in range(FREQUENCIES)]
        for place in range(length)
    ]


def _png(rows: bytes, width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
