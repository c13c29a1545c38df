"""Which fields of an answer are kept, and what a 304 changes: RFC 9111 §3."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cache.http.fields import MAX_BYTES, NEEDED, NEVER_KEPT, Fields, kept_fields, merged_fields

NAMES = st.sampled_from([*sorted(NEEDED), *sorted(NEVER_KEPT), "x-a", "content-md5"])
FIELDS = st.lists(st.tuples(NAMES, st.text(max_size=20))).map(tuple)


def test_fields_of_every_kind_are_kept() -> None:
    """§3.1: all fields of the answer, also those nobody knows."""
    fields = (("cache-control", "max-age=1"), ("content-md5", "abc"), ("x-powered-by", "patience"))
    assert kept_fields(fields) == fields


def test_fields_of_one_connection_are_not_kept() -> None:
    """§3.1: Connection, what it lists, and the fields for proxies; but a list cannot hide what freshness needs."""
    fields = (
        ("connection", "a, B , cache-control"), ("a", "1"), ("b", "2"), ("c", "3"), ("cache-control", "max-age=1"),
        ("keep-alive", "5"), ("proxy-authenticate", "x"), ("proxy-authorization", "x"), ("transfer-encoding", "x"),
        ("proxy-authentication-info", "x"), ("te", "x"), ("upgrade", "x"), ("proxy-connection", "x"),
    )  # fmt: skip
    assert kept_fields(fields) == (("c", "3"), ("cache-control", "max-age=1"))


def test_cookies_and_control_characters_are_not_kept() -> None:
    """A cookie may be a key to somebody's login; a control character may be an attack on whoever reads the entry."""
    assert kept_fields((("set-cookie", "a=b"), ("x-a", "b\x00"), ("x-b", "c\nd"), ("x-c", "\t"))) == (
        ("x-c", "\t"),
    )


def test_lines_of_one_name_stay_in_their_order() -> None:
    """RFC 9110 §5.3: together they are one list."""
    assert kept_fields((("vary", "b"), ("age", "1"), ("vary", "a"))) == (
        ("age", "1"),
        ("vary", "b"),
        ("vary", "a"),
    )


def test_too_many_fields_leave_those_that_are_needed() -> None:
    """An origin that talks too much does not make entries large, nor its pictures stale."""
    noise = tuple((f"x-{number}", "x" * 1000) for number in range(100))
    kept = kept_fields((*noise, ("cache-control", "max-age=1")))
    assert ("cache-control", "max-age=1") in kept
    assert sum(len(name) + len(value) for name, value in kept) <= MAX_BYTES


def test_fields_of_a_304_replace_those_of_their_names() -> None:
    """§3.2, §4.3.4: the new ones count, the others stay, and the old Age is over."""
    kept: Fields = (
        ("age", "100"),
        ("cache-control", "max-age=1"),
        ("vary", "a"),
        ("vary", "b"),
        ("x-a", "1"),
    )
    merged = merged_fields(
        kept, (("cache-control", "max-age=9"), ("vary", "c"), ("connection", "x-b"), ("x-b", "2"))
    )
    assert merged == (("cache-control", "max-age=9"), ("vary", "c"), ("x-a", "1"))


@given(FIELDS, FIELDS)
def test_fields_kept_or_merged_are_such_as_are_kept(kept: Fields, received: Fields) -> None:
    """Keeping twice is keeping once, and a 304 brings nothing in that an answer could not."""
    once = kept_fields(kept)
    assert kept_fields(once) == once
    merged = merged_fields(once, received)
    assert kept_fields(merged) == merged
    assert not {name for name, _ in merged} & NEVER_KEPT
