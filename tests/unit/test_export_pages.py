"""Pages of an exported site: pictures in every format and width, addresses that work from a folder."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from exporting import MIRROR, OURS, SOURCE, export, exporter
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import RewriteConfig
from proxy.rewrite.exporting.reading import FOREIGN_BASE, NO_FILE
from proxy.rewrite.markup.htmlscan import SPEAKING, HtmlScanner, StyleSheet

WRAPPED = f"https://cors.zfour.workers.dev/?{SOURCE}"
SIZES = 'sizes="(max-width: 640px) 100vw, 640px"'
SOURCES = "".join(
    f'<source type="image/{name}" srcset="imgmirror/a320.{name} 320w, imgmirror/a640.{name} 640w" {SIZES}>'
    for name in ("avif", "webp")
)
IMG = f'<img srcset="imgmirror/a320.jpg 320w, imgmirror/a640.jpg 640w" {SIZES}'
OPEN = '<picture style="display:contents">'


def page(text: str, path: str = "index.html", **words: Any) -> str:
    return export(text, path, **words).data.decode()


@pytest.mark.parametrize("address", [OURS, WRAPPED, SOURCE, "//h.example/a.png", f"/image/content/{SOURCE}"])
def test_picture_of_any_kind_of_address_stands_in_every_format_and_width(address: str) -> None:
    written = page(f'<p><img src="{address}" alt="a &amp; b"></p>')
    assert written == f'<p>{OPEN}{SOURCES}{IMG} src="imgmirror/a640.jpg" alt="a &amp; b"></picture></p>'


@pytest.mark.parametrize(
    "path",
    [
        "imgproxy/_/w:300/plain/http://h.example/a.png",
        "thumbor/unsafe/300x0/http://h.example/a.png",
        "imagor/unsafe/300x0/http://h.example/a.png",
        "wsrv/?url=h.example/a.png&w=300",
        "cdn-cgi/image/width=300/http://h.example/a.png",
        "imageproxy/300x/http://h.example/a.png",
        "photon/h.example/a.png?w=300",
        "camo/0123456789abcdef0123456789abcdef01234567/687474703a2f2f682e6578616d706c652f612e706e67",
        "_next/image?url=http%3A%2F%2Fh.example%2Fa.png&w=300&q=75",
        "_ipx/w_300/http://h.example/a.png",
        "cors/http://h.example/a.png",
    ],
)
@pytest.mark.parametrize("base", [f"{MIRROR}/", "/"])
def test_picture_in_the_grammar_of_another_proxy_that_the_mirror_answers_is_taken(
    path: str, base: str
) -> None:
    written = page(f'<img src="{base}{path}">')
    assert f'{IMG} src="imgmirror/a640.jpg"' in written


def test_picture_of_a_deep_page_is_reached_from_there() -> None:
    assert 'src="../../imgmirror/a640.jpg"' in page(f'<img src="{OURS}">', "posts/x/index.html")


def test_signature_and_other_spelling_change_nothing() -> None:
    signed = OURS.replace("/content/", "/content,sig=abc/").replace("https://img", "HTTPS://IMG")
    assert page(f"<img src='{signed}'>") == page(f"<img src='{OURS}'>")


def test_srcset_keeps_its_widths_and_sizes() -> None:
    value = f"{MIRROR}/image/width=320/{SOURCE} 320w,\n {MIRROR}/image/width=640/http://h.example/b.png 640w"
    written = page(f'<img srcset="{value}" sizes="50vw" src="{OURS}">')
    for name, extension in (("avif", "avif"), ("webp", "webp")):
        srcset = f"imgmirror/a640.{extension} 320w,\n imgmirror/b640.{extension} 640w"
        assert f'<source type="image/{name}" srcset="{srcset}" sizes="50vw">' in written
    assert (
        '<img srcset="imgmirror/a640.jpg 320w,\n imgmirror/b640.jpg 640w" sizes="50vw" src="imgmirror/a640.jpg">'
        in written
    )


def test_srcset_with_a_file_of_the_site_has_no_sources_and_points_at_files() -> None:
    written = page(f'<img srcset="{OURS} 2x, /img/l.png 1x" src="/img/l.png">')
    assert written == '<img srcset="imgmirror/a640.webp 2x, img/l.png 1x" src="img/l.png">'


def test_empty_srcset_counts_as_none() -> None:
    assert f'{IMG} srcset="" src=' in page(f'<img srcset="" src="{OURS}">')


def test_dead_candidate_keeps_its_address() -> None:
    dead = "http://h.example/dead.png"
    written = page(f'<img srcset="{OURS} 1x, {dead} 2x" src="{dead}">', dead=[dead])
    assert written == f'<img srcset="imgmirror/a640.webp 1x, {dead} 2x" src="{dead}">'


def test_picture_element_gets_more_sources() -> None:
    written = page(
        f'<picture><source media="(min-width:9px)" type="image/webp" srcset="{OURS}"><img src="{OURS}"/></picture>'
    )
    first = "".join(
        f'<source type="image/{name}" srcset="imgmirror/a640.{name}" media="(min-width:9px)">'
        for name in ("avif", "webp")
    )
    own = '<source media="(min-width:9px)" type="image/jpeg" srcset="imgmirror/a640.jpg">'
    sources = SOURCES.replace('">', '"/>')
    assert written == f'<picture>{first}{own}{sources}{IMG} src="imgmirror/a640.jpg"/></picture>'


def test_picture_that_a_script_loads_gets_one_file() -> None:
    """Its script sets `src`. A `<source>` around it would show the picture at once and ignore the script."""
    written = page(
        f'<img class=lazy src="/img/l.png" data-src="{OURS}"><img src="{OURS}" data-original="{OURS}">'
    )
    assert written == (
        '<img class=lazy src="img/l.png" data-src="imgmirror/a640.webp">'
        '<img src="imgmirror/a640.webp" data-original="imgmirror/a640.webp">'
    )


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ('<p style="background:url(&quot;{}&quot;)">', '<p style="background:url(&quot;imgmirror/a640.webp&quot;)">'),
        ("<style>a{{b:url({})}}</style>", "<style>a{b:url(imgmirror/a640.webp)}</style>"),
        ('<video poster="{}">', '<video poster="imgmirror/a640.webp">'),
        ('<body background="{}">', '<body background="imgmirror/a640.webp">'),
        ('<svg><image href="{}"/></svg>', '<svg><image href="imgmirror/a640.webp"/></svg>'),
        ('<link rel=icon type="image/png" href="{}">', '<link rel=icon type="image/jpeg" href="imgmirror/a640.jpg">'),
        ('<link rel=preload as=image href="{}">', '<link rel=preload as=image href="imgmirror/a640.webp">'),
        ('<meta property="og:image" content="{}">', '<meta property="og:image" content="imgmirror/a640.jpg">'),
        ('<a href="{}">', '<a href="imgmirror/a640.jpg">'),
    ],
)  # fmt: skip
def test_place_that_takes_one_address_gets_one_file(place: str, expected: str) -> None:
    assert page(place.format(OURS)) == expected


def test_previews_and_linked_data_have_the_address_of_the_site() -> None:
    text = (
        f'<meta property="og:image" content="{OURS}">'
        f'<script type="application/ld+json">{{"image": "{OURS.replace("/", chr(92) + "/")}"}}</script>'
    )
    written = page(text, "posts/y.html", site_url="https://blog.example/")
    assert 'content="https://blog.example/imgmirror/a640.jpg"' in written
    assert r'"image": "https:\/\/blog.example\/imgmirror\/a640.jpg"' in written


def test_picture_in_code_markup_is_shown_and_taken() -> None:
    assert OPEN in page(f"<pre><code><img src={OURS}></code></pre>")


def test_live_pictures_that_the_configuration_names_stay() -> None:
    config = RewriteConfig(ignore=("http://h.example/",))
    assert page(f'<img src="{SOURCE}">', config=config) == f'<img src="{SOURCE}">'
    assert OPEN in page(f'<img src="{OURS}">', config=config)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/", "../../index.html"),
        ("/posts/x/?a=1&amp;b=2#top", "../../posts/x/index.html?a=1&amp;b=2#top"),
        ("/posts/y", "../../posts/y.html"),
        ("../x/", "../x/index.html"),
        ("/css/a.css", "../../css/a.css"),
        ("/posts/../css/a.css", "../../css/a.css"),
        ("/a%20b/%C3%BC.html", "../../a%20b/%C3%BC.html"),
        ("/a b/ü.html", "../../a b/ü.html"),
        ("#top", "#top"),
        ("?q=1", "?q=1"),
        ("mailto:a@b", "mailto:a@b"),
        ("https://other.example/", "https://other.example/"),
        ("/api/", "/api/"),
        ("/../../etc/passwd", "/../../etc/passwd"),
    ],
)
def test_link_to_a_file_of_the_site_works_from_a_folder(before: str, after: str) -> None:
    assert page(f'<a href="{before}">', "posts/x/index.html") == f'<a href="{after}">'


@pytest.mark.parametrize("encoding", ["utf-8", "gbk"])
@pytest.mark.parametrize("address", ["/图/缺.png", f"{MIRROR}/image/nonsense/图.png"])
def test_address_that_stays_is_named_as_a_reader_writes_it(encoding: str, address: str) -> None:
    """It is not shown as the bytes of its encoding."""
    text = f'<!doctype html><meta charset={encoding}><img src="{address}">'
    assert [item.text for item in export(text.encode(encoding)).left] == [address]


@pytest.mark.parametrize(
    "markup",
    [
        '<script src="{}">',
        '<form action="{}">',
        '<iframe src="{}">',
        '<link rel=next href="{}">',
        "<a href={}>",
    ],
)
def test_every_kind_of_link_works_from_a_folder(markup: str) -> None:
    assert page(markup.format("/posts/x/")) == markup.format("posts/x/index.html")


def test_link_to_no_file_stays_and_is_named() -> None:
    left = export('<a href="/api/">').left
    assert [(item.text, item.reason, item.on_purpose) for item in left] == [("/api/", NO_FILE, True)]


def test_own_address_with_its_host_is_the_sites_where_that_is_known() -> None:
    canonical = '<link rel=canonical href="https://b.example/blog/">'
    text = f'<a href="https://b.example/blog/posts/x/"><img src="//b.example/blog/img/l.png">{canonical}'
    assert page(text, site_url="https://b.example/blog/") == text.replace(
        "https://b.example/blog/posts/x/", "posts/x/index.html"
    ).replace("//b.example/blog/img/l.png", "img/l.png")
    assert page('<a href="/blog/posts/y">', site_url="https://b.example/blog") == '<a href="posts/y.html">'


def test_base_leads_to_the_same_folder_from_anywhere() -> None:
    text = f'<base href="/"><a href="posts/x/">x</a><img src="{OURS}">'
    written = page(text, "posts/x/index.html")
    assert written.startswith('<base href="../../"><a href="posts/x/index.html">x</a>')
    assert 'src="imgmirror/a640.jpg"' in written
    assert '<base href="./">' in page('<base href="https://b.example/">')


def test_page_with_the_base_of_another_site_is_not_changed() -> None:
    text = f'<base href="https://other.example/blog/"><img src="{OURS}">'
    result = export(text, site_url="https://b.example")
    assert (result.data.decode(), result.left[0].reason, result.left[0].on_purpose) == (
        text,
        FOREIGN_BASE,
        False,
    )


def test_what_keeps_files_beside_the_page_from_loading_is_taken_out() -> None:
    script = "<script crossorigin=anonymous src=https://cdn.example/a.js integrity=sha256-x></script>"
    sheet = '<link href="/css/a.css" rel="stylesheet" integrity="sha256-x" crossorigin>'
    assert page(sheet + script) == '<link href="css/a.css" rel="stylesheet">' + script
    assert "crossorigin" not in page(f'<img crossorigin src="{OURS}">')


def test_page_for_missing_pages_has_whole_addresses_where_they_are_known() -> None:
    """Hosts answer it at any depth."""
    text = f'<link rel=stylesheet href="/blog/css/a.css"><img src="{OURS}">'
    written = page(text, "404.html", site_url="https://b.example/blog")
    assert 'href="https://b.example/blog/css/a.css"' in written
    assert 'src="https://b.example/blog/imgmirror/a640.jpg"' in written
    assert 'href="css/a.css"' in page(text.replace("/blog", ""), "404.html")


def test_redirecting_page_leads_to_the_file() -> None:
    text = '<meta http-equiv="refresh" content="0; url=/posts/x/">'
    assert page(text, "old/index.html") == text.replace("/posts/x/", "../posts/x/index.html")


def test_address_of_ours_in_a_script_is_named() -> None:
    left = export(f'<p>\n<script>var a = "{OURS}"</script>').left
    assert [(item.line, "place that is not read" in item.reason) for item in left] == [(2, True)]


def test_page_in_another_encoding_keeps_every_byte() -> None:
    text = '<meta charset="gbk"><p>图片\\</p><img alt="图" src="%s">' % OURS  # noqa: UP031 - braces in bytes
    written = export(text.encode("gbk")).data
    assert written.decode("gbk").startswith('<meta charset="gbk"><p>图片\\</p>' + OPEN)
    assert export(text.encode("utf-16")).data == text.encode("utf-16")


@given(st.text(alphabet=st.sampled_from("<>\"'=/ aimgsrcpt\n&;:{}%(),." + "\u56fe"), max_size=200))
def test_any_bytes_are_exported_without_a_fault_and_nothing_is_lost(text: str) -> None:
    """Text without foreign addresses stays unchanged, whatever its markup."""
    kinds: tuple[Literal["html", "css", "xml", "json"], ...] = ("html", "css", "xml", "json")
    for kind in kinds:
        assert exporter(()).export(text.encode(), f"a.{kind}", {}, kind=kind).data == text.encode()


_MARKUP = [
    "<p>",
    "<p",
    "</p>",
    "<a_href=x>",
    "<img_src='y'/>",
    "<",
    ">",
    "/",
    "=",
    "'",
    '"',
    "a",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "<style>",
    "</style_",
    "<svg>",
    "</svg>",
    "<![CDATA[",
    "]]>",
    "<pre>",
    "<p/>",
    "</",
]


@given(
    st.lists(st.sampled_from([*(word.replace("_", " ") for word in _MARKUP), " "]), max_size=30).map("".join)
)
def test_tags_without_attributes_are_passed_over_and_nothing_else(text: str) -> None:
    """Looking only where markup says something finds the same attributes and style sheets."""
    quick, whole = HtmlScanner(), HtmlScanner()
    quick.opening = SPEAKING
    quick.passed = whole.passed = None  # as an export reads pages
    found, expected = (list(scanner.scan(text, 0, len(text))) for scanner in (quick, whole))
    assert found == [
        item for item in expected if isinstance(item, StyleSheet) or item in found or item.attributes
    ]
    assert quick.picture_ends == whole.picture_ends


def test_exported_twice_the_second_copy_equals_the_first() -> None:
    """A copy has only relative addresses of files that are there."""
    text = f'<a href="/posts/x/"><img src="{OURS}"><picture><source srcset="{OURS}"></picture><base href="/">'
    once = export(text, "posts/x/index.html").data
    names = set(re.findall(r"imgmirror/[\w.]+", once.decode()))
    files = {"index.html", "posts/x/index.html", *names}
    assert export(once, "posts/x/index.html", files=files).data == once
