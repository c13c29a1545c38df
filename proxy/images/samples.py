"""Generates pictures for the demo and for `doctor`, so that nothing needs to be shipped or fetched. Synchronous.

The same libraries always give the same bytes. The pictures represent those of articles: photos with grain, charts with
few colours, a PNG that is much too large.
"""

from __future__ import annotations

import io
import itertools
import random

from PIL import Image, ImageDraw, ImageFilter, ImageOps

Size = tuple[int, int]
Colour = tuple[int, int, int]

_WHITE = (255, 255, 255)
_INK = (38, 50, 56)
_EARTH = (22, 38, 34)
_LIGHTS = (
    ((38, 70, 130), (244, 196, 150), (255, 240, 214)),
    ((70, 130, 190), (216, 232, 240), (255, 252, 236)),
    ((52, 40, 92), (240, 140, 120), (255, 224, 170)),
)
"""Evening, noon and dawn: the colours of the upper sky, of the haze above the hills, and of the sun."""
_GRID = (224, 228, 232)
_BARS = ((21, 101, 192), (46, 125, 50), (239, 108, 0), (106, 27, 154), (198, 40, 40))


def photo(size: Size, *, seed: int, grain: float = 0.06) -> Image.Image:
    """Return hills below a sky with fine grain, which has the spectrum of a photo."""
    rng = random.Random(seed)  # noqa: S311 - a picture, not a secret
    night, haze, glow = _LIGHTS[seed % len(_LIGHTS)]
    picture = _sky(size, rng, night, haze, glow)
    hills = 6
    for number in range(hills):
        share = (number + 1) / hills
        hill = Image.new("RGB", size, _between(haze, _EARTH, share))
        hill.paste(
            _between(_between(haze, _EARTH, share), glow, 0.25),
            mask=_clouds(size, rng, detail=24 + 60 * number),
        )
        picture.paste(hill, mask=_ridge(size, rng, height=0.62 - 0.44 * share, rough=0.10 + 0.05 * share))
    noise = Image.frombytes("L", size, rng.randbytes(size[0] * size[1])).convert("RGB")
    return Image.blend(picture, noise, grain)


def _sky(size: Size, rng: random.Random, top: Colour, low: Colour, glow: Colour) -> Image.Image:
    height = Image.linear_gradient("L").resize(size)
    sky = ImageOps.colorize(height, top, low)
    sky.paste(
        _between(low, (255, 255, 255), 0.6),
        mask=_clouds(size, rng, detail=7).point(lambda v: max(0, v - 110)),
    )
    sun = Image.new("L", size)
    x, y, radius = size[0] * rng.uniform(0.2, 0.8), size[1] * 0.32, size[1] / 14
    ImageDraw.Draw(sun).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    sky.paste(glow, mask=sun.filter(ImageFilter.GaussianBlur(radius / 5)))
    return sky


def _ridge(size: Size, rng: random.Random, *, height: float, rough: float) -> Image.Image:
    """Return the mask of the area below a random ridge. `height` and `rough` are fractions of the picture's height."""
    points = [rng.uniform(-rough, rough), rng.uniform(-rough, rough)]
    while len(points) < 257:
        rough /= 1.9
        middles = [(a + b) / 2 + rng.uniform(-rough, rough) for a, b in itertools.pairwise(points)]
        points = [value for pair in zip(points, middles, strict=False) for value in pair] + points[-1:]
    line = [(size[0] * n / 256, size[1] * (1 - height + value)) for n, value in enumerate(points)]
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon([(0, size[1]), *line, (size[0], size[1])], fill=255)
    return mask


def _clouds(size: Size, rng: random.Random, *, detail: int) -> Image.Image:
    """Return soft random shapes, `detail` of them across and half as many down, with finer ones inside."""
    clouds = Image.new("L", size, 128)
    for octave in range(4):
        wide, high = detail << octave, max(2, (detail << octave) // 2)
        layer = Image.frombytes("L", (wide, high), rng.randbytes(wide * high))
        clouds = Image.blend(clouds, layer.resize(size, Image.Resampling.BICUBIC), 0.6 / (octave + 1))
    return clouds


def _between(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


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
    """Return the bytes of a picture as a camera or a drawing program would save it."""
    buffer = io.BytesIO()
    if output_format == "jpeg":
        picture.save(buffer, "JPEG", quality=90)
    else:
        picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def sample_pictures() -> list[bytes]:
    """Return the five pictures of the sample article: a photo, two charts, a large PNG, and a JPEG named like a PNG."""
    return [
        encoded(photo((1600, 900), seed=1), "png"),
        encoded(chart((1000, 700), seed=2), "png"),
        encoded(chart((2200, 1300), seed=3), "png"),
        encoded(photo((3000, 2000), seed=4, grain=0.03), "png"),
        encoded(photo((1900, 1200), seed=5), "jpeg"),
    ]


def small_picture() -> bytes:
    """Return a small photo in a format that every installation can read."""
    return encoded(photo((96, 64), seed=6), "png")
