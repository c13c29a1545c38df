"""Kept variants are made again when operations come to look different: their names hold the version."""

from __future__ import annotations

from pathlib import Path

import pictures

from proxy.images import operations
from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.encode import RENDER_VERSION
from proxy.images.jobs import Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.transform import Transform

LOOKS = (
    "10",
    {
        "width=18": (85, 132, 199, 129),
        "height=10,width=10,fit=cover,gravity=left": (255, 255, 255, 244),
        "width=40,upscale=true,fit=contain": (218, 31, 31, 255),
        "width=12,dpr=2": (90, 140, 200, 128),
        "trim=1;2;3;4": (255, 0, 255, 0),
        "flip=h": (255, 0, 255, 0),
        "rotate=90": (220, 30, 30, 255),
        "brightness=0.5": (45, 70, 100, 128),
        "contrast=2": (52, 152, 255, 128),
        "saturation=0.5": (111, 136, 166, 128),
        "gamma=2": (151, 189, 226, 128),
        "blur=2": (136, 77, 129, 177),
        "sharpen=3": (67, 162, 230, 128),
        "background=%23808000": (109, 134, 100, 255),
    },
)
"""The version, and by options the colour (red, green, blue, alpha) of the same pixel; both change together."""


def scene() -> bytes:
    """Colours of every brightness, one of them half transparent, beside a hole with a hidden colour."""
    picture = pictures.quarters(24, 16).convert("RGBA")
    picture.paste((90, 140, 200, 128), (6, 4, 12, 8))
    picture.paste((255, 0, 255, 0), (12, 4, 18, 8))
    return pictures.saved(picture, "PNG")


def colour_of(path: Path, options: str) -> tuple[int, ...]:
    prepare(max_pixels=50_000_000)
    job = Job(str(path), (Wish(Transform.parse(options).resolved({}), ("png",)),))
    (output,) = inspect(job, Settings(), decoder=PillowDecoder(), on_facts=lambda _: None).outputs
    assert isinstance(output, Rendered)
    colour = pictures.opened(output.body).convert("RGBA").getpixel((8, 5))
    assert isinstance(colour, tuple)
    return colour


def test_operations_look_as_the_render_version_says(tmp_path: Path) -> None:
    """A change of a colour here requires a higher RENDER_VERSION and the new colours in `LOOKS`."""
    path = tmp_path / "body"
    path.write_bytes(scene())
    version, colours = LOOKS
    names = {word.split("=")[0] for options in colours for word in options.split(",")}
    missing = {option.name for option in operations.OPTIONS} - names
    assert not missing, f"add a row to LOOKS for {missing}; RENDER_VERSION stays"
    assert version == RENDER_VERSION, "write the new version into LOOKS, and the new colours below it"
    for options, colour in colours.items():
        found = colour_of(path, options)
        assert pictures.looks_like(found, colour, within=3), (
            f"{options} gives {found}: raise RENDER_VERSION when that is meant, and write both into LOOKS"
        )
