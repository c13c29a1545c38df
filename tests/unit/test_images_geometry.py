"""Sizes and crops of every fit, as laws and as examples."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import InvalidTransform
from proxy.images.geometry import FITS, SIDES, OutputLimits, ResizePlan, make_plan, require_within
from proxy.images.transforms.resolved import Resolved

LIMITS = OutputLimits()
sides = st.integers(1, 5000)
sizes = st.tuples(sides, sides)
optional = st.none() | st.integers(1, 4000)
gravities = st.sampled_from(["auto", "0.3x0.9", *SIDES])


@st.composite
def wishes(draw: st.DrawFn) -> Resolved:
    return Resolved(
        width=draw(optional),
        height=draw(optional),
        dpr=draw(st.sampled_from([1.0, 1.5, 2.0])),
        fit=draw(st.sampled_from(FITS)),
        upscale=draw(st.booleans()),
        gravity=draw(gravities),
    )


def planned(natural: tuple[int, int], **options: Any) -> ResizePlan:
    return make_plan(natural, Resolved(**options), limits=LIMITS)


@given(sizes, wishes())
def test_plan_stays_within_everything_asked(natural: tuple[int, int], wanted: Resolved) -> None:
    """No result is larger than asked for or than the limits; no crop leaves the picture; nothing is empty."""
    try:
        plan = make_plan(natural, wanted, limits=LIMITS)
    except InvalidTransform:
        return
    for side, asked in zip(plan.canvas, (wanted.width, wanted.height), strict=True):
        if asked is not None and (wanted.width and wanted.height):
            assert side <= round(asked * wanted.dpr)
        assert 1 <= side <= LIMITS.max_side
    assert plan.canvas[0] * plan.canvas[1] <= LIMITS.max_pixels
    left, top, right, bottom = plan.crop
    assert 0 <= left < right <= natural[0]
    assert 0 <= top < bottom <= natural[1]


@given(sizes, wishes())
@example((4, 4682), Resolved(width=4, dpr=2.0, fit="contain", upscale=True))
def test_only_squeeze_changes_the_shape(natural: tuple[int, int], wanted: Resolved) -> None:
    """The cut and its scaled size have one shape, to half a pixel."""
    try:
        plan = make_plan(natural, wanted, limits=LIMITS)
    except InvalidTransform:
        return
    if wanted.fit in ("squeeze", "squeeze-down") or 1 in plan.size:
        return
    width, height = plan.crop[2] - plan.crop[0], plan.crop[3] - plan.crop[1]
    if min(width, height) <= 1:
        return  # less than a pixel cannot be cut
    assert abs(plan.size[0] - plan.size[1] * width / height) <= 0.51 * max(1, width / height) + 1
    assert abs(plan.size[1] - plan.size[0] * height / width) <= 0.51 * max(1, height / width) + 1


@given(sizes, wishes())
def test_without_upscale_nothing_grows(natural: tuple[int, int], wanted: Resolved) -> None:
    """The scaled picture is never larger than the part cut out of the original."""
    try:
        plan = make_plan(natural, wanted.replaced(upscale=False), limits=LIMITS)
    except InvalidTransform:
        return
    assert plan.size[0] <= plan.crop[2] - plan.crop[0] + 1
    assert plan.size[1] <= plan.crop[3] - plan.crop[1] + 1


@given(sizes, sides, sides, gravities)
def test_cover_fills_the_area_exactly(
    natural: tuple[int, int], width: int, height: int, gravity: str
) -> None:
    """cover with upscale is exactly as large as asked, whatever the picture."""
    plan = planned(natural, width=width, height=height, fit="cover", upscale=True, gravity=gravity)
    if width * height <= LIMITS.max_pixels:
        assert plan.canvas == plan.size == (width, height)


@pytest.mark.parametrize(
    ("natural", "options", "size", "canvas"),
    [
        ((2000, 1000), {"width": 500}, (500, 250), (500, 250)),
        ((2000, 1000), {"height": 100}, (200, 100), (200, 100)),
        ((200, 100), {"width": 500}, (200, 100), (200, 100)),
        ((200, 100), {"width": 500, "upscale": True}, (200, 100), (200, 100)),
        ((200, 100), {"width": 500, "fit": "contain"}, (200, 100), (200, 100)),
        ((200, 100), {"width": 500, "fit": "contain", "upscale": True}, (500, 250), (500, 250)),
        ((200, 100), {"width": 300, "fit": "cover", "upscale": True}, (300, 150), (300, 150)),
        ((2000, 1000), {"width": 500, "height": 500}, (500, 250), (500, 250)),
        (
            (2000, 1000),
            {"width": 500, "height": 500, "fit": "cover", "upscale": True},
            (500, 500),
            (500, 500),
        ),
        ((100, 50), {"width": 400, "height": 400, "fit": "cover", "upscale": True}, (400, 400), (400, 400)),
        ((100, 50), {"width": 400, "height": 400, "fit": "cover"}, (50, 50), (50, 50)),
        ((100, 50), {"width": 400, "height": 400, "fit": "crop"}, (100, 50), (100, 50)),
        ((1000, 50), {"width": 400, "height": 400, "fit": "crop"}, (400, 20), (400, 20)),
        ((1000, 500), {"width": 400, "height": 400, "fit": "crop"}, (400, 400), (400, 400)),
        ((2000, 1000), {"width": 500, "height": 500, "fit": "pad", "upscale": True}, (500, 250), (500, 500)),
        ((100, 50), {"width": 400, "height": 400, "fit": "pad", "upscale": True}, (400, 200), (400, 400)),
        ((100, 50), {"width": 400, "height": 400, "fit": "pad"}, (100, 50), (400, 400)),
        (
            (2000, 1000),
            {"width": 300, "height": 700, "fit": "squeeze", "upscale": True},
            (300, 700),
            (300, 700),
        ),
        ((200, 100), {"width": 300, "height": 70, "fit": "squeeze"}, (200, 70), (200, 70)),
        ((2000, 1000), {"width": 500, "dpr": 2.0}, (1000, 500), (1000, 500)),
        ((2000, 1000), {"dpr": 2.0}, (2000, 1000), (2000, 1000)),
        ((2000, 1000), {"width": 11, "dpr": 1.25}, (14, 7), (14, 7)),
        ((8000, 5000), {"width": 8000, "height": 5000}, (8000, 5000), (8000, 5000)),
        ((8192, 100), {"width": 8192}, (8192, 100), (8192, 100)),
        ((3, 2000), {"width": 1}, (1, 667), (1, 667)),
        ((5000, 1), {"width": 10}, (10, 1), (10, 1)),
        ((20000, 100), {}, (8192, 41), (8192, 41)),
        ((100, 30000), {"width": 100}, (27, 8192), (27, 8192)),
    ],
)
def test_fit_gives_documented_size(
    natural: tuple[int, int], options: dict[str, object], size: tuple[int, int], canvas: tuple[int, int]
) -> None:
    """The examples of the documentation."""
    plan = planned(natural, **options)
    assert (plan.size, plan.canvas) == (size, canvas)


@pytest.mark.parametrize(
    ("gravity", "crop"),
    [
        ("center", (500, 0, 1500, 1000)),
        ("auto", (500, 0, 1500, 1000)),
        ("left", (0, 0, 1000, 1000)),
        ("right", (1000, 0, 2000, 1000)),
        ("top", (500, 0, 1500, 1000)),
        ("0.25x1", (250, 0, 1250, 1000)),
    ],
)
def test_gravity_decides_what_stays(gravity: str, crop: tuple[float, ...]) -> None:
    """A side, a point or the centre of the room that is left."""
    assert planned((2000, 1000), width=100, height=100, fit="cover", gravity=gravity).crop == crop


@pytest.mark.parametrize(
    ("gravity", "x", "y"),
    [
        ("center", 0.5, 0.5), ("left", 0, 0.5), ("right", 1, 0.5), ("top", 0.5, 0), ("bottom", 0.5, 1),
        ("top-left", 0, 0), ("top-right", 1, 0), ("bottom-left", 0, 1), ("bottom-right", 1, 1),
        ("0.25x0.75", 0.25, 0.75),
    ],
)  # fmt: skip
def test_gravity_puts_the_cut_where_it_says_in_both_directions(gravity: str, x: float, y: float) -> None:
    """A wide picture has room to the sides, a tall one above and below; the words mean the same in both."""
    options = {"width": 100, "height": 100, "fit": "cover", "gravity": gravity}
    assert planned((2000, 1000), **options).crop == (1000 * x, 0, 1000 * x + 1000, 1000)
    assert planned((1000, 2000), **options).crop == (0, 1000 * y, 1000, 1000 * y + 1000)


@given(sizes, st.tuples(st.integers(1, 4000), st.integers(1, 4000)))
def test_scale_of_a_plan_is_the_larger_of_both_factors(
    natural: tuple[int, int], area: tuple[int, int]
) -> None:
    """A decoder that makes the picture smaller by it loses no pixel in either direction."""
    plan = planned(natural, width=area[0], height=area[1], fit="squeeze", upscale=True)
    assert plan.scale == pytest.approx(max(area[0] / natural[0], area[1] / natural[1]))
    assert ResizePlan((9, 9), (1.0, 2.0, 5.0, 4.0), (8, 6), (8, 6)).scale == 3
    assert ResizePlan((9, 9), (1.0, 2.0, 3.0, 6.0), (8, 6), (8, 6)).scale == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [({"width": 8193}, "Option width: 8193"), ({"height": 8193}, "Option height: 8193")],
)
def test_refused_side_is_named(options: dict[str, Any], named: str) -> None:
    """The author of the address learns which option to change."""
    with pytest.raises(InvalidTransform, match=named):
        planned((10, 10), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"width": 8193},
        {"width": 8000, "height": 5001},
        {"height": 5000, "dpr": 2.0},
        {"width": 8000, "height": 8000},
        {"width": 8192, "dpr": 1.1},
    ],
)
def test_more_than_the_limits_is_refused(options: dict[str, Any]) -> None:
    """A wish beyond the limits is refused for any picture, before the picture is even fetched."""
    wanted = Resolved(**options)
    with pytest.raises(InvalidTransform, match="allowed"):
        make_plan((10, 10), wanted, limits=LIMITS)
    with pytest.raises(InvalidTransform, match="allowed"):
        require_within(wanted, LIMITS)


@given(sizes, st.integers(1, 300), st.integers(1, 20_000))
@example((7, 3), 300, 1)
def test_picture_scaled_down_into_the_limits_obeys_both(
    natural: tuple[int, int], most_side: int, most_pixels: int
) -> None:
    """This holds where rounding both sides up would give a few pixels too many."""
    limits = OutputLimits(most_side, most_pixels)
    width, height = make_plan(natural, Resolved(), limits=limits).canvas
    assert 1 <= width <= most_side
    assert 1 <= height <= most_side
    assert width * height <= most_pixels


@given(sizes, st.integers(1, 300), st.integers(1, 20_000))
@example((3000, 4000), 300, 50)
@example((4000, 3000), 300, 50)
@example((4999, 1), 300, 100)
@example((7, 3), 300, 5)
def test_picture_scaled_down_into_the_limits_keeps_its_shape(
    natural: tuple[int, int], most_side: int, most_pixels: int
) -> None:
    """It is as large as the limits allow, to a pixel, and as wide to high as before, to half a pixel."""
    limits = OutputLimits(most_side, most_pixels)
    width, height = make_plan(natural, Resolved(), limits=limits).canvas
    shorter, longer = sorted(natural)
    factor = min(1.0, most_side / longer, math.sqrt(most_pixels / (shorter * longer)))
    short, long = (width, height) if natural[0] <= natural[1] else (height, width)
    assert short == 1 or abs(short - shorter * factor) < 1 + 1e-9
    room = min(short * longer / shorter, most_side, most_pixels // short)
    assert abs(long - room) <= 0.5 * longer / shorter + 1


@given(sizes, st.tuples(st.integers(1, 8192), st.integers(1, 4000)), gravities)
@example((5, 3), (8192, 1), "bottom-right")
@example((3, 5000), (1, 4000), "center")
def test_cut_of_any_area_holds_a_whole_pixel(
    natural: tuple[int, int], area: tuple[int, int], gravity: str
) -> None:
    """This holds however flat the area and small the picture is, because a resampler needs a pixel."""
    plan = planned(natural, width=area[0], height=area[1], fit="cover", gravity=gravity)
    left, top, right, bottom = plan.crop
    assert right - left >= 1 - 1e-9
    assert bottom - top >= 1 - 1e-9


@given(
    sizes,
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    st.sampled_from([(0.5, 0.5), (0.0, 1.0), (1.0, 0.25)]),
    st.sampled_from(["cover", "cover-down"]),
)
@example((5000, 10), (1, 4000), (0.5, 0.5), "cover")
@example((10, 5000), (4000, 1), (0.5, 0.5), "cover")
def test_cut_is_the_largest_of_the_shape_of_the_area(
    natural: tuple[int, int], area: tuple[int, int], focus: tuple[float, float], fit: str
) -> None:
    """Nothing is cut that fits into the area, and gravity places the cut."""
    gravity = f"{focus[0]}x{focus[1]}"
    plan = planned(natural, width=area[0], height=area[1], fit=fit, gravity=gravity, upscale=True)
    area = plan.canvas
    width = max(1.0, min(natural[0], natural[1] * area[0] / area[1]))
    height = max(1.0, min(natural[1], natural[0] * area[1] / area[0]))
    left, top, right, bottom = plan.crop
    assert right - left == pytest.approx(width)
    assert bottom - top == pytest.approx(height)
    assert left == pytest.approx((natural[0] - width) * focus[0], abs=1e-6)
    assert top == pytest.approx((natural[1] - height) * focus[1], abs=1e-6)
