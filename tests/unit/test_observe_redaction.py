"""Logs hold no secret and no forged line, however an address spells it."""

from __future__ import annotations

import pytest

from proxy.observe.redaction import MASK, hidden, plain

SECRET = "Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2RlZmdoaWo"


@pytest.mark.parametrize(
    "address",
    [
        f"/image/thumbnail,sig={SECRET},exp=1/http://h.example/a.png",
        f"/image/sig={SECRET}/http://h.example/a.png",
        f"/image/width=3%2Csig%3D{SECRET}/http://h.example/a.png",
        f"/imgproxy/{SECRET}/rs:fit:300/plain/http://h.example/a.png",
        f"/thumbor/{SECRET}=/300x200/h.example/a.png",
        f"/imagor/{SECRET}=/fit-in/300x200/h.example/a.png",
        f"/camo/{SECRET.lower()}/687474703a2f2f68",
        f"/camo/{SECRET.lower()}?url=http://h.example/a.png",
        f"/{SECRET}?url=http://h.example/a.png",
        f"/miniflux/{SECRET}=/aHR0cDovL2gvYS5wbmc=",
        f"/miniflux/proxy/{SECRET}=/aHR0cDovL2gvYS5wbmc=",
        f"/imageproxy/200x,s{SECRET}=/http://h.example/a.png",
        f"/{SECRET}/rs:fit:300/plain/http://h.example/a.png",
        f"/?http://h.example/a.png?X-Amz-Credential=a&X-Amz-Signature={SECRET}",
        f"/?http://h.example/a.png%3Ftoken%3D{SECRET}%26w%3D3",
        f"/?http://h.example/a.png?w=3&access_token={SECRET}",
        f"/?http://h.example/a.png?w=3&s={'0af9' * 10}",
        f"/?http://user:{SECRET}@h.example/a.png",
        f"/?http:/user:{SECRET}@h.example/a.png",
        f"/?http%3A%2F%2Fuser:{SECRET}%40h.example/a.png",
        f"Authorization: Bearer {SECRET}",
        f"{{'Cookie': 'a={SECRET}; b=2'}}",
        f"b'Set-Cookie: id={SECRET}; Path=/'",
        f"socks5://user:{SECRET}@10.0.0.1:1080",
    ],
)
def test_secret_of_an_address_is_hidden_and_its_host_is_not(address: str) -> None:
    """Signatures of every grammar, tokens, passwords and cookies become `***`."""
    shown = hidden(address)
    assert SECRET not in shown
    assert SECRET.lower() not in shown
    assert "0af9" not in shown
    assert MASK in shown
    assert ("h.example" in shown) == ("h.example" in address)


@pytest.mark.parametrize(
    "address",
    [
        "/image/width=640,format=auto/http://h.example/2024/a.png?v=1&s=200&key=photo.jpg",
        "/imgproxy/unsafe/rs:fit:300/plain/http://h.example/a.png",
        "/image/original/http://h.example/design=3/token.png",
        "/image/original/http://h.example/me@home.png",
    ],
)
def test_address_without_a_secret_is_as_it_was(address: str) -> None:
    """The log must still say which picture is meant."""
    assert hidden(address) == address


def test_given_secret_is_hidden_wherever_it_stands() -> None:
    """Keys and the admin token of the configuration appear nowhere, not even inside other words."""
    assert hidden("x-the-admin-token-y", ["the-admin-token"]) == f"x-{MASK}-y"


@pytest.mark.parametrize(
    "text", ["a\nb", "a\rb", "a\x1b[2Jb", "a\x00b", "a\u2028b", "a\u202eb", "a\x85b", "a\udc80b"]
)
def test_character_that_forges_or_steers_is_escaped(text: str) -> None:
    """The result is one line of printable characters."""
    assert plain(text).isprintable()
    assert plain(text).startswith("a\\")
    assert plain(text).endswith("b")
