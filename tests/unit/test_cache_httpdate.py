"""HTTP dates."""

from __future__ import annotations

import string
from datetime import UTC, datetime

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
    """Text that is not a date is never guessed at."""
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Sat, 01 Jan 2022", "Tue, 01 Feb 2022", "Tue, 01 Mar 2022", "Fri, 01 Apr 2022", "Sun, 01 May 2022",
        "Wed, 01 Jun 2022", "Fri, 01 Jul 2022", "Mon, 01 Aug 2022", "Thu, 01 Sep 2022", "Sat, 01 Oct 2022",
        "Tue, 01 Nov 2022", "Thu, 01 Dec 2022",
    ],
)  # fmt: skip
def test_date_of_every_month_is_read_and_written(text: str) -> None:
    """§5.6.7: the names of months and days are fixed words, whatever the locale."""
    moment = datetime.strptime(text, "%a, %d %b %Y").replace(tzinfo=UTC).timestamp()
    assert parse_http_date(f"{text} 00:00:00 GMT") == moment
    assert format_http_date(moment) == f"{text} 00:00:00 GMT"


@pytest.mark.parametrize(
    ("two", "four"), [("00", 2000), ("68", 2068), ("69", 2069), ("70", 1970), ("71", 1971), ("99", 1999)]
)
def test_year_of_two_digits_lies_from_1970_to_2069(two: str, four: int) -> None:
    """§5.6.7: no date of the web lies before 1970."""
    assert parse_http_date(f"Sunday, 06-Nov-{two} 08:49:37 GMT") == parse_http_date(
        f"Sun, 06 Nov {four} 08:49:37 GMT"
    )


@pytest.mark.parametrize("text", ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_date_with_anything_around_it_is_none(text: str) -> None:
    """A date is the whole value or no date; only spaces and tabs may surround it."""
    for character in string.punctuation + string.ascii_letters + string.digits + "\n\v\xa0":
        assert parse_http_date(character + text) is None
        assert parse_http_date(text + character) is None


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
