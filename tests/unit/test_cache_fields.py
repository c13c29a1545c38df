"""Which fields of an answer are kept, and what a 304 changes: RFC 9111 §3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.http.fields import MAX_BYTES, NEEDED, NEVER_KEPT, Fields, kept_fields, merged_fields

NAMES = st.sampled_from([*sorted(NEEDED), *sorted(NEVER_KEPT), "x-a", "content-md5"])
FIELDS = st.lists(st.tuples(NAMES, st.text(max_size=20))).map(tuple)


def test_fields_of_every_kind_are_kept() -> None:
    """§3.1: all fields of the answer are kept, including unknown ones."""
    fields = (("cache-control", "max-age=1"), ("content-md5", "abc"), ("x-powered-by", "patience"))
    assert kept_fields(fields) == fields


def test_fields_of_one_connection_are_not_kept() -> None:
    """§3.1: Connection, the fields that it lists, and those for proxies. But a list cannot hide fields that freshness
    needs."""
    fields = (
        ("connection", "a, B , cache-control"), ("a", "1"), ("b", "2"), ("c", "3"), ("cache-control", "max-age=1"),
        ("keep-alive", "5"), ("proxy-authenticate", "x"), ("proxy-authorization", "x"), ("transfer-encoding", "x"),
        ("proxy-authentication-info", "x"), ("te", "x"), ("upgrade", "x"), ("proxy-connection", "x"),
        ("trailer", "x"),
    )  # fmt: skip
    assert kept_fields(fields) == (("c", "3"), ("cache-control", "max-age=1"))


def test_list_of_connection_is_split_at_commas_and_white_space_only() -> None:
    """RFC 9110 §5.6.1: white space around a name is not part of it; a letter is."""
    fields = (("a", "1"), ("b", "2"), ("connection", "\tA\t,Xb , ,"), ("xb", "3"))
    assert kept_fields(fields) == (("b", "2"),)


@pytest.mark.parametrize("name", ["content-encoding", "content-length"])
def test_fields_of_the_bytes_sent_are_not_kept(name: str) -> None:
    """RFC 9110 §8.4, §8.6: the kept bytes are decoded, so neither is true of them."""
    assert kept_fields(((name, "1"), ("x-a", "1"))) == (("x-a", "1"),)


@pytest.mark.parametrize("name", ["set-cookie", "set-cookie2"])
def test_cookies_are_not_kept(name: str) -> None:
    """A cookie may be a key to somebody's login."""
    assert kept_fields(((name, "a=b"), ("x-a", "1"))) == (("x-a", "1"),)


def test_values_with_control_characters_are_not_kept() -> None:
    """RFC 9110 §5.5: controls may attack a reader of the entry. A tab and everything above ASCII are text."""
    controls = {chr(code) for code in (*range(0x20), 0x7F)} - {"\t"}
    for character in map(chr, range(0x100)):
        kept = kept_fields((("x-a", f"b{character}c"),))
        assert kept == (() if character in controls else (("x-a", f"b{character}c"),))


def test_lines_of_one_name_stay_in_their_order() -> None:
    """RFC 9110 §5.3: together they are one list."""
    assert kept_fields((("vary", "b"), ("age", "1"), ("vary", "a"))) == (
        ("age", "1"),
        ("vary", "b"),
        ("vary", "a"),
    )


NEEDED_NAMES = (
    "age", "cache-control", "cdn-cache-control", "content-language", "content-type", "date", "etag", "expires",
    "last-modified", "pragma", "vary",
)  # fmt: skip
"""What freshness (RFC 9111 §4.2), validation (§4.3) and a served original need."""


@pytest.mark.parametrize("name", NEEDED_NAMES)
def test_too_many_fields_leave_those_that_are_needed(name: str) -> None:
    """An origin that talks too much does not make entries large, nor its pictures stale."""
    noise = tuple((f"a-{number:03}", "x" * 1000) for number in range(100))
    kept = kept_fields((*noise, (name, "max-age=1")))
    assert (name, "max-age=1") in kept
    assert sum(len(name) + len(value) for name, value in kept) <= MAX_BYTES


def test_fields_that_are_needed_are_kept_whatever_their_size() -> None:
    """The limit applies to fields that nothing needs. A truncated policy would be a different policy."""
    fields = tuple((name, "x" * MAX_BYTES) for name in NEEDED_NAMES)
    assert kept_fields((("a-a", "1"), *fields)) == fields


@pytest.mark.parametrize(("beyond", "kept"), [(0, True), (1, False)])
def test_fields_fill_an_entry_to_the_last_byte(beyond: int, kept: bool) -> None:
    """8 KiB of names and values fit exactly."""
    fields = (("x-a", "a" * 1021), ("x-b", "b" * (7 * 1024 - 3 + beyond)))
    assert kept_fields(fields) == fields[: 2 if kept else 1]


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
