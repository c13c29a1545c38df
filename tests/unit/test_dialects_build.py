"""The law of the grammars: an address built from a source and options is unwrapped to the same source and options."""

from __future__ import annotations

import contextlib
import functools

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.dialects import GRAMMARS, Unwrapper
from proxy.dialects.base.asked import tidied
from proxy.errors import InvalidTransform
from proxy.images.formats import OUTPUTS
from proxy.images.geometry import OutputLimits, asked_area, make_plan
from proxy.images.transforms.resolved import Resolved
from proxy.images.transforms.transform import Transform
from proxy.source import Source

MOUNT = "https://w.example"
BUILT = sorted(name for name, grammar in GRAMMARS.items() if grammar.build is not None)
TEXT = st.text(alphabet="abcXYZ012-._~!$&'()*+,;=:@%/图 ", min_size=1, max_size=24)
SIDES = st.integers(1, 8192).map(str)
VALUES = {
    "width": SIDES,
    "height": SIDES,
    "fit": st.sampled_from(["contain", "cover", "pad", "squeeze"]),
    "upscale": st.sampled_from(["true", "false"]),
    "gravity": st.sampled_from(["auto", "top", "bottom-left", "0.5x0.2"]),
    "dpr": st.sampled_from(["2", "3"]),
    "quality": st.integers(1, 100).map(str),
    "format": st.sampled_from(tuple(OUTPUTS)),
}
OPTIONS = st.fixed_dictionaries({}, optional=VALUES).map(tidied)
AS_MUCH = {
    "weserv": {
        "width": "300",
        "height": "200",
        "fit": "cover",
        "upscale": "false",
        "quality": "75",
        "format": "webp",
    },
    "imgproxy": {
        "width": "300",
        "height": "200",
        "fit": "cover",
        "gravity": "auto",
        "dpr": "2",
        "quality": "75",
    },
    "thumbor": {"width": "300", "height": "200", "fit": "cover", "gravity": "auto", "quality": "75"},
    "imagor": {"width": "300", "height": "200", "fit": "cover", "gravity": "top", "format": "webp"},
    "cloudflare": {"width": "300", "height": "200", "fit": "cover", "gravity": "0.5x0.2", "format": "avif"},
    "imageproxy": {"width": "300", "height": "200", "fit": "cover", "upscale": "false", "quality": "75"},
    "photon": {"width": "300", "height": "200", "fit": "cover", "quality": "75"},
    "next": {"width": "640", "quality": "75"},
    "vercel": {"width": "640", "quality": "75"},
    "netlify": {"width": "300", "height": "200", "fit": "cover", "quality": "75", "format": "webp"},
    "astro": {"width": "300", "height": "200", "fit": "squeeze", "quality": "75", "format": "webp"},
    "ipx": {"width": "300", "height": "200", "fit": "cover", "quality": "75", "format": "webp"},
    "cloudinary": {"width": "300", "height": "200", "fit": "cover", "dpr": "2", "format": "webp"},
}
"""Options that a grammar must be able to carry together."""


def unwrapped(
    dialect: str, source: str, options: dict[str, str]
) -> tuple[str, dict[str, str], tuple[str, ...]]:
    build = GRAMMARS[dialect].build
    assert build is not None
    address = build(MOUNT, source, options)
    found = Unwrapper([(f"{MOUNT}/", dialect)], forms=False).unwrap(address)
    assert found is not None, address
    return found.source.url, found.options, found.dropped


@functools.cache
def carried(dialect: str) -> st.SearchStrategy[dict[str, str]]:
    """Options by the names that a grammar can write at all: with all names, most grammars refuse nearly every draw."""
    build = GRAMMARS[dialect].build
    assert build is not None
    names = set()
    for name, value in {**AS_MUCH["weserv"], "gravity": "auto", "dpr": "2"}.items():
        with contextlib.suppress(InvalidTransform):
            build(MOUNT, "https://h.example/a", tidied({"width": "640", name: value}))
            names.add(name)
    return st.fixed_dictionaries({}, optional={name: VALUES[name] for name in sorted(names)}).map(tidied)


@pytest.mark.slow
@pytest.mark.parametrize("dialect", BUILT)
@given(
    scheme=st.sampled_from(["http", "https"]),
    port=st.sampled_from(["", ":8080"]),
    path=TEXT,
    query=TEXT,
    data=st.data(),
)
@settings(max_examples=150)
def test_unwrapping_what_was_built_gives_both_back(
    dialect: str, scheme: str, port: str, path: str, query: str, data: st.DataObject
) -> None:
    """This holds for every grammar and everything that it can carry. Anything else is refused, never lost."""
    options = data.draw(carried(dialect))
    source = Source.parse(f"{scheme}://h.example{port}/a{path}?{query}").url
    try:
        found = unwrapped(dialect, source, options)
    except InvalidTransform:
        assume(False)
        raise
    assert found == (source, options, ())


@pytest.mark.slow
@pytest.mark.parametrize("dialect", BUILT)
@given(options=OPTIONS)
@settings(max_examples=50)
def test_building_with_any_options_refuses_or_loses_nothing(dialect: str, options: dict[str, str]) -> None:
    """Options that a grammar has no words for are refused as `invalid_transform`."""
    with contextlib.suppress(InvalidTransform):
        assert unwrapped(dialect, "https://h.example/a.png", options)[1:] == (options, ())


SERVED_BUILT = sorted(name for name in BUILT if GRAMMARS[name].serve is not None)
SAME = ("quality", "format", "dpr", "gravity", "rotate", "flip", "trim", "background")


def answered(dialect: str, source: str, options: dict[str, str]) -> tuple[str, Resolved]:
    """Return what the service answers to an address that was built for a mount of its own."""
    build = GRAMMARS[dialect].build
    assert build is not None
    served = GRAMMARS[dialect].serve_rest(build("", source, options).removeprefix("/"))
    assert not served.ignored
    return Source.parse(served.source).url, Transform.of_texts(served.options).resolved({})


@pytest.mark.slow
@pytest.mark.parametrize("dialect", SERVED_BUILT)
@given(
    scheme=st.sampled_from(["http", "https"]),
    port=st.sampled_from(["", ":8080"]),
    path=TEXT,
    query=TEXT,
    data=OPTIONS,
)
@settings(max_examples=150)
def test_serving_what_was_built_gives_both_back(
    dialect: str, scheme: str, port: str, path: str, query: str, data: dict[str, str]
) -> None:
    """The same source, the same options, and the same size of every picture that is larger than the area.

    What is smaller has the size that the peer gives it (`tests/functional/test_served.py`), and where nothing that may
    be enlarged is asked for, ours.
    """
    source = Source.parse(f"{scheme}://h.example{port}/a{path}?{query}").url
    try:
        found, wanted = answered(dialect, source, data), Transform.of_texts(data).resolved({})
    except InvalidTransform:
        return  # most dialects carry few of them, and Next.js' addresses nothing without a width
    assert found[0] == source
    assert [getattr(found[1], name) for name in SAME] == [getattr(wanted, name) for name in SAME]
    width, height = (side or 1 for side in asked_area(wanted))
    naturals = [(2 * width + 3, 3 * height + 1), (3 * width, 2 * height)]
    if wanted.fit in ("scale-down", "contain"):
        naturals += [(max(1, width // 2), max(1, height // 3)), (1, 1)]
    for natural in naturals:
        assert planned(natural, found[1]) == planned(natural, wanted)


def planned(natural: tuple[int, int], wanted: Resolved) -> tuple[object, ...]:
    """Return the size, the canvas and the cut of a picture of `natural` size."""
    plan = make_plan(natural, wanted, limits=OutputLimits(10**6, 10**12))
    return plan.size, plan.canvas, plan.crop


@pytest.mark.parametrize("dialect", AS_MUCH)
def test_sized_addresses_carry_size_format_and_quality(dialect: str) -> None:
    """The common options of each grammar together, so that the law above is about something."""
    source = "https://h.example/a.png?v=1&w=2"
    assert unwrapped(dialect, source, AS_MUCH[dialect]) == (source, AS_MUCH[dialect], ())
