"""Pictures made on the spot, for the demo and for `doctor`: nothing is shipped, nothing is fetched. Synchronous.

The same bytes every time with the same libraries. They stand for what articles hold: photos with grain, charts
with few colours, a PNG that is much too large.
"""

from __future__ import annotations

import io
import random

from PIL import Image, ImageDraw, ImageFilter

Size = tuple[int, int]

_WHITE = (255, 255, 255)
_INK = (38, 50, 56)
_GRID = (224, 228, 232)
_BARS = ((21, 101, 192), (46, 125, 50), (239, 108, 0), (106, 27, 154), (198, 40, 40))


def photo(size: Size, *, seed: int, grain: float = 0.06) -> Image.Image:
    """Return soft shapes under fine grain: the spectrum of a photo."""
    rng = random.Random(seed)  # noqa: S311 - a picture, not a secret
    coarse = Image.frombytes("RGB", (12, 8), rng.randbytes(12 * 8 * 3))
    fine = Image.frombytes("RGB", (96, 64), rng.randbytes(96 * 64 * 3)).filter(ImageFilter.GaussianBlur(1))
    shapes = Image.blend(coarse.resize(size, Image.Resampling.BICUBIC), _stretched(fine, size), 0.35)
    noise = Image.frombytes("L", size, rng.randbytes(size[0] * size[1])).convert("RGB")
    return Image.blend(shapes, noise, grain)


def chart(size: Size, *, seed: int) -> Image.Image:
    """Return bars, lines and captions on white, in few colours."""
    rng = random.Random(seed)  # noqa: S311 - a picture, not a secret
    picture = Image.new("RGB", size, _WHITE)
    pen = ImageDraw.Draw(picture)
    width, height = size
    left, floor = width // 12, height - height // 10
    for step in range(9):
        y = height // 10 + step * (floor - height // 10) // 8
        pen.line((left, y, width - left // 2, y), fill=_GRID, width=2)
        pen.text((left // 4, y - 6), f"{(8 - step) * 25}", fill=_INK)
    bars = 14
    wide = (width - 2 * left) // bars
    for number in range(bars):
        x = left + number * wide + wide // 5
        top = floor - (floor - height // 10) * rng.uniform(0.15, 0.98)
        pen.rectangle((x, top, x + wide * 3 // 5, floor), fill=_BARS[number % len(_BARS)])
        pen.text((x, floor + 8), f"{2008 + number}", fill=_INK)
    return picture.quantize(64)


def encoded(picture: Image.Image, output_format: str) -> bytes:
    """Return the bytes of a picture as a camera or a drawing program saves it."""
    buffer = io.BytesIO()
    if output_format == "jpeg":
        picture.save(buffer, "JPEG", quality=90)
    else:
        picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def sample_pictures() -> list[bytes]:
    """Return the five pictures of the sample article: a photo, two charts, a large PNG, a JPEG that is named PNG."""
    return [
        encoded(photo((1600, 900), seed=1), "png"),
        encoded(chart((1000, 700), seed=2), "png"),
        encoded(chart((2200, 1300), seed=3), "png"),
        encoded(photo((3000, 2000), seed=4, grain=0.03), "png"),
        encoded(photo((1900, 1200), seed=5), "jpeg"),
    ]


def small_picture() -> bytes:
    """Return a small photo in a format that every installation reads."""
    return encoded(photo((96, 64), seed=6), "png")


def _stretched(picture: Image.Image, size: Size) -> Image.Image:
    return picture.resize(size, Image.Resampling.BICUBIC)
