"""Decisions that need the whole article: bare addresses, links, our own and former addresses."""

from __future__ import annotations

import pytest
from rewriting import BASE, SOURCE, WRAPPED, ours, rewrite, text

from proxy.config import RewriteConfig
from proxy.rewrite.rewriter import Rewriter, kind_of
from proxy.source import Source

OTHER = "https://other.example/b.jpg"
ORIGINAL = ours(preset="original")


def test_bare_address_follows_the_wrapper_that_shows_it() -> None:
    """A lightbox link and a lazy attribute of a wrapped picture are rewritten with it."""
    article = f'<a href="{SOURCE}"><img src="{WRAPPED}" data-original="{SOURCE}"></a><img src="{SOURCE}">'
    assert text(article, kind="html") == (
        f'<a href="{ORIGINAL}"><img src="{ours()}" data-original="{ours()}"></a><img src="{ours()}">'
    )


def test_bare_address_without_scheme_follows_too() -> None:
    """`//host/…` is the source that the article shows, whichever scheme it is shown by."""
    article = f'<img src="{WRAPPED}"><a href="{SOURCE.removeprefix("http:")}">'
    assert text(article, kind="html") == f'<img src="{ours()}"><a href="{ORIGINAL}">'


def test_bare_address_follows_a_wrapper_in_front_matter() -> None:
    """The front matter belongs to the article."""
    article = f"---\nheadimg: {WRAPPED}\n---\n![]({SOURCE})\n"
    assert text(article) == f"---\nheadimg: {ours(preset='headimg')}\n---\n![]({ours()})\n"


def test_bare_address_that_no_wrapper_shows_stays() -> None:
    """Pictures that the article asks their origin for stay, and are listed for warming."""
    article = f'<img src="{OTHER}"><a href="{OTHER}"><a href="{WRAPPED}"><img src="{SOURCE}">'
    result = rewrite(article, kind="html")
    assert [item.context for item in result.replaced] == ["a href"]
    assert [(item.source.url, item.presets, item.wrapped) for item in result.pictures] == [
        (OTHER, ("content",), False),
        (SOURCE, ("original", "content"), True),
    ]


def test_all_images_takes_direct_pictures_and_links_to_them() -> None:
    """Direct pictures are rewritten on request; a link only when the article shows the same picture."""
    article = f'<img src="{OTHER}"><a href="{OTHER}"><a href="{SOURCE}"><img src="/local.png">'
    assert text(article, kind="html", all_images=True) == (
        f'<img src="{ours(OTHER)}"><a href="{ours(OTHER, "original")}"><a href="{SOURCE}"><img src="/local.png">'
    )


@pytest.mark.parametrize(
    ("link", "taken"),
    [
        ("https://cors.io/?http://h.example/b.JPEG?x=1", True),
        ("https://cors.io/?http://h.example/page.html", False),
        ("https://cors.io/?http://h.example/page.html?of=a.png", False),
        ("https://cors.io/?http://h.example/shown", True),
        ("https://cors.io/?http://h.example/a.png/page", False),
    ],
)
def test_link_to_a_wrapper_is_taken_when_it_is_a_picture(link: str, *, taken: bool) -> None:
    """The extension identifies it as a picture, or the article shows it."""
    result = rewrite(f'<img src="http://h.example/shown"><a href="{link}">', kind="html")
    assert [item.preset for item in result.replaced] == (["original"] if taken else [])
    assert [item.on_purpose for item in result.left] == ([] if taken else [True])


def test_wrapper_around_ourselves_is_undone() -> None:
    """A worker that was asked for one of our own addresses: the source is asked for directly, in the same size."""
    assert text(f"![](https://cors.io/?{BASE}/image/content/{SOURCE})") == f"![]({ours()})"
    assert text(f"![](https://cors.io/?{BASE}/image/w=5/{SOURCE})") == f"![]({ours(preset='width=5')})"


def test_own_addresses_are_pictures_but_never_replaced() -> None:
    """Rewritten addresses are known for warming, with their options. Signatures are not options."""
    result = rewrite(f"![]({BASE}/image/content,sig=abc/{SOURCE}) [a]({BASE}/image/original/{SOURCE})")
    assert not result.replaced
    assert [(item.presets, item.wrapped) for item in result.pictures] == [(("content", "original"), True)]


@pytest.mark.parametrize("former", ["https://old.example", "https://old.example/img/"])
def test_former_address_is_pointed_to_the_present_one(former: str) -> None:
    """Only the base changes: options, signature and the source's spelling stay."""
    config = RewriteConfig(former_urls=(former,))
    old = f"{former.rstrip('/')}/image/content,sig=x/http:/h.example/%61.png"
    assert text(f"![]({old}) <{old}>", config=config) == (
        f"![]({BASE}/image/content,sig=x/http:/h.example/%61.png)"
        f" <{BASE}/image/content,sig=x/http:/h.example/%61.png>"
    )


def test_former_address_in_code_stays() -> None:
    """Code stays code, whichever address it contains."""
    config = RewriteConfig(former_urls=("https://old.example",))
    article = f"<pre><img src='https://old.example/image/content/{SOURCE}'></pre>"
    assert text(article, config=config) == article


def test_host_that_begins_like_ours_is_not_ours() -> None:
    """Base addresses end at a boundary. Addresses of our form elsewhere are left for a person."""
    article = f"![]({BASE}.evil.example/image/content/{SOURCE})"
    result = rewrite(article, all_images=True)
    assert not result.replaced
    assert [(item.on_purpose, "rewrite.former_urls" in item.reason) for item in result.left] == [
        (False, True)
    ]


def test_worker_drop_in_host_can_be_the_base() -> None:
    """When the worker's host name points at us, untouched articles still are rewritten to `/image/`."""
    rewriter = Rewriter(RewriteConfig(), base_url="https://cors.zfour.workers.dev")
    once = rewriter.rewrite(f"![]({WRAPPED})".encode(), kind="markdown")
    assert once.data == f"![](https://cors.zfour.workers.dev/image/content/{SOURCE})".encode()
    assert rewriter.rewrite(once.data, kind="markdown").replaced == ()


def test_signature_is_of_the_source_that_the_place_can_hold() -> None:
    """The signature covers the address as it is written."""
    calls: list[tuple[str, str, int | None]] = []

    def sign(options: str, source: Source, exp: int | None) -> str:
        calls.append((options, source.url, exp))
        return "x"

    result = rewrite(
        f'<img srcset="{WRAPPED},, 1x, https://cors.io/?http%3A%2F%2Fh%2Fa%2C 2x">', kind="html", sign=sign
    )
    assert result.data.decode() == (
        f'<img srcset="{BASE}/image/content,sig=x/{SOURCE},, 1x, {BASE}/image/content,sig=x/http://h/a%2C 2x">'
    )
    assert calls == [("content", SOURCE, None), ("content", "http://h/a%2C", None)]


def test_pictures_are_each_listed_once_with_all_presets() -> None:
    """The same source by different wrappers is one picture."""
    article = f"---\nthumbnail: {WRAPPED}\n---\n![](https://cors.io/?{SOURCE})\n[a]({SOURCE})\n"
    (picture,) = rewrite(article).pictures
    assert (picture.source.url, picture.lines, picture.wrapped) == (SOURCE, (2, 4, 5), True)
    assert picture.presets == ("thumbnail", "content", "original")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.md", "markdown"),
        ("a.MARKDOWN", "markdown"),
        ("a.mdx", "mdx"),
        ("a.Rmd", "markdown"),
        ("a.html", "html"),
        ("a.txt", "markdown"),
        ("a.png", None),
        ("md", None),
    ],
)
def test_kind_is_told_by_the_name(name: str, kind: str | None) -> None:
    """Extensions may have any case. Other files are not articles."""
    assert kind_of(name) == kind
