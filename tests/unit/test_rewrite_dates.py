"""When an article says it was written, in the spellings of blogs."""

from __future__ import annotations

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rewrite.front.dates import article_date

DAY = float(calendar.timegm((2021, 7, 26, 0, 0, 0)))
MOMENT = float(calendar.timegm((2021, 7, 26, 11, 54, 0)))


@pytest.mark.parametrize(
    ("text", "name", "moment"),
    [
        ("---\ntitle: x\ndate: Mon, 26 Jul 2021 11:54:00 GMT\n---\n", "", MOMENT),
        ("---\ndate: 2021-07-26 11:54:00\n---\n", "", MOMENT), ("---\ndate: 2021/7/26\n---\n", "", DAY),
        ("\ufeff\n---\nDate: '2021-07-26T11:54:00+08:00'\n---\n", "", MOMENT),
        ('+++\ndate = "2021-07-26"\n+++\n', "", DAY), ('{"title": "x",\n"date": "2021-07-26"}\n', "", DAY),
        ("---\ntitle: x\n---\n", "_posts/2021-07-26-title.md", DAY), ("text", "2021-07-26-title.md", DAY),
        ('<meta property="article:published_time" content="2021-07-26T11:54:00Z">', "", MOMENT),
        ("<p><time class=a datetime=2021-07-26>26 July</time>", "", DAY),
        ("---\ndate: yesterday\n---\n", "2021-07-26-title.md", DAY),
        ("---\ndate: 2021-02-31\n---\n", "", None), ("---\ndate: 0001-01-01\n---\n", "", None),
        ("no front matter\ndate: 2021-07-26\n", "", None), ("", "title.md", None), ("---\ndate:\n---\n", "", None),
    ],
)  # fmt: skip
def test_date_is_read_where_the_article_says_it(text: str, name: str, moment: float | None) -> None:
    assert article_date(text.encode(), name=name) == moment


@given(data=st.binary(max_size=300), begin=st.sampled_from([b"", b"---\ndate: ", b"<time datetime="]))
def test_any_bytes_have_a_date_or_none(data: bytes, begin: bytes) -> None:
    found = article_date(begin + data, name="x.md")
    assert found is None or 6e8 < found < 4.2e9
