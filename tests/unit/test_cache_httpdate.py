"""HTTP dates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.http.httpdate import format_http_date, parse_http_date

MOMENT = 784111777.0


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "  Sun, 06 Nov 1994 08:49:37 GMT\t",
        "sun, 06 nov 1994 08:49:37 gMT",
        "SUNDAY, 06-NOV-94 08:49:37 gmt",
    ],
)
def test_date_in_any_of_the_three_formats_is_read(text: str) -> None:
    """RFC 9110 §5.6.7: a recipient reads all three."""
    assert parse_http_date(text) == MOMENT


@pytest.mark.parametrize(
    "text",
    [
        None, "", "0", "-1", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 PST", "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT" * 100, "Sun, ٠٦ Nov 1994 08:49:37 GMT",
    ],
)  # fmt: skip
def test_date_that_is_none_is_none(text: str | None) -> None:
    """What is not a date is never guessed at."""
    assert parse_http_date(text) is None


def test_date_with_a_leap_second_is_read() -> None:
    """RFC 9110 allows second 60."""
    assert parse_http_date("Sat, 31 Dec 2016 23:59:60 GMT") == parse_http_date(
        "Sat, 31 Dec 2016 23:59:59 GMT"
    )


@given(st.integers(0, 253402300799))
def test_date_written_and_read_is_the_same(seconds: int) -> None:
    """Writing and reading are each other's inverse."""
    assert parse_http_date(format_http_date(seconds)) == seconds


@given(st.text())
def test_date_of_any_text_never_raises(text: str) -> None:
    """A header may hold anything."""
    parse_http_date(text)
