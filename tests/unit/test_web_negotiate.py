"""Accept headers and the formats they lead to (RFC 9110 §12.5.1, and the contract's words on `*/*`)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.web.targets.negotiate import acceptable_formats, accepts_json, admits_svg, choose_coding

OFFERED = ("avif", "webp")
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "formats"),
    [
        (None, "fallback"),
        ("", "fallback"),
        (" , ,", "fallback"),
        ("banana, ;;;, /", "fallback"),
        ("*/*", "fallback"),
        ("*", "fallback"),
        ("image/*", "fallback"),
        ("image/*;q=0.001", "fallback"),
        ("image/avif", "avif > anyway"),
        ("image/webp", "webp > anyway"),
        ("image/webp,image/*", "webp fallback"),
        ("image/webp,*/*;q=0.8", "webp > fallback"),
        (CHROME, "avif webp fallback"),
        ("image/webp,image/apng,image/*,*/*;q=0.8", "webp fallback"),
        ("image/avif;q=0.5,image/webp", "webp > avif anyway"),
        ("image/avif;q=0, image/*", "fallback"),
        ("image/avif;q=0.0, image/webp;q=0.000, */*", "fallback"),
        ("image/avif;q=0.001, image/*", "fallback > avif"),
        ("image/AVIF ; Q=0.1 , image/WebP;q=0.2", "webp > avif anyway"),
        ("IMAGE/WEBP, IMAGE/*", "webp fallback"),
        ("image/webp;level=2;q=0.5, image/*;q=0.5", "webp fallback"),
        ('image/webp;x="a,b;q=0", image/*', "webp fallback"),
        ('image/*, image/webp;x="', "webp fallback"),
        ('image/webp;x="a, image/avif",image/*', "webp fallback"),
        ('image/webp;x="a;q=0", image/*', "webp fallback"),
        (r'image/webp;x="\", image/avif", image/*', "webp fallback"),
        (r'image/webp;x="\\", image/avif, image/*', "avif webp fallback"),
        (r'image/webp;x=\"a, image/avif", image/*', "webp fallback"),
        ('"a, image/avif", image/webp', "webp > anyway"),
        ('image/webp;q="0.5", image/*', "fallback > webp"),
        ("image/webp; q = 0.5 , image/*", "fallback > webp"),
        ("image/webp, *;q=0.5", "webp > fallback"),
        ("x/y," * 100 + "image/webp, image/*", "webp fallback"),
        ("image/webp;q=.5, image/*;q=.25", "webp > fallback"),
        ("image/webp;q=1.5, image/*", "webp fallback"),
        ("image/webp;q=-1, image/*", "fallback"),
        ("image/webp;q=0, image/webp", "webp > anyway"),
        ("image/webp, image/webp;q=0", "webp > anyway"),
        ("image/jpeg, image/webp;q=0.5", "jpeg > webp"),
        ("image/png", "png"),
        ("image/jpg", "jpeg"),
        ("image/pjpeg", "jpeg"),
        ("image/x-png", "png"),
        ("image/png,image/*;q=0.8", "fallback"),
        ("image/jpeg;q=0, image/*", "png gif"),
        ("image/png, image/gif;q=0.2", "png gif"),
        ("*/*;q=0.1, image/gif;q=0", "jpeg png"),
        ("*/*;q=0", "anyway"),
        ("text/html", "anyway"),
        ("image/apng", "anyway"),
        ("image/svg+xml,image/webp;q=0.9", "webp > anyway"),
        ("image/avif;q=banana", "avif > anyway"),
        ("image/avif;q=banana, image/webp", "avif webp > anyway"),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", "fallback"),
    ],
)
def test_accept_header_gives_formats_in_order(accept: str | None, formats: str) -> None:
    """AVIF and WebP are acceptable where they are named; JPEG, PNG and GIF are one choice."""
    assert acceptable_formats(accept, OFFERED) == tuple(formats.split())


@pytest.mark.parametrize(
    ("accept", "admitted"),
    [
        (None, True),
        ("*/*", True),
        ("image/*", True),
        ("image/svg+xml", True),
        ("IMAGE/SVG+XML;q=0.001", True),
        (CHROME, True),
        ("image/webp,*/*;q=0.8", True),
        ("x/y," * 100 + "*/*", True),
        ("", True),
        ("image/webp", False),
        ("image/svg", False),
        ("text/*", False),
        ("*/*;q=0", False),
        ("image/svg+xml;q=0, image/*, */*", False),
        ("image/*;q=0, */*", False),
        ("image/*;q=0, image/svg+xml;q=0.1", True),
    ],
)
def test_svg_is_admitted_by_the_most_specific_range(accept: str | None, admitted: bool) -> None:
    assert admits_svg(accept) is admitted


@pytest.mark.parametrize(
    ("given_codings", "chosen"),
    [
        (None, ""),
        ("", ""),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP;q=0.1", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0.5, gzip", "gzip"),
        ("gzip;q=0, br", "br"),
        ("gzip;q=0", ""),
        ("*", "br"),
        ("*;q=0, gzip", "gzip"),
        ("br;q=0, *", "gzip"),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("deflate, zstd", ""),
        ("identity;q=0", ""),
    ],
)
def test_content_coding_is_the_best_of_those_offered(given_codings: str | None, chosen: str) -> None:
    assert choose_coding(given_codings, ("br", "gzip")) == chosen


def test_content_coding_where_none_is_offered_is_none() -> None:
    assert choose_coding("gzip, *", ()) == ""


def test_order_of_render_formats_breaks_ties() -> None:
    assert acceptable_formats(CHROME, ("webp", "avif"))[0] == "webp"


def test_headers_that_mean_the_same_give_the_same_answer() -> None:
    """Order, spaces, case, foreign types and spellings of q make no second answer, and no second key."""
    words = ["image/avif", "IMAGE/webp", "image/apng;q=0.3", "image/*", " */* ; q=0.10", "video/*;q=0.8"]
    found = {
        acceptable_formats(joint.join(some), OFFERED)
        for some in itertools.permutations(words)
        for joint in (",", " , ")
    }
    assert found == {("avif", "webp", "fallback")}


def test_every_header_has_one_of_a_bounded_number_of_answers() -> None:
    """All weights of all types that count lead to at most 125 different keys."""
    found = set()
    names = ("image/avif", "image/webp", "image/jpeg", "image/png", "image/gif")
    for weights in itertools.product(("0", "0.2", "0.5", "0.7", "1"), repeat=len(names)):
        header = ",".join(f"{name};q={weight}" for name, weight in zip(names, weights, strict=True))
        found.add(acceptable_formats(header, OFFERED))
    assert len(found) <= 125


@given(st.text(max_size=80))
def test_any_accept_header_gives_a_plain_format_last_resort(accept: str) -> None:
    """Whatever a client sends, there is something that every client shows."""
    assert set(acceptable_formats(accept, OFFERED)) & {"fallback", "anyway", "jpeg", "png", "gif"}


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        (None, True),
        ("*/*", True),
        ("application/json", True),
        ("text/html", False),
        ("text/html,*/*;q=0.1", True),
    ],
)
def test_errors_are_json_unless_it_is_not_accepted(accept: str | None, json: bool) -> None:
    assert accepts_json(accept) is json
