"""gravity=auto: what stays in sight when a picture is cut."""

from __future__ import annotations

import pictures
import pytest
from pictures import GREEN, RED, WHITE
from PIL import Image, ImageDraw, ImageFilter

from proxy.images.operations.attention import focus

SKIN, CLOTH = (224, 172, 138), (112, 116, 128)


def offset(picture: Image.Image, share: float = 0.25) -> float:
    """Where a cut of full height and `share` of the width is put, 0 left and 1 right."""
    return focus(picture, share, 1.0)[0]


def centre_of_cut(picture: Image.Image, share: float) -> float:
    """The middle of the cut as a share of the picture's width."""
    return offset(picture, share) * (1 - share) + share / 2


def wide(colour: tuple[int, int, int] = WHITE) -> Image.Image:
    return Image.new("RGB", (400, 100), colour)


@pytest.mark.parametrize("at", [0.15, 0.4, 0.62, 0.85])
def test_single_thing_stands_in_the_middle_of_the_cut(at: float) -> None:
    """It is not merely inside: a subject that touches the edge looks cut off."""
    picture = wide((90, 90, 90))
    ImageDraw.Draw(picture).ellipse((400 * at - 15, 35, 400 * at + 15, 65), fill=(200, 200, 200))
    assert centre_of_cut(picture, 0.25) == pytest.approx(at, abs=0.04)


def test_plain_picture_is_cut_in_its_middle() -> None:
    assert offset(wide()) == pytest.approx(0.5, abs=0.02)


def test_colour_draws_more_than_grey_of_the_same_shape() -> None:
    picture = wide((128, 128, 128))
    picture.paste((150, 150, 150), (40, 30, 80, 70))
    picture.paste((230, 40, 40), (320, 30, 360, 70))
    assert offset(picture) > 0.7


def test_soft_face_draws_more_than_soft_cloth() -> None:
    """Equal shapes without sharp edges; one has the colour of skin."""
    picture = wide((70, 80, 96))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((40, 20, 90, 80), fill=SKIN)
    pen.ellipse((310, 20, 360, 80), fill=CLOTH)
    assert offset(picture.filter(ImageFilter.GaussianBlur(6))) < 0.3


def test_rim_of_the_picture_is_no_edge() -> None:
    """A white picture beside nothing: only the small mark counts."""
    picture = Image.new("RGB", (100, 400), WHITE)
    picture.paste(RED, (45, 330, 55, 340))
    assert focus(picture, 1.0, 0.25)[1] > 0.8


def test_hidden_colour_under_transparency_draws_nothing() -> None:
    picture = Image.effect_noise((400, 100), 90).convert("RGBA")
    picture.putalpha(0)
    ImageDraw.Draw(picture).rectangle((340, 40, 360, 60), fill=(*GREEN, 255))
    assert centre_of_cut(picture, 0.25) == pytest.approx(0.875, abs=0.04)


def test_picture_of_one_pixel_has_a_middle() -> None:
    assert focus(Image.new("L", (1, 1)), 1.0, 1.0) == (0.5, 0.5)


def test_same_picture_decoded_smaller_is_cut_at_the_same_place() -> None:
    """The size of a variant must not decide which part it shows."""
    picture = pictures.photo(1200, 400)
    picture.paste(pictures.chart().convert("RGB").resize((160, 120)), (900, 150))
    assert offset(picture) == pytest.approx(offset(picture.reduce(4)), abs=0.03)
