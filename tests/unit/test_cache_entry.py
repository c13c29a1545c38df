"""Entries and their JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeping import NOW, make_entry

from cache.base.entry import MAX_HISTORY, Entry, Former
from cache.base.errors import EntryUnreadable
from cache.base.keys import source_key

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
TIMES = st.floats(min_value=0, max_value=4e9, allow_nan=False)
TEXTS = st.text(st.characters(), max_size=20)
FORMERS = st.builds(Former, DIGESTS, st.integers(0, 2**40), TEXTS, TIMES)
ENTRIES = st.builds(
    Entry,
    source=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
    status=st.integers(100, 599),
    headers=st.lists(st.tuples(TEXTS, TEXTS), max_size=4).map(tuple),
    body_sha256=DIGESTS,
    body_size=st.integers(0, 2**40),
    media_type=TEXTS,
    final_url=TEXTS,
    request_time=TIMES,
    response_time=TIMES,
    fetched_at=TIMES,
    validated_at=TIMES,
    damaged=st.booleans(),
    picture=st.none() | st.dictionaries(TEXTS, st.integers() | st.booleans() | TEXTS, max_size=3),
    history=st.lists(FORMERS, max_size=3).map(tuple),
)


@given(ENTRIES)
def test_entry_written_and_read_is_the_same(entry: Entry) -> None:
    """Nothing is lost on the way through the file, lone surrogates included."""
    assert Entry.from_json(entry.to_json()) == entry


@given(st.binary(max_size=200))
def test_entry_of_any_bytes_is_unreadable_and_nothing_worse(text: bytes) -> None:
    """Rubbish raises the one error that callers know."""
    with pytest.raises(EntryUnreadable):
        Entry.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", ""),
        ("source", "http://h/é"),
        ("source", "http://h/a b"),
        ("source", None),
        ("status", "200"),
        ("status", True),
        ("headers", {"etag": "x"}),
        ("headers", [["etag"]]),
        ("headers", [["etag", 1]]),
        ("body_sha256", "AB" * 32),
        ("body_sha256", "../../etc/passwd"),
        ("body_sha256", "0" * 64 + "\n"),
        ("body_size", -1),
        ("body_size", 1.5),
        ("body_size", 1 << 64),
        ("request_time", "now"),
        ("request_time", 1e300),
        ("damaged", 1),
        ("picture", []),
        ("history", {}),
        ("history", [{"body_sha256": "0"}]),
        ("history", [{}]),
    ],
)
def test_entry_with_a_wrong_member_is_unreadable(name: str, value: object) -> None:
    """A member of the wrong kind is never taken for something else."""
    known = json.loads(make_entry("http://h/a").to_json())
    with pytest.raises(EntryUnreadable):
        Entry.from_json(json.dumps({**known, name: value}).encode())


@pytest.mark.parametrize("name", ["source", "status", "headers", "body_sha256", "body_size", "validated_at"])
def test_entry_without_a_member_is_unreadable(name: str) -> None:
    """What is needed must be there."""
    known = json.loads(make_entry("http://h/a").to_json())
    del known[name]
    with pytest.raises(EntryUnreadable, match=name):
        Entry.from_json(json.dumps(known).encode())


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"source":' + b"9" * 5000 + b"}", b" " * (2 << 20), b"null"]
)
def test_entry_of_hostile_json_is_unreadable(text: bytes) -> None:
    """Deep nesting, huge numbers and huge files are refused, not suffered."""
    with pytest.raises(EntryUnreadable):
        Entry.from_json(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_entry_with_a_time_that_is_no_number_is_unreadable(value: str) -> None:
    """Python's JSON reads NaN; a time that compares with nothing must not come in."""
    text = (
        make_entry("http://h/a")
        .to_json()
        .replace(b'"validated_at": 1700000000.0', f'"validated_at": {value}'.encode())
    )
    with pytest.raises(EntryUnreadable):
        Entry.from_json(text)


def test_entry_with_unknown_members_is_read() -> None:
    """An older program reads what a newer one wrote."""
    known = json.loads(make_entry("http://h/a").to_json())
    assert Entry.from_json(json.dumps({**known, "colour": "blue"}).encode()) == make_entry("http://h/a")


def test_entry_text_is_for_people() -> None:
    """One member a line, ASCII, with a line end."""
    text = make_entry("http://h/a").to_json()
    assert b'\n  "source": "http://h/a",\n' in text
    assert text.endswith(b"}\n")


def test_entry_gives_its_key_and_validators() -> None:
    """Key and validators are what the headers and the source say."""
    entry = make_entry(
        "http://h/a", headers={"etag": 'W/"x"', "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
    )
    assert entry.key == source_key("http://h/a")
    assert entry.etag == 'W/"x"'
    assert entry.last_modified == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert entry.header("age") is None


def test_entry_that_replaces_another_remembers_its_bytes() -> None:
    """What was kept before stays named, newest first, each once, the present bytes never."""
    first = make_entry("http://h/a", sha256="1" * 64, size=1)
    second = make_entry("http://h/a", sha256="2" * 64, size=2).replacing(first)
    third = make_entry("http://h/a", sha256="1" * 64, size=1).replacing(second)
    assert second.history == (Former("1" * 64, 1, "image/png", NOW),)
    assert third.history == (Former("2" * 64, 2, "image/png", NOW),)
    assert third.digests == ("1" * 64, "2" * 64)


def test_entry_replacing_the_same_bytes_keeps_the_history() -> None:
    """A revalidation does not forget older bytes."""
    first = make_entry("http://h/a", sha256="1" * 64)
    second = make_entry("http://h/a", sha256="2" * 64).replacing(first)
    assert make_entry("http://h/a", sha256="2" * 64).replacing(second).history == second.history


def test_entry_history_is_bounded() -> None:
    """An origin that gives other bytes each time cannot make the entry grow without end."""
    entry = make_entry("http://h/a")
    for number in range(MAX_HISTORY + 10):
        entry = make_entry("http://h/a", sha256=f"{number:064x}").replacing(entry)
    assert len(entry.history) == MAX_HISTORY
    assert Entry.from_json(entry.to_json()) == entry


def test_entry_is_frozen() -> None:
    """Nobody changes an entry that others hold."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(make_entry("http://h/a"), "status", 404)  # noqa: B010 - the checker refuses the plain assignment
