"""Finds the point that draws attention, for gravity=auto. Pure; runs in a render process.

Each pixel of a small copy gets a score, similar to libvips' smartcrop (sharp's `attention`): for edges, for colours
that differ from the picture's mean (Achanta et al. 2009, so that a blue sky does not count), and for the colour of skin
(the region of Chai and Ngan 1999: Cb 77 to 127, Cr 133 to 173). It does not recognise faces, but skin beside edges
finds most of them.
"""

from __future__ import annotations

import math

from PIL import Image, ImageChops, ImageFilter, ImageStat

_SMALL_PX = 96
"""The longest side of the copy. Finer detail draws no attention in a thumbnail either."""
_EDGE_GAIN, _COLOUR_GAIN, _SKIN_GAIN = 1.0, 1.0, 1.2
_DARK, _BLINDING = 20, 250
"""Outside this range of luminance, people do not see a colour as one."""
_LAPLACE = ImageFilter.Kernel((3, 3), (-1, -1, -1, -1, 8, -1, -1, -1, -1), scale=1)


def focus(picture: Image.Image, share_x: float, share_y: float) -> tuple[float, float]:
    """Return the place (0-1) of the cut of `share_x` by `share_y` with the highest score.

    A cut spans one side completely, so the best place along the other side follows from sums along the first. The
    middle of a cut counts more than its edges. Among equal places, the most central one wins.
    """
    score = _score(picture)
    across = score.resize((score.width, 1), Image.Resampling.BOX).tobytes()
    down = score.resize((1, score.height), Image.Resampling.BOX).tobytes()
    return _best_offset(across, share_x), _best_offset(down, share_y)


def _score(picture: Image.Image) -> Image.Image:
    factor = min(1.0, _SMALL_PX / max(picture.size))
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    # Use premultiplied colours, so that colours hidden under transparency draw no attention.
    small = picture.convert("RGBA").convert("RGBa").resize(size, Image.Resampling.BOX).convert("RGBA")
    light, blue, red = small.convert("RGB").convert("YCbCr").split()
    lit = light.point(lambda value: 255 if _DARK <= value <= _BLINDING else 0)
    score = _weighted(_edges(light), _EDGE_GAIN)
    strange = ImageChops.add(_strangeness(blue), _strangeness(red))
    score = ImageChops.add(score, _weighted(ImageChops.multiply(strange, lit), _COLOUR_GAIN))
    skin = ImageChops.multiply(blue.point(_near(77, 127)), red.point(_near(133, 173)))
    score = ImageChops.add(score, _weighted(ImageChops.multiply(skin, lit), _SKIN_GAIN))
    return ImageChops.multiply(score, small.getchannel("A"))


def _edges(light: Image.Image) -> Image.Image:
    if min(light.size) < 3:
        return Image.new("L", light.size)
    edges = light.filter(_LAPLACE)
    # Pillow copies the outermost pixels unfiltered. They are not edges.
    inner = edges.crop((1, 1, edges.width - 1, edges.height - 1))
    rimless = Image.new("L", light.size)
    rimless.paste(inner, (1, 1))
    return rimless


def _strangeness(plane: Image.Image) -> Image.Image:
    mean = round(ImageStat.Stat(plane).mean[0])
    return plane.point(lambda value: abs(value - mean))


def _weighted(plane: Image.Image, gain: float) -> Image.Image:
    # Take thirds, so that the sum of the three does not exceed 255.
    return plane.point(lambda value: min(255, round(value * gain / 3)))


def _near(low: int, high: int) -> list[int]:
    """Return a table that is 255 in the middle of the range and falls to 0 at its ends. Grey (128) lies outside the
    range."""
    middle, reach = (low + high) / 2, (high - low) / 2
    return [max(0, round(255 * (1 - ((value - middle) / reach) ** 2))) for value in range(256)]


def _best_offset(line: bytes, share: float) -> float:
    window = max(1, min(len(line), round(len(line) * share)))
    room = len(line) - window
    if room == 0:
        return 0.5
    weights = [0.25 + math.sin(math.pi * (place + 0.5) / window) for place in range(window)]

    def attraction(start: int) -> tuple[float, float]:
        held = line[start : start + window]
        total = math.fsum(value * weight for value, weight in zip(held, weights, strict=True))
        return round(total, 6), -abs(start - room / 2)

    return max(range(room + 1), key=attraction) / room
