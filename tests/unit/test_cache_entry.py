"""Entries and their JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keeping import NOW, make_entry

from cache.base.entry import MAX_HISTORY, Entry, Former
from cache.base.errors import EntryUnreadable
from cache.base.keys import source_key, variant_key

DIGESTS = st.binary(min_size=32, max_size=32).map(bytes.hex)
TIMES = st.floats(min_value=0, max_value=4e9, allow_nan=False)
TEXTS = st.text(st.characters(), max_size=20)
FACTS = st.none() | st.dictionaries(TEXTS, st.integers() | st.booleans() | TEXTS, max_size=3)
FORMERS = st.builds(
    Former,
    DIGESTS,
    st.integers(0, 2**40),
    TEXTS,
    TIMES,
    damaged=st.booleans(),
    picture=FACTS,
    note=TEXTS,
    recovered=FACTS,
)
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
    picture=FACTS,
    history=st.lists(FORMERS, max_size=3).map(tuple),
    recovered=FACTS,
    judged_by=TEXTS,
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
        ("headers", {}),
        ("headers", ""),
        ("headers", [["etag"]]),
        ("headers", [["etag", 1]]),
        ("body_sha256", "AB" * 32),
        ("body_sha256", "../../etc/passwd"),
        ("body_sha256", "0" * 64 + "\n"),
        ("body_size", -1),
        ("body_size", 1.5),
        ("body_size", 1 << 63),
        ("request_time", "now"),
        ("request_time", True),
        ("request_time", 1 << 53),
        ("request_time", -1 << 53),
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
    """Every required member must be present."""
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


@pytest.mark.parametrize(
    ("name", "value"),
    [("body_size", (1 << 63) - 1), ("request_time", (1 << 53) - 1), ("request_time", 1 - (1 << 53))],
)
def test_entry_with_a_number_as_large_as_it_may_be_is_read(name: str, value: int) -> None:
    """The bounds are those of SQLite and of whole numbers in JSON (RFC 8259 §6), and are themselves accepted."""
    known = json.loads(make_entry("http://h/a").to_json())
    assert getattr(Entry.from_json(json.dumps({**known, name: value}).encode()), name) == value


@pytest.mark.parametrize(("beyond", "readable"), [(0, True), (1, False)])
def test_entry_of_more_than_a_mebibyte_is_unreadable(beyond: int, readable: bool) -> None:
    """Nobody can make us parse a file of arbitrary size. An entry with the longest history is far below the limit."""
    entry = dataclasses.replace(
        make_entry("http://h/a"),
        history=tuple(Former(f"{number:064x}", 1, "image/png", NOW) for number in range(MAX_HISTORY)),
    )
    text = entry.to_json()
    assert len(text) < 200_000
    padded = text + b" " * ((1 << 20) - len(text) + beyond)
    if readable:
        assert Entry.from_json(padded) == entry
    else:
        with pytest.raises(EntryUnreadable, match="too long"):
            Entry.from_json(padded)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_entry_that_could_not_be_read_again_is_not_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        dataclasses.replace(make_entry("http://h/a"), validated_at=value).to_json()


def test_entry_with_facts_that_nobody_can_change_is_written() -> None:
    """A mapping is enough; which one is its owner's choice."""
    facts = MappingProxyType({"width": 7})
    plain = Former("1" * 64, 1, "image/png", NOW, picture=dict(facts), recovered=dict(facts))
    former = dataclasses.replace(plain, picture=facts, recovered=facts)
    entry = dataclasses.replace(make_entry("http://h/a"), picture=facts, recovered=facts, history=(former,))
    assert Entry.from_json(entry.to_json()) == dataclasses.replace(
        entry, picture=dict(facts), recovered=dict(facts), history=(plain,)
    )


def test_entry_of_the_first_version_is_read() -> None:
    """Members added later have defaults: the bytes are undamaged, of no known picture, and without a history."""
    known = json.loads(make_entry("http://h/a").to_json())
    for name in ("damaged", "picture", "history", "recovered", "judged_by"):
        del known[name]
    assert Entry.from_json(json.dumps(known).encode()) == make_entry("http://h/a")
    former = {"body_sha256": "1" * 64, "body_size": 1, "media_type": "image/png", "fetched_at": NOW}
    read = Entry.from_json(json.dumps({**known, "history": [former]}).encode())
    assert read.history == (Former("1" * 64, 1, "image/png", NOW),)


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
    """All former bytes stay named, newest first, each once, and never the current bytes."""
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


A, B, C = "a" * 64, "b" * 64, "c" * 64
COPY = {"from": "http://archive/", "url": "http://archive/a"}


def with_history(*history: Former, **changed: Any) -> Entry:
    return dataclasses.replace(make_entry("http://h/a", sha256=A, size=1), history=history, **changed)


def test_entry_of_a_new_source_has_no_history() -> None:
    """An entry must name only kept bytes, and the history of another store is not kept here."""
    came = with_history(Former(B, 2, "image/gif", NOW))
    assert came.replacing(None).history == ()
    assert came.replacing(make_entry("http://h/a", sha256=C, size=3)).digests == (A, C)


def test_entry_having_another_version_names_it_first_and_once() -> None:
    old, new, other = (Former(B, 2, "image/gif", NOW - 9), Former(B, 2, "image/gif", NOW, note="placeholder"),
        Former(C, 3, "image/gif", NOW))  # fmt: skip
    assert with_history(other, old).having(new).history == (new, other)


def test_entry_without_versions_names_the_rest_in_order() -> None:
    b, c = Former(B, 2, "image/gif", NOW), Former(C, 3, "image/gif", NOW)
    assert with_history(b, c).without({B}).history == (c,)
    assert with_history(b, c).without(()).history == (b, c)
    assert with_history(b, c).sizes == {A: 1, B: 2, C: 3}


def test_entry_promoting_a_version_answers_with_it_and_remembers_the_present_one() -> None:
    """No validators: they belong to other bytes, and a 304 to them would confirm the wrong ones."""
    chosen = Former(C, 3, "image/gif", NOW - 9, damaged=True, picture={"width": 1})
    entry = with_history(
        Former(B, 2, "image/gif", NOW), chosen, headers=(("etag", '"a"'),), judged_by="rules", final_url="http://h/b"
    )  # fmt: skip
    promoted = entry.promoting(C, note="rolled_back")
    assert promoted.as_former() == chosen
    assert promoted.headers == (("content-type", "image/gif"),)
    assert (promoted.judged_by, promoted.final_url) == ("", "http://h/b")
    assert promoted.history == (entry.as_former(note="rolled_back"), entry.history[0])
    assert promoted.history[0].note == "rolled_back"
    with pytest.raises(KeyError):
        entry.promoting("d" * 64)


@pytest.mark.parametrize(
    ("present", "chosen", "final_url"),
    [
        (None, None, "http://h/redirected"),
        (None, COPY, "http://archive/a"),
        (None, {"from": "http://archive/"}, "http://h/a"),
        (COPY, None, "http://h/a"),
    ],
)
def test_promoted_version_says_where_it_came_from(present: Any, chosen: Any, final_url: str) -> None:
    """The archive's address for an archive's copy, and never that of the other bytes."""
    entry = with_history(
        Former(B, 2, "image/gif", NOW, recovered=chosen), recovered=present, final_url="http://h/redirected"
    )
    promoted = entry.promoting(B)
    assert (promoted.recovered, promoted.final_url) == (chosen, final_url)


def test_entry_of_a_body_alone_is_never_fresh_and_has_no_validators() -> None:
    """A body that came without its entry gets one that makes the next request ask the origin for the whole picture."""
    body, history = Former(A, 1, "image/gif", NOW), (Former(B, 2, "image/gif", NOW),)
    entry = Entry.of_body("http://h/a", body, history)
    assert (entry.status, entry.headers) == (200, (("content-type", "image/gif"),))
    assert (entry.request_time, entry.response_time, entry.validated_at) == (0, 0, 0)
    assert (entry.as_former(), entry.history, entry.final_url) == (body, history, "http://h/a")


def test_entry_respelled_has_the_present_spelling_of_both_addresses() -> None:
    entry = dataclasses.replace(make_entry("http://h/a|b"), final_url="http://h/{c}").respelled()
    assert (entry.source, entry.final_url) == ("http://h/a%7Cb", "http://h/%7Bc%7D")


def test_name_of_a_variant_is_that_of_the_contract() -> None:
    """SHA-256 of body, resolved transform, format and render version: a change of one is another variant."""
    parts = {
        "body_sha256": A,
        "resolved": "width=7,text=é",
        "output_format": "webp",
        "render_version": "10",
    }
    text = f"{A}\nwidth=7,text=é\nwebp\n10"
    assert variant_key(**parts) == hashlib.sha256(text.encode()).hexdigest()
    others = {variant_key(**{**parts, name: value + "0"}) for name, value in parts.items()}
    assert len(others | {variant_key(**parts)}) == 5


def test_entry_is_frozen() -> None:
    """Nobody can change an entry that others hold."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(make_entry("http://h/a"), "status", 404)  # noqa: B010 - the checker refuses the plain assignment
