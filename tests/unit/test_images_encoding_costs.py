"""The encodes of a drawing: one if an estimate decides, and with the filter that suits it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pictures
import pytest
from PIL import Image

from proxy.images import samples
from proxy.images.decode.choice import decoder_for
from proxy.images.encode import Result, encode
from proxy.images.formats import png as png_room
from proxy.images.formats import saving
from proxy.images.formats import webp as webp_room
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.measuring import drawing as drawing_room
from proxy.images.pipeline import inspect
from proxy.images.pixels import flatness
from proxy.images.pixels.flatness import SAMPLE_PIXELS, deflated_bytes, sample
from proxy.images.pixels.png_writing import BUSY, ESTIMATE, FLAT, PHOTO, PngEffort, deflated, write_png
from proxy.images.transforms.resolved import Resolved
from proxy.images.transforms.transform import Transform


def chart(width: int = 700, height: int = 400) -> Image.Image:
    return pictures.chart(width, height).convert("RGB")


def busy() -> Image.Image:
    """Strokes all over in more colours than a palette holds: hardly a flat pixel."""
    return Image.blend(pictures.photo(300, 200), Image.effect_noise((300, 200), 60).convert("RGB"), 0.5)


@pytest.fixture(name="tried")
def _tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note how each WebP is encoded."""
    tried: list[str] = []
    saved = saving.saved

    def noted(picture: Image.Image, output_format: str, **options: Any) -> bytes:
        tried.append("lossless" if options.get("lossless") else "lossy")
        return saved(picture, output_format, **options)

    monkeypatch.setattr(webp_room, "saved", noted)
    return tried


def webp(picture: Image.Image) -> bytes:
    return encode(Result(((picture, 0),), 0, b"", Resolved(), drawing=True), "webp")


def test_flat_chart_is_encoded_without_loss_alone(tried: list[str]) -> None:
    """Its pixels are hardly anything but repetitions."""
    body = webp(chart())
    assert tried == ["lossless"]
    assert body[12:16] == b"VP8L"


def test_grey_photo_is_encoded_with_loss_alone(tried: list[str]) -> None:
    """It has as few colours as a drawing, and is many times larger without loss."""
    grain = Image.effect_noise((300, 200), 40)
    body = webp(Image.blend(pictures.photo(300, 200).convert("L"), grain, 0.2))
    assert tried == ["lossy"]
    assert body[12:16] == b"VP8 "


def test_drawing_between_both_is_encoded_both_ways_and_the_smaller_answers(
    tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = pictures.disc(400).resize((300, 300), Image.Resampling.LANCZOS)
    body = webp(picture)
    assert tried == ["lossy", "lossless"]
    monkeypatch.setattr(webp_room, "_LOSSLESS_BELOW_RATIO", 0)
    assert len(body) < len(webp(picture))


@pytest.mark.parametrize("size", [(100, 100), (700, 400), (3000, 30), (30, 3000), (16, 40_000), (40_000, 15)])
def test_sample_is_the_picture_or_bands_of_it(size: tuple[int, int]) -> None:
    """However long or wide the picture is, some of it remains, at the width of the picture."""
    picture = Image.new("RGB", size)
    bands = sample(picture)
    assert bands.width == picture.width
    assert 0 < bands.height <= picture.height
    assert bands is picture or bands.width * bands.height < 2 * SAMPLE_PIXELS


def test_estimate_of_a_sample_is_near_that_of_the_whole() -> None:
    picture = pictures.photo(800, 600)
    whole = len(deflated(picture, ESTIMATE))
    assert deflated_bytes(picture) == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize(
    ("picture", "drawing", "effort"),
    [
        (chart().resize((500, 290), Image.Resampling.LANCZOS), True, FLAT),
        (busy(), True, BUSY),
        (pictures.photo(300, 200), False, PHOTO),
    ],
)
def test_png_is_written_with_the_filter_that_suits_it(
    picture: Image.Image, drawing: bool, effort: PngEffort, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PngEffort] = []

    def write(_picture: Image.Image, effort: PngEffort, *, exif: bytes = b"") -> bytes:
        asked.append(effort)
        return b"png" + exif

    monkeypatch.setattr(png_room, "write_png", write)
    assert encode(Result(((picture, 0),), 0, b"", Resolved(), drawing), "png") == b"png"
    assert asked == [effort]


def test_flat_pixels_of_a_png_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measure that distinguishes a drawing from a photo also selects the filter."""
    pytest.importorskip("pyvips")
    counted: list[Image.Image] = []
    flat_share = flatness.flat_share

    def noted(picture: Image.Image) -> float:
        counted.append(picture)
        return flat_share(picture)

    for room in (drawing_room, png_room):
        monkeypatch.setattr(room, "flat_share", noted)
    path = tmp_path / "chart.png"
    samples.chart((700, 400), seed=1).convert("RGB").save(path)
    wish = Wish(Transform.parse("width=400,height=300").resolved({}), ("png",))
    inspection = inspect(
        Job(str(path), (wish,)), Settings(), decoder=decoder_for("auto"), on_facts=lambda _: None
    )
    assert isinstance(inspection.outputs[0], Rendered)
    assert len(counted) == 1


def test_png_that_keeps_its_metadata_holds_them_in_their_chunk() -> None:
    tags = pictures.exif(Artist="A")
    result = Result(((pictures.photo(60, 40), 0),), 0, tags, Resolved(metadata="keep"))
    body = encode(result, "png")
    assert chunks_of(body) == ["IHDR", "eXIf", "IDAT", "IEND"]
    by_pillow = pictures.saved(result.picture, "PNG", exif=tags)
    assert pictures.opened(body).getexif() == pictures.opened(by_pillow).getexif()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (61, 43), (1, 300), (40_000, 3), (700, 500)])
@pytest.mark.parametrize("effort", [FLAT, BUSY, PHOTO], ids=lambda effort: effort.row_filter)
def test_written_png_holds_the_very_same_pixels_and_nothing_else(
    mode: str, size: tuple[int, int], effort: PngEffort
) -> None:
    """Rows are filtered in bands; the second begins with the last row of the first above it."""
    picture = pictures.photo(300, 200).resize(size).convert(mode)
    if mode == "RGBA":
        picture.putalpha(pictures.photo(300, 200).resize(size).convert("L"))
    body = write_png(picture, effort)
    assert chunks_of(body) == ["IHDR", "IDAT", "IEND"]
    shown = pictures.opened(body)
    assert (shown.mode, shown.size) == (mode, size)
    assert shown.tobytes() == picture.tobytes()
    assert not shown.info


def few_colours(number: int, mode: str, size: tuple[int, int] = (61, 43)) -> Image.Image:
    """Return a picture of so many colours, close to each other and far apart, in random places."""
    rng = random.Random(number)  # noqa: S311 - a picture, not a secret
    channels = len(mode)
    colours = {tuple(rng.choice((1, 2, 3, 40, 128, 255)) for _ in range(channels)) for _ in range(4 * number)}
    chosen = sorted(colours)[:number]
    picture = Image.new(mode, size)
    picture.putdata([*chosen, *rng.choices(chosen, k=size[0] * size[1] - len(chosen))])
    return picture


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 16, 17, 60, 150])
def test_png_of_few_colours_has_them_as_its_palette(number: int) -> None:
    """However near to each other they are, and in as many bits as their number takes."""
    picture = few_colours(number, "RGB")
    body = encode(Result(((picture, 0),), 0, pictures.exif(Artist="A"), Resolved(metadata="keep")), "png")
    assert chunks_of(body) == ["IHDR", "PLTE", "eXIf", "IDAT", "IEND"]
    assert pictures.opened(body).convert("RGB").tobytes() == picture.tobytes()
    found = len(picture.getcolors(256) or ())
    assert body[24] == next(bits for bits in (1, 2, 4, 8) if found <= 1 << bits)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 16, 17, 60, 150])
def test_png_of_few_transparent_colours_holds_the_very_same_pixels(number: int) -> None:
    """With a palette, or without one where Pillow finds none that is exact."""
    picture = few_colours(number, "RGBA")
    body = encode(Result(((picture, 0),), 0, b"", Resolved()), "png")
    assert pictures.opened(body).convert("RGBA").tobytes() == picture.tobytes()
    assert ("PLTE" in chunks_of(body)) == ("tRNS" in chunks_of(body))


def test_palette_of_few_values_is_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow takes ten times as long to find a palette as to use one."""
    asked: list[object] = []
    quantize = Image.Image.quantize

    def noted(picture: Image.Image, *given: Any, **options: Any) -> Image.Image:
        asked.append(options.get("palette"))
        return quantize(picture, *given, **options)

    monkeypatch.setattr(Image.Image, "quantize", noted)
    encode(Result(((few_colours(60, "RGB"), 0),), 0, b"", Resolved()), "png")
    assert len(asked) == 1
    assert asked[0] is not None


def test_palette_of_many_values_in_a_channel_still_holds_the_very_same_pixels() -> None:
    ramp = Image.linear_gradient("L")
    picture = Image.merge("RGB", (ramp, ramp, ramp))
    body = encode(Result(((picture, 0),), 0, b"", Resolved()), "png")
    assert pictures.opened(body).convert("RGB").tobytes() == picture.tobytes()


def test_png_is_written_where_few_pixels_may_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's guard against decompression bombs counts no bytes of rows as pixels."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    picture = pictures.photo(300, 200)
    for effort in (FLAT, BUSY, PHOTO):
        assert write_png(picture, effort)


def test_drawing_of_many_colours_that_is_not_very_flat_is_encoded_with_loss_at_once(
    tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is estimated: without loss it is never smaller."""
    monkeypatch.setattr(webp_room, "deflated_bytes", lambda _: pytest.fail("estimated"))
    picture = chart().resize((500, 290), Image.Resampling.LANCZOS)
    encode(Result(((picture, 0),), 0, b"", Resolved(), drawing=True, flat=0.5), "webp")
    assert tried == ["lossy"]


def chunks_of(body: bytes) -> list[str]:
    """Return the names of the chunks of a PNG, each kind once, in their order."""
    names: dict[str, None] = {}
    at = 8
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        names[body[at + 4 : at + 8].decode("ascii")] = None
        at += length + 12
    return list(names)
