"""Our own addresses: what the raw request target says."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import native
from proxy.errors import InvalidRequest, InvalidSource, InvalidTransform, MirrorError, SourceNotAllowed
from proxy.source import Source

SEGMENTS = st.text(
    alphabet=st.characters(min_codepoint=33, max_codepoint=0x4FFF, exclude_characters="#"), max_size=30
)
SOURCES = st.builds(lambda path, query: Source.parse(f"https://h.example/{path}?{query}"), SEGMENTS, SEGMENTS)
OPTIONS = st.from_regex(
    r"[a-z]{1,8}(=[A-Za-z0-9.%-]{1,8})?(,[a-z]{4,8}=[A-Za-z0-9.%-]{1,8}){0,3}", fullmatch=True
)


@pytest.mark.parametrize(
    ("target", "options", "source"),
    [
        ("/image/width=640,format=auto/https://host/a.png?v=1", "width=640,format=auto", "https://host/a.png?v=1"),
        ("/image/headimg/http://host/a.png", "headimg", "http://host/a.png"),
        ("/image/original/http:/host/a.png", "original", "http://host/a.png"),
        ("/image/w=5/https%3A%2F%2Fhost%2Fa%2520b.png%3Fx?ours=1", "w=5", "https://host/a%20b.png?x"),
        ("/image/w=5/https%253A%252F%252Fhost%252Fa.png", "w=5", "https://host/a.png"),
        ("/image/w=5/http%3a//host/%CD%BC.png", "w=5", "http://host/%CD%BC.png"),
        ("/image/w=5/http://host/%CD%BC.png?u=%2F&x=a,b", "w=5", "http://host/%CD%BC.png?u=%2F&x=a,b"),
        ("/image/background=%23fff,trim=1%2F2/http://host/a", "background=%23fff,trim=1%2F2", "http://host/a"),
        ("/image/w=5/HTTP://HOST:80/a.png#x", "w=5", "http://host/a.png"),
    ],
)  # fmt: skip
def test_native_target_is_split_into_options_and_source(target: str, options: str, source: str) -> None:
    """Options end at the first slash; all that follows is the source, plain or escaped as a whole."""
    request = native.parse(target)
    assert (request.options, request.source.url) == (options, source)


@pytest.mark.parametrize("padding", ["", "=", "%3D"])
def test_native_base64_source_ignores_the_requests_query(padding: str) -> None:
    """`b64:` carries the source whole, padded or not; what follows `?` is not its query."""
    packed = base64.urlsafe_b64encode(b"https://h/a.png?x=1").decode().rstrip("=")
    assert native.parse(f"/image/w=5/b64:{packed}{padding}?v=2").source.url == "https://h/a.png?x=1"


def test_native_signature_and_expiry_are_no_options() -> None:
    """`sig` and `exp` are taken out wherever they stand; the rest keeps its order."""
    request = native.parse("/image/sig=a%2Db,w=5,exp=12,h=6/http://h/")
    assert (request.options, request.sig, request.exp) == ("w=5,h=6", "a-b", 12)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/other/w=5/http://h/", InvalidRequest),
        ("/image/", InvalidTransform),
        ("/image//http://h/", InvalidTransform),
        ("/image/http://h/a.png", InvalidTransform),
        ("/image/https%3A%2F%2Fh/a.png", InvalidTransform),
        ("/image/b64:aHR0/x", InvalidTransform),
        ("/image/sig=a/http://h/", InvalidTransform),
        ("/image/w=5,sig=a,sig=b/http://h/", InvalidTransform),
        ("/image/w=5,exp=1,exp=1/http://h/", InvalidTransform),
        ("/image/w=5,exp=soon/http://h/", InvalidTransform),
        ("/image/w=5,exp=-1/http://h/", InvalidTransform),
        ("/image/w=5,exp=9999999999999/http://h/", InvalidTransform),
        ("/image/w=5,exp=\N{ARABIC-INDIC DIGIT ONE}/http://h/", InvalidTransform),
        ("/image/original,w=5/http://h/", InvalidTransform),
        ("/image/w=5", InvalidSource),
        ("/image/w=5/", InvalidSource),
        ("/image/w=5?http://h/a/b", InvalidSource),
        ("/image/w=5/h/a.png", InvalidSource),
        ("/image/w=5//h/a.png", InvalidSource),
        ("/image/w=5/http://u:p@h/a.png", InvalidSource),
        ("/image/w=5/b64:***", InvalidSource),
        ("/image/w=5/b64:a", InvalidSource),
        ("/image/w=5/b64:", InvalidSource),
        ("/image/w=5/ftp://h/a.png", SourceNotAllowed),
        ("/image/w=5/file:///etc/passwd", SourceNotAllowed),
    ],
)
def test_native_target_that_cannot_be_read_is_refused(target: str, error: type[MirrorError]) -> None:
    """Each fault has its own error of the contract."""
    with pytest.raises(error) as caught:
        native.parse(target)
    assert type(caught.value) is error


@given(
    OPTIONS,
    SOURCES,
    st.none() | st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True),
    st.none() | st.integers(0, 10**11),
)
def test_native_parse_of_build_gives_back_what_went_in(
    options: str, source: Source, sig: str | None, exp: int | None
) -> None:
    """parse(build(x)) == x, for every source and every signature."""
    built = native.build("", options, source, sig=sig, exp=exp)
    assert native.parse(built) == native.NativeRequest(options, source, sig, exp)


@given(OPTIONS, SOURCES, st.none() | st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True))
def test_address_of_a_look_means_the_same_picture(options: str, source: Source, sig: str | None) -> None:
    built = native.build_look(options, source, sig=sig)
    assert native.parse(built) == native.NativeRequest(options, source, sig, is_look=True)
    assert not native.parse(built + "x").is_look
    assert not native.parse(built.removesuffix("?desk")).is_look


@pytest.mark.parametrize(
    "place", ["http://h/a.png?desk", "http%3A%2F%2Fh%2Fa.png%3Fdesk", "http://h/a?b?desk"]
)
def test_query_of_the_picture_itself_is_no_look(place: str) -> None:
    request = native.parse(f"/image/original/{place}")
    assert not request.is_look
    assert request.source.url.endswith("?desk")


@given(st.text())
def test_native_parse_of_anything_raises_only_errors_of_the_contract(text: str) -> None:
    """Whatever stands in the request line, the answer is an error of the contract or a request."""
    try:
        request = native.parse("/image/" + text)
    except (InvalidTransform, InvalidSource, SourceNotAllowed):
        return
    assert request.source.url.isascii()
