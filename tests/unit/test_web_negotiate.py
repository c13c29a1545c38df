"""Accept headers and the formats they lead to (RFC 9110 §12.5.1, and the contract's words on `*/*`)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.web.negotiate import acceptable_formats, accepts_json

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
