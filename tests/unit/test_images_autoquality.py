"""quality=auto: as few bytes as the look allows, in a bounded number of encodes."""

from __future__ import annotations

import io
from typing import Literal

import pictures
import pytest
from PIL import Image, ImageFilter

from proxy.images.encode import Result, encode
from proxy.images.measuring.autoquality import (
    MAX_ENCODES,
    STEP,
    TARGET_SSIM,
    lowest_quality,
    qualities,
    target,
)
from proxy.images.measuring.similarity import Yardstick
from proxy.images.transforms.resolved import Resolved

FLAT = Image.new("RGB", (240, 160), (90, 120, 150))
SOFT = pictures.photo(300, 200)
DETAILED = Image.blend(pictures.photo(300, 200), Image.effect_noise((300, 200), 80).convert("RGB"), 0.3)
NOISE = Image.effect_noise((200, 170), 120).convert("RGB")
FAINT = Image.effect_noise((200, 170), 5).convert("RGB")
SMALL = pictures.quarters(7, 5)
CLEAR = pictures.disc(120, 90)
USUAL = {"jpeg": 80, "webp": 78, "avif": 50}
LOSSY = tuple(USUAL)


def result(picture: Image.Image, quality: int | Literal["auto"] = "auto") -> Result:
    return Result(((picture, 0),), 0, b"", Resolved(quality=quality))


def found(picture: Image.Image, output_format: str = "jpeg") -> tuple[int, bytes, list[int]]:
    """The quality found, its bytes, and the qualities that were tried."""
    tried: list[int] = []

    def encoded(quality: int) -> bytes:
        tried.append(quality)
        return encode(result(picture, quality), output_format)

    return *lowest_quality(picture, encoded, usual=USUAL[output_format]), tried


def shown(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


def likeness(picture: Image.Image, output_format: str, quality: int) -> float:
    return Yardstick(picture).ssim(shown(encode(result(picture, quality), output_format)))


@pytest.mark.parametrize("output_format", LOSSY)
@pytest.mark.parametrize("picture", [FLAT, SOFT, DETAILED, NOISE], ids=["flat", "soft", "detailed", "noise"])
def test_found_quality_holds_the_target_and_the_next_lower_does_not(
    picture: Image.Image, output_format: str
) -> None:
    """The target is that of the picture: what the fixed quality reaches, less 6 % of what that lacks."""
    quality, body, _ = found(picture, output_format)
    wanted = target(likeness(picture, output_format, USUAL[output_format]))
    tried = qualities(USUAL[output_format])
    assert quality in tried
    if quality < tried[-1]:
        assert Yardstick(picture).ssim(shown(body)) >= wanted
    if quality > tried[0]:
        assert likeness(picture, output_format, quality - STEP) < wanted


@pytest.mark.parametrize("output_format", LOSSY)
@pytest.mark.parametrize("picture", [FLAT, SOFT, SMALL, CLEAR], ids=["flat", "soft", "small", "clear"])
def test_picture_that_the_fixed_quality_keeps_never_gets_more_than_that(
    picture: Image.Image, output_format: str
) -> None:
    """It never gets less than the documented target either, however flat it is."""
    assert likeness(picture, output_format, USUAL[output_format]) >= TARGET_SSIM
    quality = found(picture, output_format)[0]
    assert USUAL[output_format] - 8 <= quality <= USUAL[output_format]


@pytest.mark.parametrize("output_format", LOSSY)
def test_picture_that_the_fixed_quality_does_not_keep_gets_more(output_format: str) -> None:
    """Faint grain under a smooth surface: the mean of luminance says little of it to an encoder."""
    assert likeness(FAINT, output_format, USUAL[output_format]) < TARGET_SSIM
    assert found(FAINT, output_format)[0] > USUAL[output_format]


@pytest.mark.parametrize("picture", [FLAT, SOFT, DETAILED, NOISE, FAINT, SMALL, CLEAR])
@pytest.mark.parametrize("output_format", LOSSY)
def test_search_never_takes_more_encodes_than_promised(picture: Image.Image, output_format: str) -> None:
    assert MAX_ENCODES == 6
    quality, body, tried = found(picture, output_format)
    assert len(tried) == len(set(tried)) <= MAX_ENCODES
    assert quality in tried
    assert body == encode(result(picture, quality), output_format)


def test_hopeless_picture_gets_the_highest_quality() -> None:
    assert (
        lowest_quality(NOISE, lambda _: encode(result(FLAT.resize(NOISE.size), 50), "jpeg"), usual=80)[0]
        == qualities(80)[-1]
    )


@pytest.mark.parametrize("output_format", LOSSY)
def test_auto_in_a_transform_is_the_search(output_format: str) -> None:
    assert encode(result(SOFT), output_format) == found(SOFT, output_format)[1]


def test_animation_takes_the_quality_of_its_first_frame() -> None:
    frames = ((SOFT, 40), (SOFT.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 40))
    moving = Result(frames, 0, b"", Resolved(quality="auto"))
    quality = found(SOFT, "webp")[0]
    assert encode(moving, "webp") == encode(Result(frames, 0, b"", Resolved(quality=quality)), "webp")


def test_lossless_formats_take_no_notice() -> None:
    assert encode(result(SOFT), "png") == encode(result(SOFT, 10), "png")


# The yardstick


def test_ssim_of_a_picture_with_itself_is_one() -> None:
    assert Yardstick(DETAILED).ssim(DETAILED) == pytest.approx(1, abs=1e-5)


def test_ssim_is_the_one_of_the_formula() -> None:
    """Against the formula written out in numpy, window by window."""
    numpy = pytest.importorskip("numpy")
    one = NOISE.convert("L").crop((0, 0, 83, 61))
    other = one.filter(ImageFilter.GaussianBlur(1))
    a, b = (numpy.asarray(picture, dtype=float) for picture in (one, other))
    values = []
    for top in range(0, 60 - 7, 4):
        for left in range(0, 80 - 7, 4):
            p, q = (plane[top : top + 8, left : left + 8] for plane in (a, b))
            covariance = (p * q).mean() - p.mean() * q.mean()
            light = (2 * p.mean() * q.mean() + 6.5025) / (p.mean() ** 2 + q.mean() ** 2 + 6.5025)
            values.append(light * (2 * covariance + 58.5225) / (p.var() + q.var() + 58.5225))
    assert Yardstick(one).ssim(other) == pytest.approx(numpy.mean(values), abs=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (8, 8), (9, 15)])
def test_ssim_of_small_pictures_is_defined(size: tuple[int, int]) -> None:
    black, white = Image.new("L", size), Image.new("L", size, 255)
    assert Yardstick(black).ssim(black) == pytest.approx(1)
    assert Yardstick(black).ssim(white) < 0.01
