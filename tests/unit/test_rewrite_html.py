"""Rewriting HTML: which places are rewritten, how each spells its address, and which are left alone."""

from __future__ import annotations

import pytest
from rewriting import BASE, SOURCE, WRAPPED, ours, rewrite, text

from proxy.config import RewriteConfig

TWO = "http://h.example/b,c.png?x=1&y=2"
O1, O2 = ours(), ours(TWO)
W2 = "https://cors.zfour.workers.dev/?" + TWO


def amp(url: str, spelled: str = "&amp;") -> str:
    """Spell ampersands."""
    return url.replace("&", spelled)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # quoting
        (f'<img src="{WRAPPED}">', f'<img src="{O1}">'),
        (f"<img src='{WRAPPED}'>", f"<img src='{O1}'>"),
        (f"<img src={WRAPPED}>", f"<img src={O1}>"),
        (f"<img src={WRAPPED} alt>", f"<img src={O1} alt>"),
        (f'<IMG alt SRC = "{WRAPPED}"/>', f'<IMG alt SRC = "{O1}"/>'),
        (f'<img\n  alt="a > b"\n  src="\n {WRAPPED} ">', f'<img\n  alt="a > b"\n  src="\n {O1} ">'),
        (f"<img src=//cors.zfour.workers.dev/?{SOURCE}>", f"<img src={O1}>"),
        # entities keep their style
        (f'<img src="{W2}">', f'<img src="{O2}">'),
        (f'<img src="{amp(W2)}">', f'<img src="{amp(O2)}">'),
        (f'<img src="{amp(W2, "&#038;")}">', f'<img src="{amp(O2, "&#038;")}">'),
        (f'<img src="{amp(W2, "&#x26;")}">', f'<img src="{amp(O2, "&#x26;")}">'),
        (f'<img src="{WRAPPED}?a=1&copy=2">', f'<img src="{O1}?a=1&copy=2">'),
        (f'<img src="{WRAPPED}?a&amp;copy;">', f'<img src="{O1}?a&amp;copy;">'),
        (f'<img src="https&#58;//cors.zfour.workers.dev/?{SOURCE}">', f'<img src="{O1}">'),
        (f"<img src='{WRAPPED}?&quot;'>", f"<img src='{O1}?%22'>"),
        (f"<img src='{WRAPPED}?&#39;'>", f"<img src='{O1}?&#39;'>"),
        # other characters
        (f'<img src="{WRAPPED}?图">', f'<img src="{O1}?%E5%9B%BE">'),
        (f'<img src="{WRAPPED}?a b">', f'<img src="{O1}?a%20b">'),
        # places that show a picture
        (f'<img data-src="{WRAPPED}" data-original="{WRAPPED}">', f'<img data-src="{O1}" data-original="{O1}">'),
        (f'<div data-bg="{WRAPPED}"></div>', f'<div data-bg="{O1}"></div>'),
        (f'<video poster="{WRAPPED}"></video>', f'<video poster="{O1}"></video>'),
        (f'<table background="{WRAPPED}">', f'<table background="{O1}">'),
        (f'<svg><image xlink:href="{WRAPPED}"/></svg>', f'<svg><image xlink:href="{O1}"/></svg>'),
        (f'<meta property="og:image" content="{WRAPPED}">', f'<meta property="og:image" content="{O1}">'),
        (f'<meta content="{WRAPPED}" name=twitter:image>', f'<meta content="{O1}" name=twitter:image>'),
        (f'<link rel="shortcut icon" href="{WRAPPED}">', f'<link rel="shortcut icon" href="{O1}">'),
        (f'<link rel=preload as=image href="{WRAPPED}">', f'<link rel=preload as=image href="{O1}">'),
        (f'<input type=image src="{WRAPPED}">', f'<input type=image src="{O1}">'),
        (f'<noscript><img src="{WRAPPED}"></noscript>', f'<noscript><img src="{O1}"></noscript>'),
        (f'<amp-img src="{WRAPPED}"></amp-img>', f'<amp-img src="{O1}"></amp-img>'),
        # srcset: commas inside addresses belong to them
        (f'<img srcset="{WRAPPED} 1x, {W2} 2x">', f'<img srcset="{O1} 1x, {O2} 2x">'),
        (f'<source srcset="{W2}, {WRAPPED} 100w,">', f'<source srcset="{O2}, {O1} 100w,">'),
        (f'<source srcset=" ,{W2} (a,b) 1x,{WRAPPED}">', f'<source srcset=" ,{O2} (a,b) 1x,{O1}">'),
        (f'<img srcset="data:a/b;base64,AA 1x, {WRAPPED} 2x">', f'<img srcset="data:a/b;base64,AA 1x, {O1} 2x">'),
        (f'<img srcset="{amp(W2)} 2x">', f'<img srcset="{amp(O2)} 2x">'),
        # CSS
        (f'<p style="background:url({WRAPPED}) no-repeat">', f'<p style="background:url({O1}) no-repeat">'),
        (f"<p style=\"background:url( '{WRAPPED}' )\">", f"<p style=\"background:url( '{O1}' )\">"),
        (f'<p style="background:url(&quot;{amp(W2)}&quot;)">', f'<p style="background:url(&quot;{amp(O2)}&quot;)">'),
        (f"<p style='a:URL({WRAPPED}?\\(1\\))'>", f"<p style='a:URL({O1}?\\(1\\))'>"),
        (f"<style>b{{c:url({WRAPPED}),url('{W2}')}}</style>", f"<style>b{{c:url({O1}),url('{O2}')}}</style>"),
        (
            f'<style>b{{c:url("{WRAPPED}")}}d{{e:url("{W2}")}}</style>',
            f'<style>b{{c:url("{O1}")}}d{{e:url("{O2}")}}</style>',
        ),
        (f'<style>b{{c:image-set("{WRAPPED}" 1x)}}</style>', f'<style>b{{c:image-set("{O1}" 1x)}}</style>'),
        # links: the original
        (f'<a href="{WRAPPED}">', f'<a href="{ours(preset="original")}">'),
        (f'<a href="{WRAPPED}?x"><img src="{WRAPPED}?x"></a>',
         f'<a href="{ours(SOURCE + "?x", "original")}"><img src="{O1}?x"></a>'),
    ],
)  # fmt: skip
def test_html_address_is_rewritten_in_its_own_spelling(before: str, after: str) -> None:
    """Only the address changes, and it is spelled as its place spells addresses."""
    assert text(before, kind="html") == after
    assert text(f"{before}\n", kind="markdown") == f"{after}\n"


@pytest.mark.parametrize(
    "article",
    [
        f'<pre><img src="{WRAPPED}"></pre>',
        f'<code><img src="{WRAPPED}"></code>',
        f'<!-- <img src="{WRAPPED}"> -->',
        f'<!-- a -- > <img src="{WRAPPED}"> --!>',
        f"<script>var a = '<img src=\"{WRAPPED}\">';</script>",
        f'<script><!-- <script> </script> <img src="{WRAPPED}"> </script>',
        f'<textarea><img src="{WRAPPED}"></textarea>',
        f'<xmp><img src="{WRAPPED}"></xmp>',
        f'<![CDATA[ > <img src="{WRAPPED}"> ]]>',
        f'<? <img src="{WRAPPED}',
        f'<style>/* url({WRAPPED}) */ b{{content:"{WRAPPED}"}}</style>',
        f'<script src="{WRAPPED}"></script>',
        f'<iframe src="{WRAPPED}"></iframe>',
        f'<link rel=stylesheet href="{WRAPPED}">',
        f'<style>@import url("{WRAPPED}");</style>',
        f"<style>@font-face{{src:url({WRAPPED}.woff2)}}</style>",
        f'<embed src="{WRAPPED}"><object data="{WRAPPED}"></object>',
        '<a href="https://cors.zfour.workers.dev/?http://h.example/page.html">',
    ],
)
def test_html_place_that_shows_no_picture_is_left_and_reported(article: str) -> None:
    """Code, comments, scripts and other things than pictures stay, and are reported as left on purpose."""
    result = rewrite(article, kind="html")
    assert result.data == article.encode()
    assert result.left
    assert all(item.on_purpose for item in result.left)
    assert not result.pictures


@pytest.mark.parametrize(
    "article",
    [
        f"<p>{WRAPPED}</p>",
        f'<p title="{WRAPPED}">',
        f'<img alt="{WRAPPED}">',
        f'<img src="{WRAPPED}',
        f'<form action="{WRAPPED}">',
        f'<meta name="description" content="{WRAPPED}">',
        f'<img data-foo="{WRAPPED}">',
    ],
)
def test_html_place_that_nobody_knows_is_left_for_a_person(article: str) -> None:
    """Text and attributes that no rule names may show a picture, by a script or to a reader."""
    result = rewrite(article, kind="html")
    assert result.data == article.encode()
    assert [item.on_purpose for item in result.left] == [False]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"<img src={WRAPPED}?a=1&b=2>", f"<img src={O1}?a=1&b=2>"),
        (f"<img src={WRAPPED}?a=1&lt=2>", f"<img src={O1}?a=1&lt=2>"),
        ("<img src=https://cors.io/?http%3A%2F%2Fh%2Fa%3Fb%3D1>", f"<img src={ours('http://h/a')}?b&#61;1>"),
    ],
)
def test_html_unquoted_value_keeps_equals_signs_that_stood_there(before: str, after: str) -> None:
    """Only where there was none they are spelled out: Markdown's readers take no tag with one."""
    assert text(before, kind="html") == after


@pytest.mark.parametrize(
    "article",
    [
        '<img src="data:image/png;base64,AAAA"><img src="blob:https://h/1">',
        '<img src="/local.png"><img src="local.png"><a href="#x">',
        '<img src="https://cors.zfour.workers.dev/">',
        f'<img src="{ours()}"><img src="//img.example.org/image/w=5/{SOURCE}">',
        f'<img src="{BASE}/?{SOURCE}"><img src="{BASE}/static/logo.png">',
    ],
)
def test_html_address_that_is_not_wrapped_is_not_mentioned(article: str) -> None:
    """Local addresses, data, and our own addresses are neither changed nor reported."""
    result = rewrite(article, kind="html")
    assert (result.data, result.left) == (article.encode(), ())


@pytest.mark.parametrize(
    ("types", "article"),
    [
        (("text/css",), f'<link rel=stylesheet href="{WRAPPED}">'),
        (("text/css",), f'<style>@import "{WRAPPED}";</style>'),
        (("text/*",), f'<script src="{WRAPPED}"></script>'),
        (("font/woff2",), f"<style>@font-face{{src:url({WRAPPED}.woff2)}}</style>"),
        (("font/*",), f'<link rel=preload as=font href="{WRAPPED}">'),
        (("video/mp4",), f'<video src="{WRAPPED}"></video>'),
        (("audio/*",), f'<audio><source type="audio/ogg" src="{WRAPPED}"></audio>'),
        (("*/*",), f'<iframe src="{WRAPPED}"></iframe>'),
    ],
)
def test_html_asset_is_rewritten_when_its_type_is_admitted(types: tuple[str, ...], article: str) -> None:
    """`fetch.types` decides about style sheets, scripts, fonts, film and sound."""
    expected = article.replace(WRAPPED, ours(preset="original"))
    assert text(article, kind="html", types=types) == expected
    assert text(article, kind="html", types=("image/*",)) == article


def test_html_in_pieces_keeps_its_state_through_markdown() -> None:
    """A `<pre>` that is open over a blank line still is code. After it, pictures are rewritten again."""
    article = f"<div><pre>\n\n![]({WRAPPED})\n\n</pre></div>\n\n![]({WRAPPED})\n"
    result = rewrite(article)
    assert [item.line for item in result.replaced] == [7]


def test_html_of_a_service_with_an_ambiguous_address_is_left_for_a_person() -> None:
    """An address that would have to be guessed is reported as not left on purpose."""
    result = rewrite('<img src="https://wsrv.nl/?url=http://h/a?x=1&file=2">', kind="html")
    assert not result.replaced
    assert [item.on_purpose for item in result.left] == [False]


def test_unknown_worker_is_reported_for_the_configuration() -> None:
    """A worker's form on an unlisted host is not opened. Listing the host opens it."""
    article = f'<img src="https://cors.someone.workers.dev/?{SOURCE}">'
    assert "rewrite.wrappers" in rewrite(article, kind="html").left[0].reason
    config = RewriteConfig(wrappers=("https://cors.someone.workers.dev/?",))
    assert text(article, kind="html", config=config) == f'<img src="{ours()}">'


PREVIEWS = ["og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src"]


@pytest.mark.parametrize("name", PREVIEWS)
@pytest.mark.parametrize("ending", [".svg", ".SVG", ".svgz", ".svg?v=1.png"])
def test_svg_of_a_preview_is_asked_for_as_png(name: str, ending: str) -> None:
    """Readers of previews show no SVG, and many send no Accept."""
    source = "http://h.example/logo" + ending
    before = f'<meta property="{name}" content="https://cors.zfour.workers.dev/?{source}">'
    after = f'<meta property="{name}" content="{BASE}/image/content,format=png/{source}">'
    assert rewrite(before).data.decode() == after


@pytest.mark.parametrize(
    "before",
    [
        '<meta property="og:image" content="{}a.png">',
        '<meta property="og:image" content="{}svg">',
        '<meta property="og:image" content="{}a.png?b.svg">',
        '<meta name="thumbnail" content="{}a.svg">',
        '<link rel="icon" href="{}a.svg">',
        '<img src="{}a.svg">',
    ],
)
def test_no_format_is_named_elsewhere(before: str) -> None:
    after = rewrite(before.format("https://cors.zfour.workers.dev/?http://h.example/")).data.decode()
    assert after == before.format(f"{BASE}/image/content/http://h.example/")
