"""The encodes of a drawing: one if an estimate decides, and with the filter that suits it."""

from __future__ import annotations

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
from proxy.images.measuring import drawing as drawing_room
from proxy.images.measuring import flatness
from proxy.images.measuring.flatness import SAMPLE_PIXELS, deflated_bytes, sample
from proxy.images.pipeline import inspect
from proxy.images.pixels.png_writing import BUSY, FLAT, PHOTO, PngEffort
from proxy.images.pool.jobs import Job, Rendered, Settings, Wish
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
    whole = len(pictures.saved(picture, "PNG", compress_level=1))
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
    picture: Image.Image, drawing: bool, effort: PngEffort
) -> None:
    asked: list[PngEffort] = []

    def write(_picture: Image.Image, effort: PngEffort) -> bytes:
        asked.append(effort)
        return b"png"

    result = Result(((picture, 0),), 0, b"", Resolved(), drawing, write)
    assert encode(result, "png") == b"png"
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


def test_png_that_keeps_its_metadata_is_written_by_pillow() -> None:
    tags = pictures.exif(Artist="A")

    def write(_picture: Image.Image, _effort: PngEffort) -> bytes:
        raise AssertionError("would lose the metadata")

    result = Result(((pictures.photo(60, 40), 0),), 0, tags, Resolved(metadata="keep"), write_png=write)
    assert pictures.opened(encode(result, "png")).getexif()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("effort", [FLAT, BUSY, PHOTO], ids=lambda effort: effort.row_filter)
def test_png_of_libvips_holds_the_very_same_pixels_and_nothing_else(mode: str, effort: PngEffort) -> None:
    pytest.importorskip("pyvips")
    from proxy.images.pixels.png_writing_vips import png_by_libvips  # noqa: PLC0415 - an extra

    picture = pictures.photo(61, 43).convert(mode)
    if mode == "RGBA":
        picture.putalpha(pictures.photo(61, 43).convert("L"))
    body = png_by_libvips(picture, effort)
    assert chunks_of(body) == ["IHDR", "IDAT", "IEND"]
    shown = pictures.opened(body)
    assert (shown.mode, shown.size) == (mode, picture.size)
    assert shown.tobytes() == picture.tobytes()
    assert not shown.info.keys() - {"dpi"}


def test_picture_that_libvips_cannot_write_is_an_error_of_the_encoder() -> None:
    """It is translated where Pillow's own errors are."""
    pytest.importorskip("pyvips")
    from proxy.images.pixels.png_writing_vips import png_by_libvips  # noqa: PLC0415 - an extra

    unknown: dict[str, Any] = {"row_filter": "diagonal", "level": 1}
    with pytest.raises(OSError, match="diagonal"):
        png_by_libvips(Image.new("RGB", (4, 4)), PngEffort(**unknown))


def chunks_of(body: bytes) -> list[str]:
    """Return the names of the chunks of a PNG, each kind once, in their order."""
    names: dict[str, None] = {}
    at = 8
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        names[body[at + 4 : at + 8].decode("ascii")] = None
        at += length + 12
    return list(names)
