"""Whatever is asked of a good picture: a result, or a word about the question. Never a word against the picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pictures
from hypothesis import example, given, settings
from hypothesis import strategies as st
from option_texts import texts
from PIL import Image

from proxy.config import Config
from proxy.errors import InvalidTransform
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats import OUTPUTS
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.resolved import Resolved
from proxy.images.transforms.transform import Transform

PRESETS = Config().presets
SIDE_MAX, DPR_MAX = 90, 2
"""Larger results take long, and are made by the same code."""

SOURCES = {
    "photo": pictures.saved(pictures.photo(48, 32), "JPEG"),
    "alpha": pictures.saved(pictures.photo(31, 33).convert("RGBA"), "PNG"),
    "palette": pictures.saved(pictures.chart(40, 30), "PNG"),
    "pixel": pictures.saved(Image.new("RGB", (1, 1)), "PNG"),
    "long": pictures.saved(Image.new("L", (1, 900)), "PNG"),
    "wide": pictures.saved(Image.new("RGB", (900, 1)), "JPEG"),
    "moving GIF": pictures.moving("GIF"),
    "moving WebP": pictures.moving("WEBP"),
    "APNG": pictures.moving("PNG"),
}


def smaller(asked: Resolved) -> Resolved:
    sides = {name: min(side, SIDE_MAX) for name in ("width", "height") if (side := getattr(asked, name))}
    return asked.replaced(**sides, dpr=min(asked.dpr, DPR_MAX))


@settings(max_examples=100)
@given(text=texts(), name=st.sampled_from(sorted(SOURCES)), wanted=st.permutations(tuple(OUTPUTS)))
@example("quality=100", "photo", ("avif",))
@example("width=1", "moving GIF", ("gif",))
@example("width=1", "APNG", ("gif",))
def test_good_picture_is_rendered_whatever_is_asked(text: str, name: str, wanted: tuple[str, ...]) -> None:
    try:
        resolved = Transform.parse(text).resolved(PRESETS)
    except InvalidTransform:
        return
    resolved = smaller(resolved)
    prepare(max_pixels=Settings().max_pixels)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "body")
        path.write_bytes(SOURCES[name])
        asked = Wish(resolved, tuple(wanted))
        inspection = inspect(
            Job(str(path), (asked,), check=True),
            Settings(),
            decoder=PillowDecoder(),
            on_facts=lambda _: None,
        )
    (output,) = inspection.outputs
    if isinstance(output, InvalidTransform):
        return
    assert isinstance(output, Rendered), output
    if output.output_format != "json":
        assert pictures.opened(output.body).size == (output.width, output.height)


def test_equal_frames_stay_an_animation_or_its_still(tmp_path: Path) -> None:
    """Frames may differ only in details lost by resizing. The writer then has a single frame, with the time of all."""
    frames = [pictures.photo(60, 40), pictures.photo(60, 40)]
    path = tmp_path / "body"
    path.write_bytes(pictures.saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=70))
    job = Job(str(path), (Wish(Transform.parse("width=1").resolved({}), ("gif",)),))
    (output,) = inspect(job, Settings(), decoder=PillowDecoder(), on_facts=lambda _: None).outputs
    assert isinstance(output, Rendered), output
    assert pictures.opened(output.body).size == (1, 1)
