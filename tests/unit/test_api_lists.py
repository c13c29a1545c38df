"""The lists of the API: what a query becomes for the index, and what its rows become for a client."""

from __future__ import annotations

import csv
import io
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cache.base.errors import IndexUnavailable
from cache.index.index import Index, IndexCursorInvalid
from cache.index.values import (
    ArticleRow,
    FailureQuery,
    FailureRow,
    Listing,
    PictureQuery,
    PictureRow,
    Place,
)
from proxy.errors import InvalidRequest, NotFound
from proxy.services.catalogue.catalogue import ArticlePictures, Catalogue
from proxy.web.api.admission import Admittance
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.reading import read_query
from proxy.web.api.resources.articles import ArticleNameQuery, show_article
from proxy.web.api.resources.failures import (
    COLUMNS,
    FailuresFilter,
    FailuresQuery,
    as_csv,
    csv_row,
    list_failures,
)
from proxy.web.api.resources.pictures import PicturesQuery, list_pictures
from proxy.web.api.values import as_json, moment

PICTURE = PictureRow("http://h/a.png", "http://h", "kept", "a" * 64, 5, "image/png", 3, 2, kept_at=86400.0)
FAILURE = FailureRow(
    "http://h/b.png", "http://h", "gone", "source_not_found", 404, 3, 86400.0, 90000.0, 1, (Place("p.md", (7, 9)),)
)  # fmt: skip


class OneOfEach(Index):
    """An index with one row in each list; it remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def pictures(self, query: PictureQuery) -> Listing[PictureRow]:
        self.asked.append(query)
        if query.after == "of another list":
            raise IndexCursorInvalid
        return Listing((PICTURE,), "next one", 2, is_exact=False)

    async def failures(self, query: FailureQuery) -> Listing[FailureRow]:
        self.asked.append(query)
        return Listing((FAILURE,), total=1)


class OneArticle(Catalogue):
    """A catalogue with one article."""

    async def article(self, name: str) -> ArticlePictures | None:
        row = ArticleRow("p.md", "/srv/p.md", None, 2, 1, 5)
        return ArticlePictures(row, (PICTURE,), (FAILURE,)) if name == "p.md" else None


def call(query: Asked, index: Index | None) -> Call[Any, Any]:
    catalogue = OneArticle(cast("Any", None), index) if index else None
    context = cast("Any", SimpleNamespace(catalogue=catalogue))
    return Call(context, cast("Any", None), Admittance(may_change=True), {}, query, Nothing())


async def test_query_reaches_the_index_as_it_was_meant() -> None:
    """Texts become numbers, switches and moments; what is absent does not limit."""
    index = OneOfEach()
    text = "text=A%2BB&limit=7&state=damaged&since=2024-01-31&descending=false&sort=size&after=x"
    found = await list_pictures(call(read_query(text, PicturesQuery), index))
    (asked,) = index.asked
    assert (asked.text, asked.limit, asked.state, asked.sort) == ("A+B", 7, "damaged", "size")
    assert (asked.since, asked.until, asked.descending, asked.after) == (1706659200.0, None, False, "x")
    assert (found.next, found.total, found.is_exact) == ("next one", 2, False)
    assert found.items[0].kept_at == "1970-01-02T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"), ("limit=501", "limit"), ("limit=5.0", "limit"), ("limit=", "limit"), ("limit=%2B5",
        "limit"), ("limit=1e2", "limit"), ("limit=٣", "limit"), ("state=gone", "state"), ("sort=bytes", "sort"),
        ("after=", "after"), ("descending=yes", "descending"), ("descending=1", "descending"), ("digest=abc",
        "digest"), ("digest=ABCD", "digest"), ("text=" + "x" * 1025, "text"), ("Text=x", "Text"), ("text=a&text=b",
        "text"), ("limit=99999999999999999", "limit"),
    ],
)  # fmt: skip
def test_bad_value_is_refused_by_name(query: str, named: str) -> None:
    """No value is guessed: each has exactly the declared form."""
    with pytest.raises(InvalidRequest, match=named):
        read_query(query, PicturesQuery)


@pytest.mark.parametrize("since", ["yesterday", "2024-13-01", "9999-99-99", "", "20240131T"])
async def test_date_that_is_none_is_refused(since: str) -> None:
    """The message says how to write a date."""
    with pytest.raises(InvalidRequest, match="since: write a date"):
        await list_pictures(call(PicturesQuery(since=since), OneOfEach()))


async def test_cursor_of_another_list_is_refused() -> None:
    """The index knows its cursors, and the client learns which parameter is wrong."""
    with pytest.raises(InvalidRequest, match="after"):
        await list_pictures(call(PicturesQuery(after="of another list"), OneOfEach()))


async def test_service_without_an_index_says_so() -> None:
    """The lists are unavailable then, and nothing else is."""
    with pytest.raises(IndexUnavailable):
        await list_pictures(call(PicturesQuery(), None))


async def test_missing_pictures_are_those_of_articles_unless_all_are_wanted() -> None:
    """`shown` is true when it is absent; a row names its places with their lines."""
    index = OneOfEach()
    found = await list_failures(call(read_query("group=gone&given_up=false", FailuresQuery), index))
    assert (index.asked[0].shown, index.asked[0].group, index.asked[0].given_up) == (True, "gone", False)
    assert (found.items[0].places[0].article, found.items[0].places[0].lines) == ("p.md", [7, 9])
    await list_failures(call(read_query("shown=false", FailuresQuery), index))
    assert index.asked[1].shown is False
    with pytest.raises(InvalidRequest, match="limit"):
        read_query("limit=5", FailuresFilter)


async def test_article_has_its_pictures_and_what_is_missing() -> None:
    """A name that is not known is not found."""
    found = await show_article(call(ArticleNameQuery(name="p.md"), OneOfEach()))
    assert (found.article.missing, found.pictures[0].source, found.missing[0].code) == (
        1, "http://h/a.png", "source_not_found",
    )  # fmt: skip
    with pytest.raises(NotFound):
        await show_article(call(ArticleNameQuery(name="q.md"), OneOfEach()))


def test_line_of_the_csv_has_every_column_and_no_formula() -> None:
    """A program for tables would run a text that begins with `=`; an apostrophe makes it a text."""
    row = FailureRow(
        "http://h/b,\"c'.png", "http://h", "gone", note='=HYPERLINK("http://evil.example")',
        places=(Place("-post\udcff.md", (7,)),),
    )  # fmt: skip
    (line,) = csv.reader(io.StringIO(as_csv([csv_row(row)]).decode("utf-8"), newline=""))
    found = dict(zip(COLUMNS, line, strict=True))
    assert found["source"] == "http://h/b,\"c'.png"
    assert found["note"].startswith("'=")
    assert found["places"] == "'-post\\udcff.md:7"


def test_answer_is_json_whatever_names_and_numbers_it_holds() -> None:
    """Names may hold bytes that are not UTF-8, and a planted entry numbers that JSON does not have."""
    answer = {"name": "a\udcff", "number": float("nan"), "list": (1, float("inf"))}
    assert json.loads(as_json(answer)) == {"name": "a\udcff", "number": None, "list": [1, None]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.0, None),
        (-5.0, None),
        (1e300, None),
        (float("nan"), None),
        (1.5, "1970-01-01T00:00:01Z"),
    ],
)
def test_moment_is_a_date_or_nothing(seconds: float | None, text: str | None) -> None:
    """A time of an entry that is no date does not break an answer."""
    assert moment(seconds) == text
