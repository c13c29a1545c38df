"""Never larger than the original, and without loss where that is smaller."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pictures
import pytest
from pictures import opened
from PIL import ExifTags, Image, ImageDraw, PngImagePlugin

from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.files.bare import bare
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.transform import Transform

SECRET = b"48.137154 N 11.576124 E"
Render = Callable[..., bytes]


@pytest.fixture(name="render")
def _render(tmp_path: Path) -> Render:
    path = tmp_path / "body"

    def render(body: bytes, options: str, output_format: str) -> bytes:
        path.write_bytes(body)
        prepare(max_pixels=50_000_000)
        wish = Wish(Transform.parse(options).resolved({}), (output_format,))
        made = inspect(
            Job(str(path), (wish,)), Settings(), decoder=PillowDecoder(), on_facts=lambda _: None
        ).outputs[0]
        assert isinstance(made, Rendered), made
        return made.body

    return render


def secrets() -> dict[str, Any]:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = SECRET.decode()
    return {"exif": exif.tobytes()}


def screenshot(size: tuple[int, int] = (400, 300)) -> Image.Image:
    """Letters and boxes in a dozen colours."""
    picture = Image.new("RGB", size, (250, 250, 252))
    draw = ImageDraw.Draw(picture)
    for row in range(0, size[1], 14):
        draw.text(
            (8, row),
            f"line {row} of a terminal: $ make check",
            fill=(20, 40, 90) if row % 28 else (160, 30, 30),
        )
    return picture


def small_originals() -> dict[str, bytes]:
    photo, secret = pictures.photo(240, 160), secrets()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    moving = [photo.rotate(angle) for angle in (0, 5, 9)]
    return {
        "jpeg": pictures.saved(photo, "JPEG", quality=15, **secret, comment=SECRET),
        "progressive jpeg": pictures.saved(photo, "JPEG", quality=15, progressive=True, **secret),
        "grey jpeg": pictures.saved(photo.convert("L"), "JPEG", quality=10, **secret),
        "jpeg with restarts": pictures.saved(photo, "JPEG", quality=15, restart_marker_rows=2, **secret),
        "png": pictures.saved(photo.quantize(5), "PNG", compress_level=9, pnginfo=text, **secret),
        "png with transparency": pictures.saved(
            pictures.disc().quantize(9), "PNG", compress_level=9, pnginfo=text, **secret
        ),
        "webp": pictures.saved(photo, "WEBP", quality=5, method=6, **secret, xmp=SECRET),
        "lossless webp": pictures.saved(screenshot(), "WEBP", lossless=True, method=6, quality=100, **secret),
        "moving webp": pictures.saved(
            moving[0], "WEBP", save_all=True, append_images=moving[1:], quality=5, method=6, **secret
        ),
        "gif": pictures.saved(photo.quantize(4), "GIF"),
    }


ORIGINALS = small_originals()


def frames(body: bytes) -> list[bytes]:
    with Image.open(io.BytesIO(body)) as picture:
        shown = []
        for number in range(getattr(picture, "n_frames", 1)):
            picture.seek(number)
            shown.append(picture.convert("RGBA").tobytes())
        return shown


@pytest.mark.parametrize("name", ORIGINALS)
def test_bare_file_shows_the_same_and_tells_nothing(name: str) -> None:
    body = ORIGINALS[name]
    kept = bare(body, (opened(body).format or "").lower())
    assert kept is not None
    assert frames(kept) == frames(body)
    assert len(kept) <= len(body)
    assert SECRET not in kept
    assert "exif" not in opened(kept).info


@pytest.mark.parametrize("options", ["anim=true", "quality=95", "width=5000", "fit=cover"])
@pytest.mark.parametrize("name", ORIGINALS)
def test_picture_of_the_same_size_is_never_larger_than_the_original(
    render: Render, name: str, options: str
) -> None:
    body = ORIGINALS[name]
    picture_format = (opened(body).format or "").lower()
    made = render(body, options, picture_format)
    assert len(made) <= len(body)
    assert SECRET not in made
    assert opened(made).size == opened(body).size


def test_changed_picture_is_encoded_however_large(render: Render) -> None:
    """The wanted change takes precedence: turned, brightened, blurred."""
    body = ORIGINALS["jpeg"]
    for options in ("rotate=180", "brightness=1.2", "blur=3", "flip=h"):
        assert frames(render(body, f"{options},quality=90", "jpeg")) != frames(body)


def test_sideways_original_is_not_passed_on(render: Render) -> None:
    """Its own bytes are upright only with the metadata that are dropped."""
    body = pictures.turned(6, "JPEG")
    assert opened(render(body, "quality=100", "jpeg")).size == (120, 80)


def test_metadata_that_is_to_be_kept_is_kept(render: Render) -> None:
    made = render(ORIGINALS["jpeg"], "metadata=keep,quality=95", "jpeg")
    assert made == ORIGINALS["jpeg"]


def _named(tag: str) -> dict[str, Any]:
    return {tag: SECRET.decode()}


def test_metadata_that_names_nobody_is_dropped_with_copyright(render: Render) -> None:
    """There is nothing to keep: the original's bytes without the rest. A name is kept by encoding."""
    grain = Image.effect_noise((90, 60), 90)
    nobody, somebody = (
        pictures.saved(grain, "JPEG", quality=10, exif=pictures.exif(**_named(tag)))
        for tag in ("Make", "Artist")
    )
    plain = pictures.saved(grain, "JPEG", quality=10)
    assert render(nobody, "metadata=copyright", "jpeg") == plain
    made = render(somebody, "metadata=copyright", "jpeg")
    assert made != plain
    assert SECRET in made


def test_avif_without_metadata_is_passed_on_and_with_metadata_encoded(render: Render) -> None:
    grain = Image.effect_noise((120, 90), 90).convert("RGB")
    bare, tagged = (
        pictures.saved(grain, "AVIF", quality=10, speed=10, **exif)
        for exif in ({}, {"exif": pictures.exif(Make=SECRET.decode())})
    )
    assert render(bare, "anim=true", "avif") == bare
    made = render(tagged, "anim=true", "avif")
    assert made != tagged
    assert SECRET not in made


def test_screenshot_stays_without_loss_where_that_is_smaller(render: Render) -> None:
    """Letters stay sharp, in fewer bytes than blurred ones would take."""
    shot = screenshot().quantize(200).convert("RGB")
    body = pictures.saved(shot, "PNG")
    assert frames(render(body, "anim=true", "webp")) == [shot.convert("RGBA").tobytes()]
    made = render(body, "anim=true", "png")
    assert opened(made).mode == "P"
    assert frames(made) == frames(body)
    assert len(made) <= len(body)


def test_photo_is_not_kept_without_loss(render: Render) -> None:
    body = pictures.saved(pictures.photo(240, 160), "PNG")
    assert len(render(body, "anim=true", "webp")) < len(body) / 3
    assert opened(render(body, "width=200", "png")).mode == "RGB"
