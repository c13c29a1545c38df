"""ThumbHash: a rough copy of a picture in about 25 bytes, which a page can show until the picture arrives. Pure.

Implements the public definition (Evan Wallace, https://evanw.github.io/thumbhash/). Luminance, yellow-blue, red-green
and any alpha each go through a cosine transform, and the lowest frequencies are stored in four bits. Here the transform
runs first along the rows and then along the columns, which gives the same numbers faster. Numbers are added one after
the other, as in the definition, because the built-in `sum` is more exact since Python 3.12.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

MAX_SIDE_PX = 100
"""The definition accepts no larger pictures. Much smaller ones give the same hash."""


def thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """Return the ThumbHash of a small picture with straight alpha, four bytes for each pixel.

    Raises:
        ValueError: it is larger than the definition allows.
    """
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise ValueError(f"{width} x {height} is not within {MAX_SIDE_PX} px")
    light, yellow, red, alpha = _planes(rgba)
    clear = min(alpha) < 1
    longest = 5 if clear else 7
    across = max(1, _nearest(longest * width / max(width, height)))
    down = max(1, _nearest(longest * height / max(width, height)))
    size = width, height
    waves = [
        _Wave.of(light, size, max(3, across), max(3, down)),
        _Wave.of(yellow, size, 3, 3),
        _Wave.of(red, size, 3, 3),
    ]
    head = _head(waves, clear=clear, landscape=width > height, shorter=down if width > height else across)
    if clear:
        waves.append(_Wave.of(alpha, size, 5, 5))
        head += bytes([_nearest(15 * waves[3].mean) | _nearest(15 * waves[3].scale) << 4])
    nibbles = [_nearest(15 * share) for wave in waves for share in wave.shares]
    nibbles += [0] * (len(nibbles) % 2)
    return head + bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))


def _added(numbers: Iterable[float]) -> float:
    return functools.reduce(operator.add, numbers, 0.0)


def _nearest(number: float) -> int:
    """Round halves up, as the definition's JavaScript does."""
    return math.floor(number + 0.5)


def _planes(rgba: bytes) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return luminance, yellow-blue, red-green and alpha. Transparent pixels get the mean colour of the others."""
    alpha = [value / 255 for value in rgba[3::4]]
    total = _added(alpha)
    colours = []
    for band in (rgba[0::4], rgba[1::4], rgba[2::4]):
        shown = [value / 255 * part for value, part in zip(band, alpha, strict=True)]
        mean = _added(shown) / total if total else 0.0
        colours.append([mean * (1 - part) + value for value, part in zip(shown, alpha, strict=True)])
    pixels = list(zip(*colours, strict=True))
    light = [(r + g + b) / 3 for r, g, b in pixels]
    yellow = [(r + g) / 2 - b for r, g, b in pixels]
    return light, yellow, [r - g for r, g, _ in pixels], alpha


def _head(waves: Sequence[_Wave], *, clear: bool, landscape: bool, shorter: int) -> bytes:
    light, yellow, red = waves
    first = _nearest(63 * light.mean) | _nearest(31.5 + 31.5 * yellow.mean) << 6
    first |= _nearest(31.5 + 31.5 * red.mean) << 12 | _nearest(31 * light.scale) << 18 | clear << 23
    second = shorter | _nearest(63 * yellow.scale) << 3 | _nearest(63 * red.scale) << 9 | landscape << 15
    return first.to_bytes(3, "little") + second.to_bytes(2, "little")


@dataclass(frozen=True, slots=True)
class _Wave:
    """A transformed plane: its mean, its strongest frequency, and each frequency divided by that (mapped to 0-1)."""

    mean: float
    scale: float
    shares: tuple[float, ...]

    @classmethod
    def of(cls, plane: Sequence[float], size: tuple[int, int], across: int, down: int) -> _Wave:
        mean, *rest = _frequencies(plane, size, across, down)
        scale = max(map(abs, rest))
        return cls(mean, scale, tuple(0.5 + 0.5 / scale * value if scale else 0.0 for value in rest))


def _frequencies(plane: Sequence[float], size: tuple[int, int], across: int, down: int) -> Iterator[float]:
    width, height = size
    columns = [_cosines(width, number) for number in range(across)]
    rows = [plane[start : start + width] for start in range(0, width * height, width)]
    # along[row][number]: how much of each horizontal frequency a row contains.
    along = [[_added(map(operator.mul, row, column)) for column in columns] for row in rows]
    for high in range(down):
        cosines = _cosines(height, high)
        for wide in range(across):
            # Keep only the corner of low frequencies.
            if wide * down < across * (down - high):
                yield _added(row[wide] * weight for row, weight in zip(along, cosines, strict=True)) / len(
                    plane
                )


def _cosines(length: int, number: int) -> list[float]:
    return [math.cos(math.pi / length * number * (place + 0.5)) for place in range(length)]
