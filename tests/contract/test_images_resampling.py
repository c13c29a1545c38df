"""The contract of every resampler: Pillow's, fast_image_resize, and libvips', which leaves some cases to Pillow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import distance
from PIL import Image, ImageDraw

from proxy.images.pixels.libvips import has_libvips
from proxy.images.pixels.resampling import Box, Resample, by_pillow
from proxy.images.pixels.zero_copy import Packed

PHOTO = pictures.photo(1021, 679)
WHOLE: Box = (0, 0, 1021, 679)


def _by_libvips() -> Resample:
    if not has_libvips():
        pytest.skip("libvips is not installed (imgmirror[vips])")
    from proxy.images.pixels.resampling_vips import by_libvips  # noqa: PLC0415 - an extra

    return by_libvips


def _by_vectors() -> Resample:
    pytest.importorskip("cykooz_resizer", reason="the resampler is not installed (imgmirror[vips])")
    from proxy.images.pixels.resampling_vectors import by_vectors  # noqa: PLC0415 - an extra

    return by_vectors


WAYS = pytest.mark.parametrize(
    "way", [lambda: by_pillow, _by_libvips, _by_vectors], ids=["pillow", "libvips", "vectors"]
)


def plainly(picture: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """Return the result of the filter without any shortcut."""
    return picture.resize(size, Image.Resampling.LANCZOS, box=box)


@WAYS
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1021, 679), (512, 341), (300, 300), (64, 40), (8, 679), (1500, 900)])
def test_resampled_picture_is_what_lanczos_gives(
    way: Callable[[], Resample], mode: str, size: tuple[int, int]
) -> None:
    """Sizes are exact when a picture is reduced, enlarged or squeezed."""
    picture = PHOTO.convert(mode)
    made = way()(picture, size, WHOLE)
    assert (made.mode, made.size) == (mode, size)
    assert distance(made.convert("RGB"), plainly(picture, size, WHOLE).convert("RGB")) < 1.5


@WAYS
@pytest.mark.parametrize(("mode", "layout"), [("L", "L"), ("RGB", "RGB"), ("RGB", "RGBX"), ("RGBA", "RGBA")])
@pytest.mark.parametrize("box", [WHOLE, (100.0, 7.0, 612.0, 348.0), (0.4, 0.0, 1020.6, 679.0)])
def test_packed_picture_is_resampled_as_the_same_picture(
    way: Callable[[], Resample], mode: str, layout: str, box: Box
) -> None:
    """The layout of the pixels does not matter."""
    picture = PHOTO.convert(mode)
    packed = Packed(mode, picture.size, picture.tobytes("raw", layout), layout)
    assert distance(way()(packed, (256, 170), box), way()(picture, (256, 170), box)) <= 0.1


@WAYS
def test_picture_can_become_a_single_pixel(way: Callable[[], Resample]) -> None:
    """The mean colour of the part is nearly preserved."""
    made = way()(PHOTO, (1, 1), WHOLE)
    assert made.size == (1, 1)
    assert distance(made, PHOTO.resize((1, 1), Image.Resampling.BOX)) < 8


@WAYS
@given(
    width=st.integers(20, 800),
    height=st.integers(20, 600),
    corner=st.tuples(st.floats(0, 200), st.floats(0, 60)),
    part=st.tuples(st.floats(60, 821), st.floats(60, 619)),
)
def test_any_part_in_any_size_is_what_lanczos_gives(
    way: Callable[[], Resample],
    width: int,
    height: int,
    corner: tuple[float, float],
    part: tuple[float, float],
) -> None:
    """Boxes whose edges lie inside pixels may be moved by at most half a pixel of the source."""
    box = (*corner, min(1021.0, corner[0] + part[0]), min(679.0, corner[1] + part[1]))
    made = way()(PHOTO, (width, height), box)
    assert made.size == (width, height)
    assert distance(made, plainly(PHOTO, (width, height), box)) < 3


@WAYS
@pytest.mark.parametrize("box", [(1020.9996, 0.0, 1021.0, 679.0), (0.0, 678.9999, 1021.0, 679.0)])
def test_part_much_smaller_than_a_pixel_has_the_colour_of_its_pixels(
    way: Callable[[], Resample], box: Box
) -> None:
    """Such a part occurs when a picture is cut after it was made thousands of times smaller."""
    edge = (1020, 0, 1021, 679) if box[0] else (0, 678, 1021, 679)
    made = way()(PHOTO, (20, 20), box)
    assert distance(made, PHOTO.crop(edge).resize((20, 20), Image.Resampling.LANCZOS)) < 8


@pytest.mark.parametrize(
    "module", ["resampling.by_pillow", "resampling_vips.by_libvips", "resampling_vectors.by_vectors"]
)
@pytest.mark.parametrize(("before", "after"), [((65_535, 64), (64, 8_192)), ((64, 65_535), (8_192, 64))])
def test_squeezed_strip_takes_memory_for_the_larger_of_both_pictures(
    module: str, before: tuple[int, int], after: tuple[int, int]
) -> None:
    """An intermediate picture with the length of one and the width of the other would be a hundred times as large."""
    name, function = module.split(".")
    pytest.importorskip("cykooz_resizer", reason="the resampler is not installed (imgmirror[vips])")
    code = f"""
import resource, sys
from PIL import Image
from proxy.images.pixels.{name} import {function} as way
way(Image.new("RGB", (9, 9)), (5, 5), (0, 0, 9, 9))
picture = Image.new("RGB", {before}, (9, 99, 199))
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
made = way(picture, {after}, (0, 0, *picture.size))
sys.exit(made.size != {after} or made.getcolors() != [(made.width * made.height, (9, 99, 199))])
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@WAYS
def test_transparent_colours_do_not_shine_through(way: Callable[[], Resample]) -> None:
    """Hidden green leaves no fringe around visible red."""
    picture = Image.new("RGBA", (900, 900), (0, 255, 0, 0))
    ImageDraw.Draw(picture).ellipse((150, 150, 750, 750), fill=(255, 0, 0, 255))
    made = way()(picture, (211, 211), (0, 0, 900, 900))
    red, green, _, alpha = (made.getchannel(name).tobytes() for name in "RGBA")
    seen = [number for number, value in enumerate(alpha) if value > 8]
    assert max(green[number] for number in seen) <= 16
    assert min(red[number] for number in seen) >= 239


@WAYS
def test_resampling_twice_gives_equal_bytes(way: Callable[[], Resample]) -> None:
    """A result that is not deterministic cannot be cached under a name made of its input."""
    first, second = (way()(PHOTO, (512, 341), WHOLE).tobytes() for _ in range(2))
    assert first == second
