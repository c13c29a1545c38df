"""Wrappers of every grammar, nested and configured ones, and addresses that are refused instead of guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects import MAX_DEPTH, AmbiguousWrapper, Unwrapper
from proxy.errors import InvalidSource, MirrorError, SourceNotAllowed

UNWRAPPER = Unwrapper(
    ("https://proxy.example/?", "proxy.example/get?u=", "https://two.example/x/", "https://three.example"),
    own=("https://img.example.org/blog",),
)
HEX = "687474703a2f2f676f6c616e672e6f72672f646f632f676f706865722f66726f6e74706167652e706e67"
BASE64 = "aHR0cDovL2dvbGFuZy5vcmcvZG9jL2dvcGhlci9mcm9udHBhZ2UucG5n"
GOPHER = "http://golang.org/doc/gopher/frontpage.png"


@pytest.mark.parametrize(
    ("url", "source"),
    [
        # worker family
        ("https://cors.zfour.workers.dev/?http://h/a.png?x=1&y=2", "http://h/a.png?x=1&y=2"),
        ("https://test.cors.workers.dev/?https%3A%2F%2Fh%2Fa.png", "https://h/a.png"),
        ("HTTPS://CORS.IO/?HTTP://h/a.png", "http://h/a.png"),
        # cors-anywhere and other prefixes
        ("https://cors-anywhere.herokuapp.com/http://h.org/a?x=1", "http://h.org/a?x=1"),
        ("https://cors-anywhere.herokuapp.com/http:/h.org/a", "http://h.org/a"),
        ("https://cors-anywhere.herokuapp.com/h.org/a.png", "http://h.org/a.png"),
        ("https://cors-anywhere.herokuapp.com/h.org:443/a.png", "https://h.org/a.png"),
        ("https://thingproxy.freeboard.io/fetch/http://h/a.png", "http://h/a.png"),
        ("https://yacdn.org/proxy/https://h/a.png", "https://h/a.png"),
        ("https://crossorigin.me/http://h/a.png", "http://h/a.png"),
        ("https://proxy.cors.sh/https://h/a.png", "https://h/a.png"),
        ("https://corsproxy.io/https://h/a.png", "https://h/a.png"),
        ("https://corsproxy.io/?https%3A%2F%2Fh%2Fa.png", "https://h/a.png"),
        ("https://corsproxy.io/?url=https%3A%2F%2Fh%2Fa.png", "https://h/a.png"),
        # query values
        ("https://api.allorigins.win/raw?url=http%3A%2F%2Fh%2Fa%3Fx%3D1%26y%3D2", "http://h/a?x=1&y=2"),
        ("https://api.codetabs.com/v1/proxy?quest=http://h/a.png", "http://h/a.png"),
        ("https://cors-proxy.htmldriven.com/?url=http://h/a.png", "http://h/a.png"),
        ("http://image.baidu.com/search/down?url=http://ww1.sinaimg.cn/a.jpg", "http://ww1.sinaimg.cn/a.jpg"),
        ("https://fly.webp.se/?url=https://h/a+b.png#x", "https://h/a+b.png"),
        # weserv
        ("https://images.weserv.nl/?url=h/a.png", "http://h/a.png"),
        ("//wsrv.nl/?url=ssl:h/a.png&w=300", "https://h/a.png"),
        ("https://wsrv.nl/?url=//h/a.png", "https://h/a.png"),
        ("https://wsrv.nl/?w=5&url=http://avatars.example/u/1?v=4&h=64", "http://avatars.example/u/1?v=4"),
        ("https://wsrv.nl/?url=http%3A%2F%2Fh%2F%CD%BC.png", "http://h/%CD%BC.png"),
        # Photon
        ("https://i2.wp.com/h.org/a.png?resize=300%2C200", "http://h.org/a.png"),
        ("https://i0.wp.com/h.org/a,b.png?ssl=1&w=5", "https://h.org/a,b.png"),
        ("https://i1.wp.com/h.org/a.php?q=id%3D1%26x%3D2", "http://h.org/a.php?id=1&x=2"),
        # services that carry it in the path
        ("https://res.cloudinary.com/me/image/fetch/https://h/a.png?x", "https://h/a.png?x"),
        ("//res.cloudinary.com/me/image/fetch/w_300,h_200/f_auto/http%3A%2F%2Fh%2Fa.png", "http://h/a.png"),
        ("https://cdn.statically.io/img/h.org/a/b.png?quality=100&f=auto&h=64", "https://h.org/a/b.png"),
        ("https://cdn.statically.io/img/h.org/f=auto,w=600/b.png", "https://h.org/b.png"),
        (f"https://camo.githubusercontent.com/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3/{HEX}", GOPHER),
        (f"https://camo.githubusercontent.com/{'0f' * 32}/{HEX}", GOPHER),
        (f"https://camo.githubusercontent.com/D23vHLFHsOhPOcvdxeoQyAJTpvM/{BASE64}", GOPHER),
        ("https://web.archive.org/web/20170611172104im_/http://h/a.png", "http://h/a.png"),
        ("https://web.archive.org/web/2017*/http://h/a.png", "http://h/a.png"),
        # configured, and our own
        ("http://proxy.example/?https://h/a.png", "https://h/a.png"),
        ("//proxy.example/get?u=https%3A%2F%2Fh%2Fa.png", "https://h/a.png"),
        ("https://two.example/x/https://h/a.png", "https://h/a.png"),
        ("https://three.example/https://h/a.png", "https://h/a.png"),
        ("https://img.example.org/blog/image/content,w=5/https%3A%2F%2Fh%2Fa.png", "https://h/a.png"),
        # one in another
        ("//wsrv.nl/?url=i0.wp.com/h.org/a.png%3Fssl=1", "https://h.org/a.png"),
        ("https://cors.io/?https://img.example.org/blog/image/content/http://h/a.png", "http://h/a.png"),
    ],
)
def test_wrapper_gives_its_source(url: str, source: str) -> None:
    """Every grammar of the list is opened, by the rules of the service it belongs to."""
    unwrapped = UNWRAPPER.unwrap(url)
    assert unwrapped is not None
    assert unwrapped.source.url == source
    assert UNWRAPPER.is_wrapper(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a.png",
        "/local.png",
        "data:image/png;base64,https://cors.io/?http://h/a.png",
        "blob:https://cors.io/?http://h/a.png",
        "https://corsproxy.io/",
        "https://cors.io/?",
        "https://crossorigin.me/about",
        "https://i0.wp.com/about",
        "https://wsrv.nl/docs/",
        "https://wsrv.nl/?url=",
        "https://web.archive.org/web/changes",
        "https://camo.githubusercontent.com/0f6def1cb147b0e84f39cbddc5ea10c80253a6f3/00",
        "https://proxy.example.evil.example/?http://h/a.png",
        "https://evilproxy.example/?http://h/a.png",
        "https://three.example.evil.example/https://h/a.png",
        "https://two.example/https://h/a.png",
        "https://cors.zfour.workers.dev@evil.example/?http://h/a.png",
        "https://i0.wp.com:80@evil.example/h.example/a.png",
        "//i0.wp.com@evil.example/h.example/a.png",
        "https://img.example.org/other/image/content/http://h/a.png",
    ],
)
def test_other_addresses_are_no_wrappers(url: str) -> None:
    """Home pages of services, other hosts and local addresses are left alone; so is a service's name as a user."""
    assert UNWRAPPER.unwrap(url) is None
    assert not UNWRAPPER.is_wrapper(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://wsrv.nl/?url=http://h/a.php?id=1&file=2",
        "https://api.allorigins.win/raw?url=http://h/a.png?x=1&y=2",
        "https://api.allorigins.win/raw?url=http://h/a&url=http://h/b",
        "https://res.cloudinary.com/me/image/fetch/h.org/a.png",
        "https://cdn.statically.io/img/h.org/a.png?v=3",
        "https://proxy.example/get?u=http://h/a?x=1&y=2",
    ],
)
def test_wrapper_that_would_have_to_be_guessed_is_reported(url: str) -> None:
    """It is a wrapper, but its source is ambiguous."""
    with pytest.raises(AmbiguousWrapper):
        UNWRAPPER.unwrap(url)
    assert UNWRAPPER.is_wrapper(url)


@pytest.mark.parametrize(
    ("inside", "error"),
    [
        ("http://user@h/a.png", InvalidSource),
        ("http://h:99999/a.png", InvalidSource),
        ("http:///", InvalidSource),
        ("http%3A", InvalidSource),
    ],
)
def test_wrapper_with_a_bad_source_is_refused(inside: str, error: type[MirrorError]) -> None:
    """Userinfo and unreadable hosts are refused inside a wrapper as outside."""
    with pytest.raises(error):
        UNWRAPPER.unwrap("https://cors.io/?" + inside)


def test_other_scheme_in_weserv_is_not_allowed() -> None:
    """A scheme that is not http is not mistaken for a host."""
    with pytest.raises(SourceNotAllowed):
        UNWRAPPER.unwrap("https://wsrv.nl/?url=ftp%3A%2F%2Fh%2Fa.png")


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH + 3))
def test_nested_wrappers_are_opened_up_to_a_depth(depth: int) -> None:
    """Five are opened, each a step; a sixth is refused."""
    url = "https://cors.io/?" * depth + "http://h/a.png"
    if depth > MAX_DEPTH:
        with pytest.raises(InvalidSource):
            UNWRAPPER.unwrap(url)
    else:
        unwrapped = UNWRAPPER.unwrap(url)
        assert unwrapped is not None
        assert len(unwrapped.steps) == depth


def test_dropped_options_are_named() -> None:
    """The changes that a wrapper would have made to the picture are not dropped without notice."""
    unwrapped = UNWRAPPER.unwrap("https://wsrv.nl/?url=http://h/a.png&w=300&q=5&w=4&mask=star&il")
    assert unwrapped is not None
    assert unwrapped.dropped == ("weserv mask",)
    assert unwrapped.options == {"width": "4", "quality": "5"}


@given(
    st.text(max_size=60),
    st.sampled_from(["https://cors.io/?", "https://wsrv.nl/?url=", "https://i0.wp.com/", ""]),
)
def test_unwrapping_anything_raises_only_errors_of_the_contract(text: str, prefix: str) -> None:
    """Whatever an article holds, the answer is a source, nothing, or an error of the contract."""
    try:
        unwrapped = UNWRAPPER.unwrap(prefix + text)
    except (InvalidSource, SourceNotAllowed):
        return
    assert unwrapped is None or unwrapped.source.url.isascii()


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("/imgproxy/_/rs:fit:300:0/plain/http://h.example/a.png", {"width": "300"}),
        ("/thumbor/unsafe/300x0/http://h.example/a.png", {"width": "300"}),
        ("/cdn-cgi/image/width=300/http://h.example/a.png", {"width": "300"}),
        ("/_next/image?url=http%3A%2F%2Fh.example%2Fa.png&w=300&q=75", {"width": "300", "quality": "75"}),
        ("/wsrv/?url=h.example%2Fa.png&w=300", {"width": "300"}),
        ("/?url=h.example%2Fa.png&w=300", {"width": "300"}),
        ("/photon/h.example/a.png?w=300", {"width": "300"}),
        ("/cors/http://h.example/a.png", {}),
    ],
)
def test_our_own_mounts_are_opened(address: str, options: dict[str, str]) -> None:
    """At our own base address, in requests too; at any other host such a path means nothing there."""
    unwrapper = Unwrapper((), own=("https://img.example.org/blog",), forms=False)
    found = unwrapper.unwrap("https://img.example.org/blog" + address)
    assert found is not None
    assert (found.source.url, found.options) == ("http://h.example/a.png", options)
    assert found.steps == ("imgmirror img.example.org",)
    assert not list(found.written("https://img.example.org/blog" + address))
    assert unwrapper.unwrap("https://other.example.org/blog" + address) is None
