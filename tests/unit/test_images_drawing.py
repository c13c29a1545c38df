"""Drawings and photos told apart by their pixels, as docs/pictures.md defines them."""

from __future__ import annotations

import pictures
import pytest
from PIL import Image, ImageDraw

from proxy.images.measuring.drawing import FLAT_SHARE, MIN_PIXELS, drawing_and_flatness
from proxy.images.pixels.flatness import flat_share, sample


def is_drawing(picture: Image.Image, source_format: str) -> bool:
    return drawing_and_flatness(picture, source_format)[0]


def screenshot() -> Image.Image:
    """A page with text, a coloured bar and a photo in it: thousands of colours, wide flat areas."""
    page = Image.new("RGB", (500, 400), (250, 250, 248))
    pen = ImageDraw.Draw(page)
    for line in range(12):
        pen.text((20, 20 + line * 30), "The quick brown fox jumps over it", fill=(20, 20, 30))
    page.paste(pictures.photo(180, 180), (300, 200))
    return page


def grain(width: int, height: int) -> Image.Image:
    noise = Image.effect_noise((width, height), 40).convert("RGB")
    return Image.blend(pictures.photo(width, height), noise, 0.2)


@pytest.mark.parametrize(
    ("picture", "source_format", "drawing"),
    [
        (pictures.chart().convert("RGB"), "png", True),
        (pictures.chart().convert("RGB"), "jpeg", True),
        (pictures.chart().convert("RGB").resize((300, 190)), "png", True),
        (pictures.disc().resize((150, 150)), "webp", True),
        (screenshot(), "png", True),
        (screenshot(), "bmp", True),
        (screenshot(), "jpeg", False),
        (screenshot(), "webp", False),
        (grain(300, 200), "png", False),
        (grain(300, 200), "jpeg", False),
        (pictures.quarters(90, 90), "png", False),
        (Image.new("RGB", (400, 400), (200, 30, 30)), "png", False),
        (Image.new("L", (400, 400), 7), "png", False),
    ],
)
def test_drawing_has_few_colours_or_flat_areas_without_loss(
    picture: Image.Image, source_format: str, drawing: bool
) -> None:
    """A photo, one colour alone and a tiny picture are none, whatever their format."""
    assert is_drawing(picture, source_format) is drawing


def test_smallest_picture_that_counts_is_named_by_its_pixels() -> None:
    assert MIN_PIXELS == 100 * 100
    assert is_drawing(pictures.quarters(100, 100), "png")
    assert not is_drawing(pictures.quarters(100, 99), "png")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_flat_share_counts_pixels_like_both_their_neighbours(mode: str) -> None:
    """Two flat halves differ along one line of the inner 99 x 99 pixels; a checkerboard nowhere agrees."""
    halves = Image.new(mode, (100, 100), 0)
    halves.paste(Image.new(mode, (100, 50), "white"), (0, 50))
    assert flat_share(halves) == pytest.approx(98 / 99)
    board = Image.new("L", (100, 100))
    board.putdata([255 * ((x + y) % 2) for y in range(100) for x in range(100)])
    assert flat_share(board.convert(mode)) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_line_has_no_flat_area(size: tuple[int, int]) -> None:
    assert flat_share(Image.new("RGB", size)) == 0


def test_threshold_is_that_of_the_documents() -> None:
    assert pytest.approx(1 / 3) == FLAT_SHARE


@pytest.mark.parametrize(
    "size", [(1_000, 1_000), (3_900, 2_600), (4_100, 2_700), (8_192, 4_800), (16_000, 400)]
)
def test_sample_of_a_large_picture_is_a_small_part_of_it(size: tuple[int, int]) -> None:
    """However wide it is: looking at all of a wide one would take a second and more memory than is counted."""
    bands = sample(Image.new("L", size))
    assert bands.width == size[0]
    assert bands.height <= max(64, size[1] // 20)


def test_sample_of_a_wide_picture_is_taken_from_its_whole_height() -> None:
    picture = Image.new("L", (6_000, 4_000))
    for number in range(4):
        picture.paste(50 * (number + 1), (0, 1_000 * number, 6_000, 1_000 * (number + 1)))
    assert sample(picture).getcolors() == [(6_000 * 16, 50 * (number + 1)) for number in range(4)]
