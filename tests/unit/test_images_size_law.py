"""The size of a result is the one of the formula in docs/api.md, in pixels, for every fit, size and orientation."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from proxy.images.decode.pillow import PillowDecoder, prepare
from proxy.images.geometry import DOWN_FITS, ENLARGING_FITS, FITS, OutputLimits, make_plan
from proxy.images.jobs import Inspection, Job, Rendered, Settings, Wish
from proxy.images.pipeline import inspect
from proxy.images.transforms.resolved import Resolved
from proxy.images.transforms.transform import Transform

Size = tuple[int, int]

natural_sides = st.integers(1, 70)
asked_sides = st.none() | st.integers(1, 90)


def nearest(side: Fraction | int) -> int:
    return max(1, round(side))


def inside(picture: Size, area: Size, *, enlarge: bool) -> Size:
    (width, height), (w, h) = picture, area
    scale = min(Fraction(w, width), Fraction(h, height))
    scale = scale if enlarge else min(scale, Fraction(1))
    return nearest(width * scale), nearest(height * scale)


def documented(picture: Size, w: int | None, h: int | None, *, fit: str, enlarge: bool) -> Size:
    """The table of docs/api.md, row by row."""
    width, height = picture
    enlarge = enlarge and fit not in {"scale-down", *DOWN_FITS}
    if w is None or h is None:
        scale = Fraction(w, width) if w else Fraction(h, height) if h else Fraction(1)
        scale = scale if enlarge else min(scale, Fraction(1))
        return nearest(width * scale), nearest(height * scale)
    if fit == "oriented":
        alike = (width < height) == (w < h)
        fit = "contain" if not alike else "cover" if enlarge else "cover-down"
    if fit in {"scale-down", "contain"}:
        return inside(picture, (w, h), enlarge=enlarge)
    if fit in DOWN_FITS or (fit == "squeeze" and not enlarge):
        return documented_down(picture, (w, h), fit=fit)
    if fit in {"pad", "squeeze"} or enlarge or (width >= w and height >= h):
        return w, h
    if fit == "crop":
        return inside(picture, (w, h), enlarge=False)
    return nearest(min(Fraction(width), Fraction(height * w, h))), nearest(
        min(Fraction(height), Fraction(width * h, w))
    )


def documented_down(picture: Size, area: Size, *, fit: str) -> Size:
    """The rows for results that are reduced before they are fitted."""
    if fit in {"cover-down", "squeeze"}:
        return min(area[0], picture[0]), min(area[1], picture[1])
    share = min(Fraction(1), *(Fraction(have, want) for have, want in zip(picture, area, strict=True)))
    return nearest(area[0] * share), nearest(area[1] * share)


large_sides = st.integers(1, 3000)
LARGE = OutputLimits(10**8, 10**16)


@pytest.mark.parametrize("fit", FITS)
@given(
    natural=st.tuples(large_sides, large_sides),
    asked=st.tuples(large_sides, large_sides),
    upscale=st.booleans(),
    scaled=st.sampled_from([None, None, (1, 3), (1, 1), (2, 1)]),
)
def test_plan_of_an_area_is_the_documented_one(
    fit: str, natural: Size, asked: Size, upscale: bool, scaled: tuple[int, int] | None
) -> None:
    """Whatever the sizes; also where picture and area have one shape. What has no shape to fill is not cut."""
    w, h = asked
    if scaled is not None:
        w, h = max(1, natural[0] * scaled[0] // scaled[1]), max(1, natural[1] * scaled[0] // scaled[1])
    plan = make_plan(natural, Resolved(width=w, height=h, fit=fit, upscale=upscale), limits=LARGE)
    assert plan.canvas == documented(natural, w, h, fit=fit, enlarge=upscale)
    assert plan.natural == natural
    smaller = natural[0] < w or natural[1] < h
    if fit not in {"cover", "crop", "cover-down", "oriented"} or (fit == "crop" and smaller and not upscale):
        assert plan.crop == (0, 0, *natural)


@pytest.mark.parametrize("fit", FITS)
@given(natural=st.tuples(large_sides, large_sides), side=large_sides, upscale=st.booleans())
def test_plan_of_one_side_or_none_is_the_documented_one(
    fit: str, natural: Size, side: int, upscale: bool
) -> None:
    for w, h in ((side, None), (None, side), (None, None)):
        plan = make_plan(natural, Resolved(width=w, height=h, fit=fit, upscale=upscale), limits=LARGE)
        assert plan.canvas == plan.size == documented(natural, w, h, fit=fit, enlarge=upscale)
        assert plan.crop == (0, 0, *natural)


def looked(body: bytes, text: str) -> Inspection:
    prepare(max_pixels=50_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body"
        path.write_bytes(body)
        job = Job(str(path), (Wish(Transform.parse(text).resolved({}), ("png",)),))
        return inspect(
            job, Settings(max_output_side=32_767), decoder=PillowDecoder(), on_facts=lambda _: None
        )


@given(
    stored=st.tuples(natural_sides, natural_sides),
    asked=st.tuples(asked_sides, asked_sides),
    fit=st.sampled_from(FITS),
    upscale=st.sampled_from(["", "true", "false"]),
    dpr=st.sampled_from(["1", "1.5", "2.25"]),
    orientation=st.integers(1, 8),
    rotate=st.sampled_from([0, 90, 180, 270]),
)
def test_size_of_a_result_is_the_documented_one(
    stored: Size,
    asked: tuple[int | None, int | None],
    fit: str,
    upscale: str,
    dpr: str,
    orientation: int,
    rotate: int,
) -> None:
    """Never above the asked size, and the same bytes when it is rendered again."""
    body = pictures.saved(Image.new("RGB", stored, (9, 99, 199)), "PNG", exif=pictures.exif(orientation))
    words = [f"{name}={side}" for name, side in zip(("width", "height"), asked, strict=True) if side]
    words += [f"upscale={upscale}"] if upscale else []
    text = ",".join([*words, f"fit={fit}", f"dpr={dpr}", f"rotate={rotate}"])
    output = looked(body, text).outputs[0]
    assert isinstance(output, Rendered)
    natural = stored[::-1] if (orientation > 4) != (rotate in {90, 270}) else stored
    w, h = (side and max(1, round(side * float(dpr))) for side in asked)
    enlarge = upscale == "true" or (not upscale and fit in ENLARGING_FITS)
    size = documented(natural, w, h, fit=fit, enlarge=enlarge)
    assert pictures.opened(output.body).size == (output.width, output.height) == size
    if w and h:
        assert size[0] <= w
        assert size[1] <= h
    assert looked(body, text).outputs[0] == output
