"""format=json: dominant colour, ThumbHash."""

from __future__ import annotations

import base64
import builtins
import math
from collections.abc import Callable

import pytest
from PIL import Image

from proxy.images.measuring.describe import dominant_colour
from proxy.images.measuring.thumbhash import thumbhash

Pixel = Callable[[int, int], tuple[int, int, int, int]]

# What the definition's own package (thumbhash 0.1.1 for JavaScript) gives for these pictures.
VECTORS: dict[str, tuple[int, int, Pixel, str]] = {
    "landscape": (40, 30, lambda x, y: (x * 6, y * 8, x * y % 256, 255), "XAgOHZhgdndwh4h2iGiIh/GxD/eI"),
    "portrait": (21, 64, lambda x, y: (255 - y * 3, x * 12, (x * x + y) % 256, 255), "H1kOOhpge3eIiId4x4/42Ig="),
    "alpha": (50, 20, lambda x, y: (200, 30 + y * 5, x * 5, (x * 5 + y) % 256), "ZPeGIoY4wIeUeIc/hXj4dXB3d3iHd3c="),
    "clear": (10, 10, lambda x, y: (0, 0, 0, 0), "AAiCBQAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_thumbhash_is_the_one_of_the_definition(name: str) -> None:
    width, height, pixel, expected = VECTORS[name]
    rgba = b"".join(bytes(value & 255 for value in pixel(x, y)) for y in range(height) for x in range(width))
    assert base64.b64encode(thumbhash(width, height, rgba)).decode() == expected


def test_thumbhash_of_larger_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="100 px"):
        thumbhash(101, 1, bytes(404))


def test_dominant_colour_stands_in_the_picture() -> None:
    """Two thirds red and one third blue are red, not violet."""
    picture = Image.new("RGB", (90, 30), (200, 20, 20))
    picture.paste((20, 20, 200), (60, 0, 90, 30))
    assert dominant_colour(picture) == "#c81414"


def test_dominant_colour_ignores_what_is_transparent() -> None:
    picture = Image.new("RGBA", (30, 30), (0, 255, 0, 0))
    picture.paste((10, 20, 30, 255), (0, 0, 10, 10))
    assert dominant_colour(picture) == "#0a141e"


def test_dominant_colour_of_nothing_is_white() -> None:
    assert dominant_colour(Image.new("RGBA", (4, 4), (9, 9, 9, 0))) == "#ffffff"


def test_thumbhash_uses_no_sum_of_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in `sum` of floats rounds differently since Python 3.12; a hash does not depend on it."""
    width, height, pixel, expected = VECTORS["landscape"]
    rgba = b"".join(bytes(value & 255 for value in pixel(x, y)) for y in range(height) for x in range(width))
    monkeypatch.setattr(builtins, "sum", math.fsum)
    assert base64.b64encode(thumbhash(width, height, rgba)).decode() == expected
