"""quality=auto: as few bytes as the look allows, in a bounded number of encodes."""

from __future__ import annotations

import io
from dataclasses import replace

import pictures
import pytest
from PIL import Image, ImageFilter

from proxy.images.autoquality import (
    MAX_ENCODES,
    MAX_ENCODES_NEAR,
    MAX_REMEMBERED,
    QUALITIES,
    TARGET_SSIM,
    Remembered,
    lowest_quality,
)
from proxy.images.encode import Result, encode
from proxy.images.resolved import Resolved
from proxy.images.similarity import Yardstick

FLAT = Image.new("RGB", (240, 160), (90, 120, 150))
SOFT = pictures.photo(300, 200)
DETAILED = Image.blend(pictures.photo(300, 200), Image.effect_noise((300, 200), 80).convert("RGB"), 0.3)
NOISE = Image.effect_noise((200, 170), 120).convert("RGB")
SMALL = pictures.quarters(7, 5)
CLEAR = pictures.disc(120, 90)
LOSSY = ("jpeg", "webp", "avif")


def result(picture: Image.Image, quality: int | str = "auto") -> Result:
    return Result(((picture, 0),), 0, b"", Resolved(quality=quality))


def found(
    picture: Image.Image, output_format: str = "jpeg", *, near: int | None = None
) -> tuple[int, bytes, list[int]]:
    """The quality found, its bytes, and the qualities that were tried."""
    tried: list[int] = []

    def encoded(quality: int) -> bytes:
        tried.append(quality)
        return encode(result(picture, quality), output_format)

    return *lowest_quality(picture, encoded, near=near), tried


def shown(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body))


@pytest.mark.parametrize("output_format", LOSSY)
def test_flat_picture_gets_lower_quality_than_detailed_one(output_format: str) -> None:
    assert found(FLAT, output_format)[0] < found(DETAILED, output_format)[0]


@pytest.mark.parametrize("output_format", LOSSY)
@pytest.mark.parametrize("picture", [FLAT, SOFT, DETAILED], ids=["flat", "soft", "detailed"])
def test_found_quality_holds_the_target_and_the_next_lower_does_not(
    picture: Image.Image, output_format: str
) -> None:
    quality, body, _ = found(picture, output_format)
    yardstick = Yardstick(picture)
    assert yardstick.ssim(shown(body)) >= TARGET_SSIM
    if quality > QUALITIES[0]:
        lower = encode(result(picture, quality - QUALITIES.step), output_format)
        assert yardstick.ssim(shown(lower)) < TARGET_SSIM


@pytest.mark.parametrize("picture", [FLAT, SOFT, DETAILED, NOISE, SMALL, CLEAR])
def test_search_never_takes_more_encodes_than_promised(picture: Image.Image) -> None:
    assert MAX_ENCODES == 5
    quality, body, tried = found(picture, "webp")
    assert len(tried) == len(set(tried)) <= MAX_ENCODES
    assert quality in tried
    assert body == encode(result(picture, quality), "webp")


@pytest.mark.parametrize("output_format", LOSSY)
@pytest.mark.parametrize("picture", [FLAT, SOFT, DETAILED, NOISE], ids=["flat", "soft", "detailed", "noise"])
def test_search_ends_where_it_ends_wherever_it_begins(picture: Image.Image, output_format: str) -> None:
    quality, body, _ = found(picture, output_format)
    for near in (QUALITIES[0], QUALITIES[9], quality, QUALITIES[-1]):
        again, same, tried = found(picture, output_format, near=near)
        assert (again, same) == (quality, body)
        assert len(tried) == len(set(tried)) <= MAX_ENCODES_NEAR
        assert near != quality or len(tried) <= 2


def test_small_picture_with_two_places_to_end_ends_at_one_wherever_it_begins() -> None:
    """What was asked for before changes no bytes: 44 holds the target, 46 to 60 do not, 62 does."""
    picture = DETAILED.resize((60, 40))
    good, bad = (encode(result(shown, 90), "webp") for shown in (picture, FLAT.resize(picture.size)))

    def encoded(quality: int) -> bytes:
        return good if quality == 44 or quality >= 62 else bad

    assert {lowest_quality(picture, encoded, near=near)[0] for near in (None, *QUALITIES)} == {62}


def test_other_sizes_of_an_original_begin_at_what_was_found() -> None:
    """One memory for one original and format, as the pipeline keeps it, bounded in the number of originals."""
    remembered = Remembered()
    first, other = result(DETAILED), result(DETAILED.resize((150, 110)))
    for look in (first, other):
        encode(replace(look, found=remembered.of("a")), "jpeg")
    assert remembered.of("a") == {"jpeg": found(DETAILED.resize((150, 110)))[0]}
    assert remembered.of("b") == {}
    for number in range(MAX_REMEMBERED):
        remembered.of(str(number))
    assert remembered.of("a") == {}


def test_hopeless_picture_gets_the_highest_quality() -> None:
    assert (
        lowest_quality(NOISE, lambda _: encode(result(FLAT.resize(NOISE.size), 50), "jpeg"))[0]
        == QUALITIES[-1]
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
