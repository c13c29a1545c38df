"""The hard set under both decoders: upright size, mode, frames, delays, and colours within a stated distance."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from colour_science import JUST_NOTICEABLE, difference
from hard_set import Hard, hard_set, table
from PIL import Image, ImageOps

from proxy.errors import DecodeFailed
from proxy.images.decode.choice import decoder_for
from proxy.images.decode.pillow import prepare
from proxy.images.jobs import Inspection, Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.pixels.libvips import has_libvips
from proxy.images.transforms.transform import Transform

DOCS = Path(__file__).parents[2] / "docs" / "pictures.md"
NAMES = list(hard_set())
MOVING = [name for name, hard in hard_set().items() if len(hard.frames) > 1]
CUT = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO")
CUT_MOVING = ("animated GIF", "APNG", "animated WebP")

decoders = pytest.mark.parametrize(
    "decoder",
    ["pillow", pytest.param("libvips", marks=pytest.mark.skipif(not has_libvips(), reason="no libvips"))],
)


def looked(folder: Path, body: bytes, decoder: str, *wishes: str, check: bool = True) -> Inspection:
    prepare(max_pixels=50_000_000)
    path = folder / "body"
    path.write_bytes(body)
    asked = tuple(
        Wish(Transform.parse(options).resolved({}), (name,))
        for options, _, name in (wish.partition(">") for wish in wishes)
    )
    job = Job(str(path), asked, check=check)
    return inspect(job, Settings(), decoder=decoder_for(decoder), on_facts=lambda _: None)


def is_transparent(picture: Image.Image) -> bool:
    return picture.convert("RGBA").getchannel("A").getextrema() != (255, 255)


def opened(inspection: Inspection, number: int = 0) -> Image.Image:
    output = inspection.outputs[number]
    assert isinstance(output, Rendered), output
    return Image.open(io.BytesIO(output.body))


@decoders
@pytest.mark.parametrize("name", NAMES)
def test_hard_picture_looks_as_it_should(tmp_path: Path, name: str, decoder: str) -> None:
    hard = hard_set()[name]
    inspection = looked(tmp_path, hard.body, decoder, "anim=false>png")
    assert inspection.verdict == "whole"
    assert inspection.facts is not None
    assert inspection.facts.format == hard.format
    assert (inspection.facts.width, inspection.facts.height) == hard.first.size
    assert inspection.facts.frames == len(hard.frames)
    picture = opened(inspection)
    assert is_transparent(picture) == is_transparent(hard.first)
    assert difference(picture, hard.first) <= hard.within
    again = looked(tmp_path, hard.body, decoder, "anim=false>png", check=False)
    assert again.outputs == inspection.outputs, "the first visitor sees what every other one sees"


@decoders
@pytest.mark.parametrize("name", NAMES)
def test_hard_picture_made_smaller_is_the_upright_one_made_smaller(
    tmp_path: Path, name: str, decoder: str
) -> None:
    """In every format there is no dark fringe at transparent edges, and no channel is lost."""
    hard = hard_set()[name]
    width, height = hard.first.width // 2, hard.first.height // 2
    formats = ("png", "webp", "jpeg", "avif")
    inspection = looked(
        tmp_path, hard.body, decoder, *(f"width={width},anim=false,quality=95>{form}" for form in formats)
    )
    small = (
        hard.first.convert("RGBA")
        .convert("RGBa")
        .resize((width, height), Image.Resampling.LANCZOS)
        .convert("RGBA")
    )
    for number, form in enumerate(formats):
        wanted = (
            Image.alpha_composite(Image.new("RGBA", small.size, "white"), small) if form == "jpeg" else small
        )
        # WebP has half as many pixels of colour across and down: flat patches of a few pixels get soft edges.
        allowed = JUST_NOTICEABLE * (2 if form == "webp" else 1) + hard.within
        assert difference(opened(inspection, number), wanted) <= allowed, form


@pytest.mark.parametrize("form", ["webp", "gif"])
@pytest.mark.parametrize("name", MOVING)
def test_hard_animation_keeps_frames_delays_and_plays(tmp_path: Path, name: str, form: str) -> None:
    hard = hard_set()[name]
    # Mirrored, because an original that nothing changes may be answered as it is.
    picture = opened(looked(tmp_path, hard.body, "pillow", f"flip=h,quality=95>{form}"))
    assert getattr(picture, "n_frames", 1) == len(hard.frames)
    loop = picture.info.get("loop")
    assert (loop if form == "webp" else {None: 1, 0: 0}.get(loop, (loop or 0) + 1)) == hard.plays
    for number, (frame, duration) in enumerate(zip(hard.frames, hard.durations_ms, strict=True)):
        picture.seek(number)
        picture.load()
        assert picture.info["duration"] == duration
        assert difference(picture, ImageOps.mirror(frame)) <= JUST_NOTICEABLE + hard.within, number


@decoders
@pytest.mark.parametrize("kind", CUT)
def test_cut_off_picture_is_refused(tmp_path: Path, kind: str, decoder: str) -> None:
    hard = _cut_one(kind)
    inspection = looked(tmp_path, hard.body[: len(hard.body) * 2 // 3], decoder, "width=9>png")
    assert (inspection.verdict, type(inspection.outputs[0])) == ("damaged", DecodeFailed)


@decoders
@pytest.mark.parametrize("kind", CUT_MOVING)
def test_cut_off_animation_shows_the_frames_that_are_there(tmp_path: Path, kind: str, decoder: str) -> None:
    hard = _cut_one(kind)
    inspection = looked(tmp_path, hard.body[: len(hard.body) * 9 // 10], decoder, "width=60>webp")
    assert inspection.verdict == "whole"
    assert 1 <= getattr(opened(inspection), "n_frames", 1) < len(hard.frames)


def _cut_one(kind: str) -> Hard:
    moving = kind.startswith(("animated", "APNG"))
    shown = (
        name
        for name in NAMES
        if (name.startswith(kind) if moving else kind.lower() == hard_set()[name].format)
    )
    return hard_set()[next(shown)]


def test_table_lists_the_set_and_nothing_else() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert f"<!-- hard set -->\n{table()}<!-- /hard set -->" in text
