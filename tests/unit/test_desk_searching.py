"""Cursors, questions, groups and weights of the desk's lists, without a service."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.catalogue import lists, questions
from cache.catalogue.schema import SCHEMA
from proxy.config import Config
from proxy.errors import InvalidRequest, SourceError
from proxy.services.desk.cursors import MAX_LENGTH, behind, cursor
from proxy.services.desk.searching import (
    SORTINGS,
    STATES,
    PictureSearch,
    behind_articles,
    behind_missing,
    part_of_name,
    picture_question,
    reasons_of,
)
from proxy.services.desk.weights import loaded, presets_of_articles
from proxy.services.troubles.negatives import KINDS
from proxy.services.troubles.reasons import GIVEN_UP, GROUPS, NEVER_TRIED, by_group, error_of, group_of
from proxy.services.upkeep.storedlist import VariantListed
from proxy.services.warm.fates import FATES
from proxy.services.warm.warming import WarmFailure

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.fixture(scope="module")
def catalogue() -> Iterator[sqlite3.Connection]:
    """An empty catalogue."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    yield connection
    connection.close()


def forged(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def test_every_kind_of_failure_has_exactly_one_group() -> None:
    grouped = [reason for group in GROUPS.values() for reason in group.reasons]
    assert sorted(grouped) == sorted([*KINDS, GIVEN_UP, NEVER_TRIED])


@pytest.mark.parametrize("kind", KINDS)
def test_report_of_warm_has_every_kind_of_failure_in_the_group_of_the_desk(kind: str) -> None:
    """It knows the code and the status only."""
    error = KINDS[kind].error()
    if isinstance(error, SourceError):
        error.failure, error.origin_status = kind, {"busy": 429, "unusable": 206}.get(kind, 0)
    failure = WarmFailure.of(error)
    assert failure.group == group_of(kind)
    assert failure.group in FATES[failure.fate].groups


def test_groups_of_the_pages_are_the_table_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs/desk.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \| (.*) \|$", text.partition("## Missing pictures")[2], re.MULTILINE)
    told = {name: set(re.findall("`([a-z_]+)`", kinds)) for name, kinds in rows}
    known = {one.title.lower(): set(one.reasons & KINDS.keys()) for one in GROUPS.values()}
    assert {name: told[name] for name in known} == known


def test_reasons_are_counted_by_group_and_those_of_a_later_version_count_as_passing() -> None:
    counts = by_group({"not_found": 2, "gone": 3, "": 1, "of_a_later_version": 4})
    assert counts == {
        "gone": 5, "refused": 0, "not_a_picture": 0, "not_now": 4, "never_tried": 1, "given_up": 0,
    }  # fmt: skip


def test_failures_have_an_error_and_other_reasons_none() -> None:
    assert {kind: error_of(kind) is None for kind in (*KINDS, GIVEN_UP, NEVER_TRIED)} == {
        **dict.fromkeys(KINDS, False), GIVEN_UP: True, NEVER_TRIED: True,
    }  # fmt: skip
    assert group_of("not_an_image") == "not_a_picture"


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), ANY_TEXT), st.integers(0, (1 << 63) - 1))
def test_cursor_says_what_it_was_made_of(value: float | str, number: int) -> None:
    made = cursor("list", value, number)
    assert made.isascii()
    kind = str if isinstance(value, str) else float
    assert behind(made, "list", kind, int) == (value, number)


@pytest.mark.parametrize(
    "text",
    [
        "x", "é", "\0", "!!!!", "a" * (MAX_LENGTH + 1), forged(), forged("other", 1.0, 1), forged("list", 1.0),
        forged("list", 1.0, 1, 1), forged("list", "1", 1), forged("list", True, 1), forged("list", 1.0, None),
        forged("list", 1.0, 1 << 63), forged("list", 1 << 200, 1), forged("list", 1.0, 0.5), forged({"a": 1}),
        base64.urlsafe_b64encode(b'["list",NaN,1]').decode(), base64.urlsafe_b64encode(b'["list",1e999,1]').decode(),
        base64.urlsafe_b64encode(b"[" * 30_000).decode(), base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode(b'["list",' + b"9" * 9_000 + b",1]").decode(),
    ],
)  # fmt: skip
def test_forged_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        behind(text, "list", float, int)


def test_cursor_of_another_sorting_or_list_is_refused() -> None:
    by_size = cursor("pictures by size", 5, 1)
    assert picture_question(PictureSearch(sort="size", after=by_size), most=1).after == (5, 1)
    for search in (PictureSearch(sort="age", after=by_size), PictureSearch(after=cursor("missing", "x"))):
        with pytest.raises(InvalidRequest):
            picture_question(search, most=1)
    with pytest.raises(InvalidRequest):
        behind_missing(cursor("articles", "x"))


@pytest.mark.parametrize(
    "search",
    [
        PictureSearch(sha256="g"), PictureSearch(sha256="a" * 65), PictureSearch(since="yesterday"),
        PictureSearch(before="2024-13-01"), PictureSearch(since="9" * 5000), PictureSearch(origin="host"),
        PictureSearch(origin="http://h/path"), PictureSearch(origin="ftp://h"), PictureSearch(origin="\ud800"),
        PictureSearch(text="\0"), PictureSearch(text="\ud800"), PictureSearch(text="a" * 201), PictureSearch(text="ab"),
        PictureSearch(state="lost"), PictureSearch(sort="colour"), PictureSearch(sort="address", after=forged(
            "pictures by address", "\ud800", 1)),
    ],
)  # fmt: skip
def test_search_that_cannot_be_read_is_refused(search: PictureSearch) -> None:
    with pytest.raises(InvalidRequest):
        picture_question(search, most=1)


@given(
    st.builds(
        PictureSearch,
        text=ANY_TEXT, origin=st.one_of(st.just("http://h:80"), ANY_TEXT), article=ANY_TEXT,
        sha256=st.one_of(st.from_regex("[0-9a-fA-F]{0,64}", fullmatch=True), ANY_TEXT),
        since=st.one_of(st.dates().map(str), ANY_TEXT), before=st.one_of(st.datetimes().map(str), ANY_TEXT),
        state=st.sampled_from(["", *STATES]), sort=st.sampled_from(SORTINGS),
        after=st.one_of(
            st.just(""), ANY_TEXT,
            st.builds(forged, st.sampled_from([f"pictures by {one}" for one in SORTINGS]),
                      st.one_of(st.integers(), st.floats(), ANY_TEXT), st.integers()),
        ),
    )
)  # fmt: skip
def test_any_search_is_refused_or_answered(catalogue: sqlite3.Connection, search: PictureSearch) -> None:
    """No text of a client reaches SQLite that it cannot take."""
    try:
        question = picture_question(search, most=10)
    except InvalidRequest:
        return
    assert questions.pictures(catalogue, question).rows == ()


@given(
    ANY_TEXT, ANY_TEXT, st.one_of(ANY_TEXT, st.builds(lambda text: cursor("missing", text), ANY_TEXT)),
    st.one_of(ANY_TEXT, st.builds(lambda text: cursor("articles", text), ANY_TEXT)),
)  # fmt: skip
def test_any_search_of_missing_pictures_and_articles_is_refused_or_answered(
    catalogue: sqlite3.Connection, text: str, article: str, after: str, behind_name: str
) -> None:
    try:
        part, source = part_of_name(text, name="text"), behind_missing(after)
        name = behind_articles(behind_name)
    except InvalidRequest:
        return
    assert lists.missing(catalogue, text=part, article=article, after=source).rows == ()
    assert lists.articles(catalogue, text=part, after=name).rows == ()


def test_group_that_is_none_is_refused() -> None:
    assert reasons_of("") is None
    assert reasons_of("gone") == frozenset({"not_found", "gone"})
    with pytest.raises(InvalidRequest):
        reasons_of("lost")


def stored(options: str, output_format: str, size: int) -> VariantListed:
    return VariantListed(options, output_format, size, 0.0)


def test_picture_weighs_its_heaviest_address_in_the_lightest_format() -> None:
    """Variants with options that no article has do not count."""
    found = [
        stored("width=320", "avif", 6), stored("width=320", "jpeg", 14), stored("content", "jpeg", 90),
        stored("content", "avif", 40), stored("", "png", 1000),
    ]  # fmt: skip
    assert loaded(found) == 40
    assert loaded(found[-1:]) is None
    assert loaded([]) is None


def test_presets_of_articles_are_those_that_rewrite_writes() -> None:
    """The thumbnails of the desk itself make no article lighter."""
    found = presets_of_articles(Config())
    assert {"content", "headimg"} <= found
    assert "thumbnail" not in found
