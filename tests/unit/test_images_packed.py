"""A packed picture is a picture like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pictures
import pytest
from PIL import Image

from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.formats.probe import structure_of
from proxy.images.pixels.zero_copy import Packed

PHOTO = pictures.photo(61, 43)


def packed(picture: Image.Image, layout: str) -> Packed:
    return Packed(picture.mode, picture.size, picture.tobytes("raw", layout), layout)


def pasted(picture: Image.Image) -> Image.Image:
    canvas = Image.new(picture.mode, (80, 80))
    canvas.paste(picture, (4, 4))
    return canvas


USES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copy": lambda picture: picture.copy(),
    "crop": lambda picture: picture.crop((3, 5, 40, 30)),
    "convert": lambda picture: picture.convert("RGBA"),
    "reduce": lambda picture: picture.reduce(2),
    "resize": lambda picture: picture.resize((20, 14), Image.Resampling.LANCZOS),
    "transpose": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "point": lambda picture: picture.point(lambda value: 255 - value),
    "channel": lambda picture: picture.getchannel(0),
    "pasted": pasted,
}


@pytest.mark.parametrize(("mode", "layout"), [("L", "L"), ("RGB", "RGB"), ("RGB", "RGBX"), ("RGBA", "RGBA")])
@pytest.mark.parametrize("use", USES)
def test_packed_picture_gives_what_the_same_picture_gives(mode: str, layout: str, use: str) -> None:
    """This holds for the first operation on it, too."""
    plain = PHOTO.convert(mode)
    assert USES[use](packed(plain, layout)) == USES[use](plain)


def test_packed_picture_is_taken_into_memory_once_and_then_its_bytes_are_let_go() -> None:
    """Size and mode are known without."""
    picture = packed(PHOTO, "RGB")
    assert (picture.size, picture.mode) == (PHOTO.size, "RGB")
    assert picture.packed is not None
    pixels = picture.load()
    assert pixels is not None
    assert pixels[60, 42] == PHOTO.getpixel((60, 42))
    assert picture.packed is None
    picture.putpixel((0, 0), (1, 2, 3))
    assert picture.getpixel((0, 0)) == (1, 2, 3)


def test_closed_packed_picture_has_let_its_pixels_go() -> None:
    """Like Pillow's own pictures, it raises when it is used again."""
    picture = packed(PHOTO, "RGB")
    picture.close()
    assert picture.packed is None
    with pytest.raises(ValueError, match="closed"):
        picture.convert("L")


@pytest.mark.parametrize("picture_format", ["webp", "avif"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_codec_hands_over_what_pillow_would_load(tmp_path: Path, picture_format: str, mode: str) -> None:
    """Untouched by Pillow until it is asked for."""
    prepare(max_pixels=1_000_000)
    path = tmp_path / "body"
    source = PHOTO.convert(mode)
    if mode == "RGBA":
        source.putalpha(PHOTO.convert("L"))
    path.write_bytes(pictures.saved(source, picture_format.upper()))
    structure = structure_of(path, picture_format, max_frames=10)
    with PillowDecoder().open(str(path), structure, picture_format=picture_format) as opened:
        decoded = opened.decode(at_least=PHOTO.size, frames=1).frames[0].picture
    assert isinstance(decoded, Packed)
    assert decoded.packed is not None
    with Image.open(path) as expected:
        assert decoded.convert("RGBA").tobytes() == expected.convert("RGBA").tobytes()
