"""The CORS worker's addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.grammars import worker
from proxy.errors import InvalidSource, MirrorError, SourceNotAllowed
from proxy.source import Source


@pytest.mark.parametrize(
    ("query", "source"),
    [
        ("http://h/a.png?x=1&y=2", "http://h/a.png?x=1&y=2"),
        ("http://h/a.png?u=http%3A%2F%2Fb%2F", "http://h/a.png?u=http%3A%2F%2Fb%2F"),
        ("HTTP://h/%2520", "http://h/%2520"),
        ("https:/h/a.png", "https://h/a.png"),
        ("http://h/%CD%BC.png", "http://h/%CD%BC.png"),
        ("http%3A%2F%2Fh%2Fa%2520b.png", "http://h/a%20b.png"),
        ("https%3a//h/%CD%BC.png", "https://h/%CD%BC.png"),
        ("http%253A%252F%252Fh%252Fa.png", "http://h/a.png"),
        ("http%253A//h/a%252520b", "http://h/a%20b"),
        ("http://h/\u56fe.png", "http://h/%E5%9B%BE.png"),
        ("http://h/a b+c.png", "http://h/a%20b+c.png"),
    ],
)
def test_worker_query_names_a_source(query: str, source: str) -> None:
    """It is taken verbatim if it begins with a scheme, and decoded as often as it was escaped as a whole."""
    assert worker.is_worker(query)
    assert worker.parse(query).url == source


@pytest.mark.parametrize(
    "query", ["", "url=http://h/", "h/a.png", "//h/a.png", "ftp://h/", "http", "xhttp://h/"]
)
def test_other_queries_are_not_the_workers(query: str) -> None:
    """No scheme is ever added; `?url=` is weserv's."""
    assert not worker.is_worker(query)
    with pytest.raises((InvalidSource, SourceNotAllowed)):
        worker.parse(query)


@pytest.mark.parametrize(
    ("url", "inside"),
    [
        ("https://cors.zfour.workers.dev/?http://h/a.png", "http://h/a.png"),
        ("//CORS.zfour.workers.dev:443/any/path?http://h/a.png?x", "http://h/a.png?x"),
        ("https://cors.zfour.workers.dev/", None),
        ("https://cors.zfour.workers.dev.evil.example/?http://h/a.png", None),
        ("https://user@cors.zfour.workers.dev/?http://h/a.png", None),
        ("https://other.example/?http://h/a.png", None),
    ],
)
def test_known_workers_are_unwrapped(url: str, inside: str | None) -> None:
    """Only known hosts, compared whole, whatever the case, port and path."""
    assert worker.unwrap(url) == inside


@given(st.from_regex(r"https?://h\.example/[!-~]{0,40}", fullmatch=True))
def test_unwrapping_what_was_built_gives_the_source(url: str) -> None:
    """unwrap(build(source)) == source."""
    try:
        source = Source.parse(url)
    except MirrorError:
        return
    built = worker.build("https://cors.zfour.workers.dev", source)
    assert worker.unwrap(built) == source.url
