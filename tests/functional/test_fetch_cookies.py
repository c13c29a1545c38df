"""Cookies within one fetch: they come back to the host that set them, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fetching import body_of, fetch_config, fetched, fetching
from scripted_origin import Handler, Request, ScriptedOrigin, head
from stub_resolver import StubResolver

from proxy.errors import SourceUnreachable
from proxy.fetch.exchange.cookies import MAX_COOKIE_BYTES, MAX_COOKIES, Cookies
from proxy.fetch.fetcher import Fetched, Fetcher
from proxy.source import Source

HERE = Source.parse("http://h.example/a/b.png")
SECURE = Source.parse("https://h.example/a/b.png")


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as server:
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    names = StubResolver({"a.example": [["127.0.0.1"]], "b.example": [["127.0.0.1"]]})
    async with fetching(fetch_config(max_redirects=3), resolver=names) as found:
        yield found


def asks_for(cookie: str, *, to: str = "") -> Handler:
    """Set the cookie and send the client back, until it comes with it."""

    async def handler(request: Request, _reader: object, writer: asyncio.StreamWriter) -> None:
        if cookie.partition(";")[0] in (request.header("Cookie") or ""):
            writer.write(head(200, [("Content-Length", "7")]) + b"picture")
            return
        fields = [("Location", to or request.target), ("Set-Cookie", cookie), ("Content-Length", "0")]
        writer.write(head(302, fields))

    return handler


@pytest.mark.parametrize(
    "cookie", ["ok=1", "ok=1; path=/; HttpOnly", "a=b=c; Domain=other.example", "k=; Max-Age=60"]
)
async def test_redirect_that_sets_a_cookie_and_comes_back_is_followed(
    fetcher: Fetcher, origin: ScriptedOrigin, cookie: str
) -> None:
    """The bot check of shared hosts: the same address, asked with the cookie."""
    origin.script("/a.png", asks_for(cookie))
    answer, body = await fetched(fetcher, origin.url("/a.png"))
    assert isinstance(answer, Fetched)
    assert (body, answer.redirects, origin.count("/a.png")) == (b"picture", 1, 2)


async def test_cookie_ends_with_its_fetch(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """The next fetch begins without one."""
    origin.script("/a.png", asks_for("ok=1"))
    for _ in range(2):
        await body_of(fetcher, origin.url("/a.png"))
    assert [request.header("Cookie") for request in origin.requests] == [None, "ok=1", None, "ok=1"]


async def test_cookie_goes_to_no_other_host(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """The cookie is not sent on the way to another host, and is sent again on the way back."""
    back = origin.url("/a.png", host="a.example")
    origin.script("/a.png", asks_for("ok=1; Domain=example", to=origin.url("/b.png", host="b.example")))
    origin.redirect("/b.png", back)
    assert await body_of(fetcher, back) == b"picture"
    assert [request.header("Cookie") for request in origin.requests] == [None, None, "ok=1"]


async def test_redirects_that_set_another_cookie_each_time_end_at_the_limit(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """`fetch.max_redirects` counts them all."""

    async def handler(request: Request, _reader: object, writer: asyncio.StreamWriter) -> None:
        fields = [("Location", "/a.png"), ("Set-Cookie", f"n={origin.count()}"), ("Content-Length", "0")]
        writer.write(head(302, fields))

    origin.script("/a.png", handler)
    with pytest.raises(SourceUnreachable):
        await body_of(fetcher, origin.url("/a.png"))
    assert origin.count() == 4


@pytest.mark.parametrize(
    "line", ["", "novalue", "=x", "a=\x01", "a=\r\nX: y", "a=é", "a" * MAX_COOKIE_BYTES + "=b"]
)
def test_cookie_that_cannot_be_read_is_ignored(line: str) -> None:
    """It could be another header, or too long."""
    cookies = Cookies()
    cookies.take(HERE, line)
    assert cookies.header(HERE) == ""


def test_cookie_that_is_secure_goes_over_https_only() -> None:
    """Over http it is neither set nor sent."""
    cookies = Cookies()
    cookies.take(HERE, "a=1; Secure")
    assert cookies.header(SECURE) == ""
    cookies.take(SECURE, "a=1; secure")
    assert (cookies.header(SECURE), cookies.header(HERE)) == ("a=1", "")


def test_cookie_goes_to_its_path_only() -> None:
    """RFC 6265 §5.1.4: a whole number of segments; without one, the folder of what set it."""
    cookies = Cookies()
    cookies.take(HERE, "a=1; Path=/a")
    cookies.take(HERE, "b=1")
    cookies.take(HERE, "c=1; Path=/other")
    assert cookies.header(HERE) == "a=1; b=1"
    assert cookies.header(Source.parse("http://h.example/ab")) == ""


def test_cookie_is_replaced_by_one_of_its_name_and_ended_by_its_age() -> None:
    """The newest value counts; no age at all takes it away."""
    cookies = Cookies()
    cookies.take(HERE, "a=1")
    cookies.take(HERE, "a=2")
    assert cookies.header(HERE) == "a=2"
    cookies.take(HERE, "a=2; Max-Age=0")
    assert cookies.header(HERE) == ""


def test_cookies_are_at_most_twenty() -> None:
    """The oldest go."""
    cookies = Cookies()
    for number in range(MAX_COOKIES + 5):
        cookies.take(HERE, f"n{number}=x")
    assert cookies.header(HERE).split("; ")[0] == "n5=x"
    assert cookies.header(HERE).count("=") == MAX_COOKIES
