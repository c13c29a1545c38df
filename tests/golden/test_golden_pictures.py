"""Results against references made another way: exact size, small mean distance, never the encoder's bytes."""

from __future__ import annotations

from pathlib import Path

import pictures
import pytest
from PIL import Image, ImageOps

from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats import OUTPUTS
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.transform import Transform

SOURCES = {
    "photo": pictures.photo(900, 600),
    "chart": pictures.chart(900, 600).convert("RGB"),
    "quarters": pictures.quarters(900, 600),
}
# Mean distance per channel of 255 that a viewer does not see at the default qualities.
DISTANCES = {"png": 1.2, "jpeg": 3.0, "webp": 3.5, "avif": 3.5, "gif": 6.0}


def rendered(path: Path, options: str, output_format: str) -> Image.Image:
    prepare(max_pixels=50_000_000)
    wish = Wish(Transform.parse(options).resolved({}), (output_format,))
    output = inspect(
        Job(str(path), (wish,)), Settings(), decoder=PillowDecoder(), on_facts=lambda _: None
    ).outputs[0]
    assert isinstance(output, Rendered)
    return pictures.opened(output.body)


@pytest.mark.parametrize("output_format", tuple(OUTPUTS))
@pytest.mark.parametrize("name", SOURCES)
def test_scaled_picture_looks_like_its_reference(tmp_path: Path, name: str, output_format: str) -> None:
    """A lossless original scaled to 300 px is what one exact resampling of it gives."""
    path = tmp_path / "body"
    path.write_bytes(pictures.saved(SOURCES[name], "PNG"))
    reference = SOURCES[name].resize((300, 200), Image.Resampling.LANCZOS)
    picture = rendered(path, "width=300", output_format)
    assert picture.size == reference.size
    assert output_format in DISTANCES, f"add to DISTANCES what a viewer does not see in {output_format}"
    assert pictures.distance(picture, reference) < DISTANCES[output_format]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("width", [60, 112, 113, 225, 449, 640])
def test_small_decode_of_jpeg_costs_no_quality(tmp_path: Path, name: str, width: int) -> None:
    """Decoding a JPEG at an eighth, a quarter or half its size shows no difference to decoding it whole."""
    path = tmp_path / "body"
    path.write_bytes(pictures.saved(SOURCES[name], "JPEG", quality=92))
    height = round(600 * width / 900)
    reference = SOURCES[name].resize((width, height), Image.Resampling.LANCZOS)
    assert pictures.distance(rendered(path, f"width={width}", "png"), reference) < 3.0


@pytest.mark.parametrize("size", [(300, 300), (400, 100), (1200, 630)])
def test_cover_shows_the_middle(tmp_path: Path, size: tuple[int, int]) -> None:
    """Cutting and scaling in one step is cutting, then scaling."""
    path = tmp_path / "body"
    path.write_bytes(pictures.saved(SOURCES["photo"], "PNG"))
    reference = ImageOps.fit(SOURCES["photo"], size, Image.Resampling.LANCZOS)
    picture = rendered(path, f"width={size[0]},height={size[1]},fit=cover", "png")
    assert picture.size == size
    assert pictures.distance(picture, reference) < 1.5


def test_transparent_picture_looks_alike_on_any_ground(tmp_path: Path) -> None:
    """A scaled disc on white and on black is the disc scaled on white and on black."""
    source = pictures.disc(600, 600)
    path = tmp_path / "body"
    path.write_bytes(pictures.saved(source, "PNG"))
    picture = rendered(path, "width=150", "webp").convert("RGBA")
    for ground in ("white", "black"):
        wanted = Image.new("RGBA", source.size, ground)
        wanted.alpha_composite(source)
        found = Image.new("RGBA", picture.size, ground)
        found.alpha_composite(picture)
        assert pictures.distance(found, wanted.resize((150, 150), Image.Resampling.LANCZOS)) < 2.5
