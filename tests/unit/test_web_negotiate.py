"""Accept headers and the formats they lead to (RFC 9110 §12.5.1, and the contract's words on `*/*`)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.web.negotiate import acceptable_formats, accepts_json, admits_svg, choose_coding

OFFERED = ("avif", "webp")
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "formats"),
    [
        (None, ("fallback",)),
        ("", ("fallback",)),
        ("*/*", ("fallback",)),
        ("image/*", ("avif", "webp", "fallback")),
        ("image/avif", ("avif", "fallback")),
        ("image/webp", ("webp", "fallback")),
        ("image/webp,*/*;q=0.8", ("webp", "fallback")),
        (CHROME, ("avif", "webp", "fallback")),
        ("image/avif;q=0.5,image/webp", ("webp", "avif", "fallback")),
        ("image/avif;q=0, image/*", ("webp", "fallback")),
        ("image/AVIF ; Q=0.1 , image/WebP;q=0.2", ("webp", "avif", "fallback")),
        ("image/jpeg, image/webp;q=0.5", ("jpeg", "webp")),
        ("image/png", ("png",)),
        ("text/html", ("fallback",)),
        ("image/avif;q=banana", ("avif", "fallback")),
        ("image/webp;q=0", ("fallback",)),
    ],
)
def test_accept_header_gives_formats_in_order(accept: str | None, formats: tuple[str, ...]) -> None:
    assert acceptable_formats(accept, OFFERED) == formats


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
        ("", False),
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


def test_order_of_render_formats_breaks_ties() -> None:
    assert acceptable_formats(CHROME, ("webp", "avif"))[0] == "webp"


@given(st.text(max_size=80))
def test_any_accept_header_gives_a_plain_format_last_resort(accept: str) -> None:
    """Whatever a client sends, there is something that every client shows."""
    assert set(acceptable_formats(accept, OFFERED)) & {"fallback", "jpeg", "png", "gif"}


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
