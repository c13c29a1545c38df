"""Measures how flat the areas of a picture are, and how many colours it has. Pure; runs in render processes."""

from __future__ import annotations

from PIL import Image, ImageChops

from proxy.images.pixels.png_writing import ESTIMATE, deflated

FEW_COLOURS = 1024
"""Any corner of a photo has more colours."""
SAMPLE_PIXELS = 32_000
"""This many pixels, in bands spread over the height, represent the whole picture."""
_BAND_ROWS = 16
_WIDE_BANDS = 4


def has_few_colours(picture: Image.Image) -> bool:
    """Return whether a picture has so few colours that it may be smaller without loss."""
    return picture.getcolors(FEW_COLOURS) is not None


def sample(picture: Image.Image) -> Image.Image:
    """Return bands of `picture` stacked on each other, with about `SAMPLE_PIXELS` pixels; a small picture is returned
    whole, and a wide one gives four bands."""
    width, height = picture.size
    step = round(width * height / SAMPLE_PIXELS)
    tops = range(_BAND_ROWS * (step // 2), height - _BAND_ROWS + 1, _BAND_ROWS * max(1, step))
    if not tops and height >= _WIDE_BANDS * _BAND_ROWS:
        # One band alone has more pixels than the sample.
        tops = range(height // (2 * _WIDE_BANDS), height - _BAND_ROWS + 1, height // _WIDE_BANDS)
    if step < 2 or not tops:
        return picture
    bands = Image.new(picture.mode, (width, _BAND_ROWS * len(tops)))
    for number, top in enumerate(tops):
        bands.paste(picture.crop((0, top, width, top + _BAND_ROWS)), (0, _BAND_ROWS * number))
    return bands


def deflated_bytes(picture: Image.Image) -> float:
    """Return the approximate size of `picture` after a quick deflate. It costs little and helps to choose a format.

    A lossless WebP of a drawing takes a third to two thirds of this size.
    """
    bands = sample(picture)
    return len(deflated(bands, ESTIMATE)) * picture.height / bands.height


def flat_share(picture: Image.Image) -> float:
    """Return the share of pixels that equal both their left and their upper neighbour. Large pictures are sampled."""
    picture = sample(picture)
    width, height = picture.size
    if min(width, height) < 2:
        return 0.0
    inner = picture.crop((1, 1, width, height))
    left = picture.crop((0, 1, width - 1, height))
    above = picture.crop((1, 0, width, height - 1))
    # Compare both neighbours first, then the channels: half as many passes as one per channel and neighbour.
    differences = ImageChops.lighter(ImageChops.difference(inner, left), ImageChops.difference(inner, above))
    largest, *others = differences.split()
    for band in others:
        largest = ImageChops.lighter(largest, band)
    return largest.histogram()[0] / (largest.width * largest.height)
