"""Conditional and range requests, RFC 9110 §8.8, §13, §14."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.http.validators import ETag, Range, evaluate, if_range_matches, parse_etag, parse_range

EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("text", "etag"),
    [
        ('"a"', ETag("a")),
        ('W/"a"', ETag("a", weak=True)),
        ('""', ETag("")),
        (' "a,b" ', ETag("a,b")),
        ('"é"', ETag("é")),
        ("a", None),
        ('w/"a"', None),
        ('W/ "a"', None),
        ('"a', None),
        ('"a b"', None),
        ('"a""', None),
        ("*", None),
        ("", None),
        (None, None),
    ],
)
def test_etag_is_read_as_the_rfc_writes_it(text: str | None, etag: ETag | None) -> None:
    """§8.8.3."""
    assert parse_etag(text) == etag


@pytest.mark.parametrize("text", ['"a"', 'W/"a"'])
def test_etag_with_anything_around_it_is_none(text: str) -> None:
    """§8.8.3: a tag is the whole value; `*` is one only when it stands alone, too."""
    for character in string.punctuation + string.ascii_letters + string.digits + "\n\v\xa0":
        assert parse_etag(character + text) is None
        assert parse_etag(text + character) is None
        assert evaluate("GET", if_none_match=f"{character}*", etag='"a"', last_modified=None) == "proceed"
        assert evaluate("GET", if_none_match=f"*{character}", etag='"a"', last_modified=None) == "proceed"


@pytest.mark.parametrize(
    ("one", "other", "strong", "weak"),
    [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ],
)
def test_etags_compare_as_in_the_table(one: str, other: str, strong: bool, weak: bool) -> None:
    """§8.8.3.2, the table."""
    first, second = parse_etag(one), parse_etag(other)
    assert first
    assert second
    assert first.strongly_equals(second) is second.strongly_equals(first) is strong
    assert first.weakly_equals(second) is second.weakly_equals(first) is weak


@pytest.mark.parametrize(
    ("header", "decision"),
    [
        ('"a"', "not_modified"),
        ('W/"a"', "not_modified"),
        ("*", "not_modified"),
        (" * ", "not_modified"),
        ('"x", "a"', "not_modified"),
        ('"x","y",W/"a"', "not_modified"),
        ('"x,a", "a"', "not_modified"),
        ('"x", , "a",', "not_modified"),
        ('"x"', "proceed"),
        ('"x,a"', "proceed"),
        ("a", "proceed"),
        ("", "proceed"),
        ('"*"', "proceed"),
    ],
)
def test_if_none_match_is_compared_weakly(header: str, decision: str) -> None:
    """§13.1.2: lists, the star, weak comparison."""
    assert evaluate("GET", if_none_match=header, etag='"a"', last_modified=DATE) == decision
    assert evaluate("HEAD", if_none_match=header, etag='W/"a"', last_modified=None) == decision


def test_if_none_match_of_a_change_fails() -> None:
    """§13.1.2: other methods than GET and HEAD get 412."""
    assert evaluate("PUT", if_none_match="*", etag='"a"', last_modified=None) == "precondition_failed"


@pytest.mark.parametrize(
    ("since", "decision"),
    [
        (EARLIER, "proceed"),
        (DATE, "not_modified"),
        (LATER, "not_modified"),
        ("Sunday, 06-Nov-94 08:49:37 GMT", "not_modified"),
        ("yesterday", "proceed"),
        ("0", "proceed"),
    ],
)
def test_if_modified_since_compares_dates(since: str, decision: str) -> None:
    """§13.1.3: an invalid date is ignored."""
    assert evaluate("GET", if_modified_since=since, etag=None, last_modified=DATE) == decision
    assert evaluate("POST", if_modified_since=since, etag=None, last_modified=DATE) == "proceed"
    assert evaluate("GET", if_modified_since=since, etag=None, last_modified=None) == "proceed"


def test_if_none_match_outweighs_if_modified_since() -> None:
    """§13.2.2: the date is not looked at beside entity tags."""
    asked = {"if_none_match": '"x"', "if_modified_since": LATER}
    assert evaluate("GET", **asked, etag='"a"', last_modified=DATE) == "proceed"


@pytest.mark.parametrize(
    ("header", "etag", "decision"),
    [
        ('"a"', '"a"', "proceed"),
        ("*", '"a"', "proceed"),
        ("*", None, "proceed"),
        ('"x", "a"', '"a"', "proceed"),
        ('W/"a"', '"a"', "precondition_failed"),
        ('"a"', 'W/"a"', "precondition_failed"),
        ('"a"', None, "precondition_failed"),
        ("", '"a"', "precondition_failed"),
    ],
)
def test_if_match_is_compared_strongly(header: str, etag: str | None, decision: str) -> None:
    """§13.1.1."""
    assert evaluate("GET", if_match=header, etag=etag, last_modified=None) == decision


@pytest.mark.parametrize(
    ("since", "decision"),
    [(EARLIER, "precondition_failed"), (DATE, "proceed"), (LATER, "proceed"), ("x", "proceed")],
)
def test_if_unmodified_since_compares_dates(since: str, decision: str) -> None:
    """§13.1.4, and If-Match outweighs it."""
    assert evaluate("GET", if_unmodified_since=since, etag='"a"', last_modified=DATE) == decision
    both = {"if_unmodified_since": since, "if_match": '"a"'}
    assert evaluate("GET", **both, etag='"a"', last_modified=DATE) == "proceed"


def test_conditions_are_taken_in_order() -> None:
    """§13.2.2: what guards comes before what saves bytes."""
    asked = {"if_match": '"x"', "if_none_match": '"a"'}
    assert evaluate("GET", **asked, etag='"a"', last_modified=DATE) == "precondition_failed"


@pytest.mark.parametrize(
    ("header", "matches"),
    [
        ('"a"', True),
        ('W/"a"', False),
        ('"b"', False),
        ('"a", "b"', False),
        ("*", False),
        (DATE, True),
        (EARLIER, False),
        (LATER, False),
        ("x", False),
        ("", False),
    ],
)
def test_if_range_is_strong_and_exact(header: str, matches: bool) -> None:
    """§13.1.5: anything but the very same means the whole body."""
    assert if_range_matches(header, etag='"a"', last_modified=DATE) is matches


@pytest.mark.parametrize("header", ['"a"', DATE, "x", ""])
def test_if_range_without_validators_never_matches(header: str) -> None:
    """There is nothing to compare with; a weak tag of ours does not count either."""
    assert not if_range_matches(header, etag=None, last_modified=None)
    assert not if_range_matches('"a"', etag='W/"a"', last_modified=None)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", Range(0, 1)),
        ("bytes=0-9", Range(0, 10)),
        ("bytes=0-99", Range(0, 10)),
        ("bytes=3-", Range(3, 10)),
        ("bytes=9-", Range(9, 10)),
        ("bytes=-3", Range(7, 10)),
        ("bytes=-99", Range(0, 10)),
        ("BYTES=1-2", Range(1, 3)),
        ("bytes= 1-2 ", Range(1, 3)),
        (" \tbytes=1-2\t ", Range(1, 3)),
        ("bytes=001-002", Range(1, 3)),
        ("bytes=0-" + "9" * 3000, Range(0, 10)),
        ("bytes=10-", "unsatisfiable"),
        ("bytes=10-20", "unsatisfiable"),
        ("bytes=" + "9" * 3000 + "-", "unsatisfiable"),
        ("bytes=-0", "unsatisfiable"),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=", None),
        ("bytes", None),
        ("bytes=a-b", None),
        ("bytes=1-2-3", None),
        ("bytes=--3", None),
        ("bytes=X1-2", None),
        ("bytes=1-2X", None),
        ("Xbytes=1-2", None),
        ("bytes=+1-2", None),
        ("bytes=1_0-20", None),
        ("bytes=٣-٤", None),
        ("bytes=0-" + "9" * 9000, None),
        ("lines=0-1", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1,", None),
        ("", None),
        (None, None),
    ],
)
def test_range_of_ten_bytes(header: str | None, part: object) -> None:
    """§14.1.2, §14.2: one satisfiable range, or 416, or the whole body."""
    assert parse_range(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=0-", "bytes=-1"])
def test_range_of_nothing_is_unsatisfiable(header: str) -> None:
    """An empty body has no first byte."""
    assert parse_range(header, 0) == "unsatisfiable"


@given(st.text() | st.text("0123456789-,= bytes").map("bytes=".__add__), st.integers(0, 100))
def test_range_of_any_text_lies_within_the_body(header: str, size: int) -> None:
    """No header makes us read outside of the body, and none raises."""
    part = parse_range(header, size)
    if isinstance(part, Range):
        assert 0 <= part.start < part.stop <= size
        assert part.size >= 1


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 100))
def test_range_agrees_with_slicing(first: int, last: int, size: int) -> None:
    """A satisfiable range is what Python's slice of the body is."""
    body = bytes(range(size))
    part = parse_range(f"bytes={first}-{last}", size)
    if isinstance(part, Range):
        assert body[part.start : part.stop] == body[first : last + 1]
        assert part.size == len(body[first : last + 1])
    else:
        assert last < first or first >= size


@given(st.text(), st.text(), st.text(), st.text())
def test_conditions_of_any_text_are_decided(one: str, two: str, three: str, four: str) -> None:
    """Whatever a client sends has a meaning."""
    decision = evaluate(
        "GET", if_match=one, if_none_match=two, if_modified_since=three, if_unmodified_since=four,
        etag='"a"', last_modified=DATE,
    )  # fmt: skip
    assert decision in {"proceed", "not_modified", "precondition_failed"}


def test_range_names_itself() -> None:
    """§14.4."""
    assert Range(0, 1).content_range(10) == "bytes 0-0/10"
