"""Our own addresses in articles are signed by the first key, whatever they were signed by before."""

from __future__ import annotations

import pytest
from rewriting import BASE, SOURCE

from proxy.config import Config, RewriteConfig, SourcesConfig
from proxy.dialects.native import build
from proxy.rewrite.rewriter import ArticleKind, Rewriter, RewriteResult
from proxy.services.articles.article_use import RewriteSettings
from proxy.signing import Signer
from proxy.source import Source

OLD, NEW = "the key of last year", "the key of this year"
PICTURE = Source.parse(SOURCE)


def rewriter_of(*keys: str, former: tuple[str, ...] = ()) -> Rewriter:
    config = Config(sources=SourcesConfig(keys=keys), rewrite=RewriteConfig(former_urls=former))
    return RewriteSettings.of(config, base_url=BASE).rewriter()


def address(
    key: str, options: str = "content", *, canonical: str = "", exp: int | None = None, base: str = BASE
) -> str:
    """Return our address of the picture, signed by `key` when it is not empty."""
    sig = Signer((key,)).sign(canonical or options, SOURCE, exp=exp) if key else None
    return build(base, options, PICTURE, sig=sig, exp=exp)


def rewritten(article: str, *, kind: ArticleKind = "markdown") -> RewriteResult:
    """Rewrite with both keys, and make sure that a second time changes nothing."""
    rewriter = rewriter_of(NEW, OLD)
    result = rewriter.rewrite(article.encode(), kind=kind)
    assert rewriter.rewrite(result.data, kind=kind).replaced == ()
    return result


@pytest.mark.parametrize("before", ["", OLD, "a key of nobody"])
@pytest.mark.parametrize(
    ("options", "canonical"),
    [
        ("content", ""),
        ("original", ""),
        ("headimg,width=800", ""),
        ("format=webp,width=640", ""),
        ("w=640,format=webp", "format=webp,width=640"),
        ("original@" + "0" * 64, ""),
    ],
)
@pytest.mark.parametrize("place", ["![]({})", '<img src="{}">', "---\ncover: {}\n---\n", "[a]: {}\n\n![a]"])
def test_address_without_the_first_key_s_signature_is_signed_anew(
    before: str, options: str, canonical: str, place: str
) -> None:
    """If the signature is absent, from another key or invalid, the address gets the first key's signature and keeps its
    options."""
    result = rewritten(place.replace("{}", address(before, options, canonical=canonical)))
    assert result.data.decode() == place.replace("{}", address(NEW, options, canonical=canonical))


def test_expiry_of_an_address_is_kept() -> None:
    article = f"![]({address(OLD, exp=1893456000)})"
    assert rewritten(article).data.decode() == f"![]({address(NEW, exp=1893456000)})"


def test_source_keeps_its_spelling() -> None:
    """Only the signature changes, also where the source is escaped as a whole or the scheme of the base differs."""
    article = f"![](//img.example.org/image/content,sig=old/{SOURCE.replace(':', '%3A').replace('/', '%2F')})"
    signature = Signer((NEW,)).sign("content", SOURCE)
    assert rewritten(article).data.decode() == article.replace("sig=old", f"sig={signature}")


def test_address_in_the_worker_s_form_becomes_one_that_can_be_signed() -> None:
    assert rewritten(f"![]({BASE}/?{SOURCE})").data.decode() == f"![]({address(NEW, 'original')})"


def test_former_address_is_re_pointed_and_signed() -> None:
    former = "https://old.example.org"
    rewriter = rewriter_of(NEW, former=(former,))
    result = rewriter.rewrite(f"![]({address(OLD, base=former)})".encode(), kind="markdown")
    assert result.data.decode() == f"![]({address(NEW)})"


@pytest.mark.parametrize("keys", [(), (OLD,), (OLD, NEW)])
def test_address_signed_by_the_first_key_or_without_keys_stays(keys: tuple[str, ...]) -> None:
    article = f"![]({address(OLD)})".encode()
    assert rewriter_of(*keys).rewrite(article, kind="markdown").replaced == ()


@pytest.mark.parametrize("article", ["`{}`", "```\n{}\n```", '<pre><img src="{}"></pre>', '<embed src="{}">'])
def test_address_in_code_or_in_an_unknown_place_stays(article: str) -> None:
    assert rewritten(article.replace("{}", address(OLD))).replaced == ()


def test_address_with_options_that_cannot_be_read_stays() -> None:
    assert rewritten(f"![]({BASE}/image/width=many,sig=x/{SOURCE})").replaced == ()


def test_pictures_name_our_addresses_as_the_article_has_them() -> None:
    """Each is listed once, without the base URL. A wrapper has none."""
    old, new = address(OLD), address(NEW)
    article = f"![]({old}) ![]({new}) ![]({old}) ![](https://cors.io/?{SOURCE})"
    (picture,) = rewritten(article).pictures
    assert picture.own == (old.removeprefix(BASE), new.removeprefix(BASE))
