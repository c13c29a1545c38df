"""Hostile articles: no exception, and work in proportion to the length.

Each article here made some Markdown, HTML, YAML or CSS reader quadratic or overflow its stack. The time limit of
the test run is what would fail: a quadratic reader needs hours for these.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewriting import WRAPPED, rewrite

from proxy.rewrite.rewriter import ArticleKind

# They rewrite long texts, and the tracer triples their time. The figure of coverage is a floor without them.
pytestmark = pytest.mark.no_cover

LENGTH = 100_000


def repeated(text: str) -> str:
    """Return about LENGTH characters of `text` again and again."""
    return text * (LENGTH // len(text))


ARTICLES = {
    "open brackets": repeated("["),
    "open images": repeated("!["),
    "nested links": repeated("[") + repeated("[a](b)"),
    "nested images": repeated("![") + repeated("](a)"),
    "unfinished links": repeated("[") + repeated("](a"),
    "unfinished angles": repeated("](<"),
    "unfinished titles": repeated('](a "'),
    "less than": repeated("<"),
    "quoted attributes": repeated('<a b="'),
    "attributes": "<img " + repeated("a=b "),
    "unclosed quote": '<img src="' + repeated("a"),
    "comments": "x " + repeated("<!-- "),
    "instructions": "x " + repeated("<? "),
    "cdata": repeated("<![CDATA["),
    "scripts": repeated("<script><!--<script>"),
    "backticks": "".join("`" * length + " " for length in range(1, 600)),
    "templates": repeated("{% ") + repeated("{{ "),
    "code tags": repeated("{% codeblock %}"),
    "definitions": repeated("[a]:\n"),
    "quotes": repeated(">"),
    "lists": repeated("- "),
    "carriage returns": repeated("\r"),
    "nul": repeated("\0"),
    "spaces in a tag": "<img a" + repeated(" ") + ">",
    "css strings": "<style>" + repeated("url('"),
    "css comments": "<style>" + repeated("/*"),
    "srcset": '<img srcset="' + repeated(WRAPPED + " 1x, ") + '">',
    "srcset brackets": '<img srcset="' + repeated(", (") + '">',
    "bare addresses": repeated("https://a,"),
    "bare addresses without end": repeated("https://a") + "[",
    "bare address with parentheses": "https://a" + repeated(")"),
    "bare address with punctuation": "https://a" + repeated("&a;") + repeated(".,"),
    "shortcodes": repeated("{{< figure src="),
    "shortcode arguments": "{{< figure " + repeated("src='//a' ") + ">}}",
    "one address": f"![]({WRAPPED}{repeated('a')})",
    "wrappers": "![](" + repeated("https://cors.io/?") + "http://h/a.png)",
    "yaml brackets": f"---\na: //{repeated('[')}\n---\n",
    "yaml nesting": "---\n" + "".join(" " * depth + "a:\n" for depth in range(500)) + "# //\n---\n",
    "toml brackets": f"+++\na = '//'\nb = {repeated('[')}\n+++\n",
    "json brackets": '{"a": "//", "b": ' + repeated("["),
    "fences": repeated("---\n"),
}


@pytest.mark.parametrize("kind", ["markdown", "html"])
@pytest.mark.parametrize("name", ARTICLES)
def test_hostile_article_is_answered(name: str, kind: ArticleKind) -> None:
    """The answer comes, and bytes outside of addresses stay."""
    article = ARTICLES[name].encode()
    result = rewrite(article, kind=kind)
    assert result.replaced or result.data == article


@given(st.binary(max_size=200), st.sampled_from(["markdown", "html"]))
def test_any_bytes_are_answered(article: bytes, kind: ArticleKind) -> None:
    """No byte sequence raises, and without addresses nothing changes."""
    assert rewrite(article, kind=kind).data == article
