"""Responsive markup: which attributes are added to which `<img>`, and that nothing else changes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from responsive import PHOTO, candidates, enriched, images
from rewriting import BASE, SOURCE, WORKER, WRAPPED, ours

from proxy.dialects import Unwrapper
from proxy.rewrite.attributes.enriching import (
    DYNAMIC,
    JSX,
    NOT_KEPT,
    REFERENCE,
    TAKES_LINES,
    UNCERTAIN_MARKDOWN,
)
from proxy.rewrite.base.kept import Kept
from proxy.rewrite.ondisk.journal import Journal, RewrittenAddress, former_bases, lost, merged, undo
from proxy.rewrite.rewriter import TextKind
from proxy.services.warm.former import with_former_wrappers
from proxy.services.warm.warming import PictureToWarm
from proxy.source import Source

FIRST = '<img src="/local.png">'
IMG = f'<img src="{WRAPPED}">'


def second(html: str, kept: Any = PHOTO, **sections: Any) -> dict[str, str | None]:
    """Return the additions to the second picture of a page, which is lazy."""
    return images(enriched(FIRST + html, kept, **sections).data)[1]


def test_picture_gets_what_its_author_left_out() -> None:
    shown = second(IMG)
    widths = (320, 480, 640, 800, 960)
    assert candidates(shown.pop("srcset")) == {
        width: ours(preset=f"content,width={width}") for width in widths
    }
    assert shown == {
        "src": ours(),
        "sizes": "auto, 100vw",
        "width": "1000",
        "height": "500",
        "loading": "lazy",
        "decoding": "async",
        "style": "height:auto;background-color:#aabbcc",
    }


@pytest.mark.parametrize("before", ["", "text ![", '<meta property="og:image" content="http://h/a.png">'])
def test_first_picture_is_not_lazy(before: str) -> None:
    """Visitors wait for this picture. Pictures in the head of a page do not count."""
    shown = images(enriched(before + IMG).data)[0]
    assert "loading" not in shown
    assert "decoding" not in shown
    assert shown["sizes"] == "100vw"


@pytest.mark.parametrize(
    "before",
    [
        "![](/local.png)\n\n", f"![]({WRAPPED})\n\n", "![a][b]\n\n[b]: http://h/b.png\n\n", '<img src="http://h/x.png">\n',
        f"{{% image {WRAPPED} %}}\n\n",
    ],
)  # fmt: skip
def test_picture_behind_another_one_of_any_spelling_is_lazy(before: str) -> None:
    found = images(enriched(f"---\ncover: {WRAPPED}\n---\n{before}text {IMG}\n", kind="markdown").data)
    assert found[-1]["loading"] == "lazy"


def test_picture_behind_a_front_matter_picture_is_the_first() -> None:
    """The first picture of the text counts, because not every theme shows the head picture above the article."""
    result = enriched(f"---\ncover: {WRAPPED}\n---\ntext {IMG}\n", kind="markdown")
    assert "loading" not in images(result.data)[0]


@pytest.mark.parametrize(
    ("written", "stays", "added"),
    [
        ('loading="eager"', {"loading": "eager", "sizes": "100vw"}, {"decoding", "srcset"}),
        ("LOADING=LAZY", {"loading": "LAZY", "sizes": "auto, 100vw"}, set()),
        ("decoding=sync", {"decoding": "sync"}, {"loading"}),
        ('srcset="/x.png 2x"', {"srcset": "/x.png 2x"}, {"width"}),
        ('sizes="50vw"', {"sizes": "50vw"}, {"srcset"}),
        ("sizes", {"sizes": None}, {"srcset"}),
        ('width="500"', {"width": "500", "height": "250"}, set()),
        ("width=' 500 '", {"width": " 500 ", "height": "250"}, set()),
        ('height="100"', {"width": "200", "height": "100"}, set()),
        ('width="3" height="9"', {"width": "3", "height": "9"}, set()),
        (
            'style="border:1px solid"',
            {"style": "height:auto;background-color:#aabbcc;border:1px solid", "width": "1000"},
            set(),
        ),
        ('style=""', {"style": "height:auto;background-color:#aabbcc;"}, set()),
        ("style=border:0", {"style": "height:auto;background-color:#aabbcc;border:0"}, {"height"}),
        ('style="background:red"', {"style": "height:auto;background:red"}, {"height"}),
        ('style="BACKGROUND-image : url(x)"', {"style": "height:auto;BACKGROUND-image : url(x)"}, {"height"}),
        ('style="--background:x"', {"style": "height:auto;background-color:#aabbcc;--background:x"}, set()),
        (
            'style="max-width:100%; height: auto"',
            {"style": "background-color:#aabbcc;max-width:100%; height: auto", "height": "500"},
            set(),
        ),
        ('style="height:9px"', {"style": "background-color:#aabbcc;height:9px", "height": None}, set()),
    ],
)
def test_what_the_author_set_stays(written: str, stays: dict[str, str], added: set[str]) -> None:
    for place in (f'<img {written} src="{WRAPPED}" />', f'<img src="{WRAPPED}" {written}>'):
        shown = second(place)
        assert {name: shown.get(name) for name in stays} == stays
        assert added <= shown.keys()


@pytest.mark.parametrize(
    "written",
    [
        'width="50%"', "width=auto", 'height="10em"', 'style="width:50%"', 'style="color:red;max-width: 10px"',
        'style="aspect-ratio:1"', "width", ':width="w"', ':style="s"',
    ],
)  # fmt: skip
def test_size_that_is_no_plain_number_is_left_alone(written: str) -> None:
    shown = second(f'<img src="{WRAPPED}" {written}>')
    assert len({"width", "height"} & shown.keys()) <= written.startswith(("width", "height"))
    assert "srcset" in shown


@pytest.mark.parametrize(
    "tag",
    [
        f"<img src={WRAPPED}>", f"<img src={WRAPPED} />", f"<IMG SRC='{WRAPPED}'/>", f'<img\n src = "{WRAPPED}"\n/>',

        f'<img src="{WRAPPED}"alt="a">', f'<img src="{WRAPPED}" hidden>', f"<img alt='\"' src='{WRAPPED}'>",
        f'<a href="/x"><img src="{WRAPPED}"></a>', f'<img src=" {WRAPPED} ">', f'<img src="{WRAPPED}"/ title=a>',
    ],
)  # fmt: skip
def test_every_spelling_of_a_tag_gets_the_same(tag: str) -> None:
    # CommonMark takes no tag without spaces between its attributes.
    both: tuple[tuple[TextKind, str], ...] = (("html", FIRST), ("markdown", f"text {FIRST} "))
    for kind, before in both[: 1 if '"alt' in tag or '"/ t' in tag else 2]:
        result = enriched(before + tag + "\n", kind=kind)
        shown = images(result.data)[1]
        assert len(candidates(shown["srcset"])) == 5, result.data
        assert (shown["width"], shown["height"], shown["loading"]) == ("1000", "500", "lazy")
        assert result.left == ()


def test_address_with_quotes_and_ampersands_is_escaped_for_its_attribute() -> None:
    source = "http://h.example/a'b.png?x=1&y=2"
    for quote in "'\"":
        wrapped = (WORKER + source).replace("&", "&amp;").replace("'", "&#39;")
        shown = second(f"<img src={quote}{wrapped}{quote}>")
        assert candidates(shown["srcset"])[320] == ours(source, "content,width=320")


def test_source_that_ends_in_a_comma_gets_no_srcset() -> None:
    """After its address, the comma would separate candidates."""
    shown = second(f'<img src="{WORKER}http://h.example/a,">', all_images=False)
    assert "srcset" not in shown
    assert shown["width"] == "1000"


@pytest.mark.parametrize(
    ("options", "kept", "widths", "size"),
    [
        ("content", (4000, 3000), {320: "content,width=320", 1920: "content,width=1920"}, (4000, 3000)),
        ("headimg", (4000, 3000), {320: "headimg,height=168,width=320"}, (1200, 630)),
        ("width=400,quality=50", (1000, 500), {320: "quality=50,width=320", 960: "quality=50,width=960"}, (400, 200)),
        ("fit=cover,height=300,width=300", (1000, 500), {480: "fit=cover,height=480,width=480"}, (300, 300)),
        ("original", (1000, 500), {320: "content,width=320"}, (1000, 500)),
        ("content,width=640", (1000, 500), {320: "content,width=320"}, (640, 320)),
        ("content", (400, 200), {320: "content,width=320", 400: "content"}, (400, 200)),
        ("content", (330, 200), {}, (330, 200)),
        ("content", (100, 100), {}, (100, 100)),
        ("trim=5;5;5;5", (1000, 500), {}, None),
        ("width=400,format=json", (1000, 500), {}, None),
    ],
)  # fmt: skip
def test_candidates_have_the_shape_of_the_picture_and_true_widths(
    options: str, kept: tuple[int, int], widths: dict[int, str], size: tuple[int, int] | None
) -> None:
    """No candidate is wider than the original, none is enlarged, and none is cut differently from `src`."""
    shown = second(f'<img src="{ours(preset=options)}">', Kept(*kept))
    found = candidates(shown.get("srcset"))
    assert {width: found.get(width) for width in widths} == {
        width: ours(preset=text) for width, text in widths.items()
    }
    assert bool(found) == bool(widths)
    assert all(width <= kept[0] for width in found)
    given = (shown.get("width"), shown.get("height"))
    assert given == ((str(size[0]), str(size[1])) if size else (None, None))


def test_where_only_presets_are_admitted_candidates_are_presets_with_widths() -> None:
    presets: dict[str, Any] = {"sources": {"transforms": "presets"}}
    html = f'<img src="{WRAPPED}"><img src="https://wsrv.nl/?url={SOURCE}&w=300">'
    found = [images(enriched(FIRST + html, **presets).data)[number]["srcset"] for number in (1, 2)]
    assert candidates(found[0])[320] == ours(preset="content,width=320")
    assert candidates(found[1]) == {
        width: ours(preset=f"width={width}") for width in (320, 480, 640, 800, 960)
    }
    # A width alone would show another part of it.
    assert "srcset" not in second(f'<img src="{ours(preset="headimg")}">', **presets)


def test_candidates_are_signed_where_there_are_keys() -> None:
    keys: dict[str, Any] = {"sources": {"keys": ["0123456789abcdef"]}}
    found = candidates(second(IMG, **keys)["srcset"])
    assert len({address.partition(",sig=")[2].partition("/")[0] for address in found.values()}) == 5
    assert enriched(enriched(IMG, **keys).data, **keys).changes == ()


def test_address_that_ends_gets_no_candidates_that_outlive_it() -> None:
    assert "srcset" not in second(f'<img src="{BASE}/image/content,exp=99/{SOURCE}">')


@pytest.mark.parametrize("kept", [Kept(1000, 500, resizes=False), Kept(24, 24, resizes=False)])
def test_picture_that_does_not_resize_gets_its_size_only(kept: Kept) -> None:
    """An SVG scales by itself, and a picture that is damaged or beyond the limits has no variants."""
    shown = second(IMG, kept)
    assert (shown["width"], shown["height"]) == (str(kept.width), str(kept.height))
    assert not {"srcset", "sizes"} & shown.keys()
    assert shown["style"] == "height:auto"


def test_picture_that_is_not_kept_gets_nothing_and_is_reported() -> None:
    result = enriched(FIRST + IMG, {})
    assert images(result.data)[1] == {"src": ours()}
    assert [(item.reason, item.context, item.on_purpose) for item in result.left] == [
        (NOT_KEPT, "img src", True)
    ]
    # Its author left nothing out.
    full = f'<img src="{WRAPPED}" width=1 height=1 srcset="x" loading=lazy decoding=async>'
    assert enriched(FIRST + full, {}).left == ()


def test_pictures_in_a_picture_element_keep_their_sources() -> None:
    """The author's `<source>` decides; one that names media may have another shape."""
    plain = f'<picture><source srcset="/x.webp"><img src="{WRAPPED}"></picture>{IMG}'
    found = images(enriched(FIRST + plain).data)
    assert found[1].keys() == {"src", "width", "height", "loading", "decoding", "style"}
    assert "srcset" in found[2]
    directed = f'<picture><source srcset="/x.webp" media="(min-width: 9px)"><img src="{WRAPPED}"></picture>'
    assert images(enriched(FIRST + directed).data)[1].keys() == {"src", "loading", "decoding"}


@pytest.mark.parametrize(
    ("html", "kind", "reason"),
    [
        (f'<img src="{WRAPPED}" {{{{ attributes }}}}>', "html", DYNAMIC),
        (f'<img src="{WRAPPED}" alt="<%= x %>">', "html", DYNAMIC),
        (f'text <img src="{WRAPPED}" />', "mdx", JSX),
    ],
)
def test_tag_of_a_template_or_of_jsx_is_left_and_reported(html: str, kind: TextKind, reason: str) -> None:
    result = enriched(html, kind=kind)
    assert result.added == ()
    assert [item.reason for item in result.left] == [reason]


@pytest.mark.parametrize(
    "html",
    [
        f"<pre>{IMG}</pre>", f"<!-- {IMG} -->", f"<script>'{IMG}'</script>", f'<img data-src="{WRAPPED}">',
        f'<img src="/spinner.gif" data-src="{WRAPPED}">', f'<img src="{SOURCE}">', f"<image href='{WRAPPED}'/>",
        f'<amp-img src="{WRAPPED}">', "<img>", "<img src>", f'<img alt="{WRAPPED}">',
    ],
)  # fmt: skip
def test_what_does_not_show_our_picture_in_its_src_gets_nothing(html: str) -> None:
    assert enriched(FIRST + html).added == ()


def test_ignored_addresses_get_nothing() -> None:
    assert enriched(IMG, rewrite={"ignore": [WORKER]}).changes == ()
    assert enriched(f'<img src="{ours()}">', rewrite={"ignore": [BASE]}).changes == ()


def test_sizes_of_the_configuration_are_written() -> None:
    sizes = "(max-width: 800px) 100vw, 760px"
    html = enriched(IMG + IMG, rewrite={"sizes": sizes, "widths": [100, 200]}).data
    assert [one["sizes"] for one in images(html)] == [sizes, f"auto, {sizes}"]
    assert list(candidates(images(html)[0]["srcset"])) == [100, 200, 1000]


# Markdown's images

TO_HTML: dict[str, Any] = {"kind": "markdown", "rewrite": {"markdown_images": True}}


def test_markdown_images_stay_markdown_unless_the_configuration_wants_tags() -> None:
    article = f"![a]({WRAPPED})\n"
    assert enriched(article, kind="markdown").data.decode() == f"![a]({ours()})\n"
    assert enriched(article, **TO_HTML).data.startswith(b"<p><img src=")
    assert enriched(article, kind="mdx", rewrite={"markdown_images": True}).data.startswith(b"![a](")


@pytest.mark.parametrize(
    "article",
    [
        "![a *b* `c` \\* &amp; \"q\"]({} \"a 't' & u\")\n", "text ![]({}) text\n", "[![a](<{}>)](http://x/y)\n",
        "- ![a]({})\n- b\n", "1. ![a]({})\n\n   text\n", "> ![a]({})\n\ntext\n", "| a |\n|---|\n| ![a\\|b]({}) |\n",
        "# ![a]({})\n", "text\n![a]({})\nmore\n", "![a]({}) text *em*\n", "![a]({}) ![b](/x.png)\n", "*![a]({})*\n",
        "![a]({})", "![图 a]({})\n\ntext\n", "a\n\n![a]({})\n\n- b\n", "![a]({} (title))\n", "x ![a [b] c]({}) y\n",
        "![a `b]({}) and c\n",
    ],
)  # fmt: skip
def test_markdown_image_as_a_tag_is_rendered_as_it_was(article: str) -> None:
    """Markdown-it makes the same page of both, except for the added attributes."""
    parser = MarkdownIt("commonmark").enable("table")
    result = enriched(article.format(WRAPPED), **TO_HTML)
    assert b"<img" in result.data, result.left
    before, after = (parser.render(text) for text in (article.format(ours()), result.data.decode()))
    plain = re.sub(r' (?:srcset|sizes|width|height|style|loading|decoding)="[^"]*"', "", after)
    assert normal(plain) == normal(before)
    entries = merged([], article.format(WRAPPED).encode(), replaced=result.changes, new_data=result.data)
    assert undo(result.data, entries) == (article.format(WRAPPED).encode(), [])
    assert enriched(result.data, **TO_HTML).changes == ()


def normal(page: str) -> list[Any]:
    """Return a page as an independent parser sees it."""
    parser = _Events()
    parser.feed(page.replace(" />", ">"))
    return [item for item in parser.events if item != "\n"]


class _Events(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.events.append((tag, sorted(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.events.append(tag)

    def handle_data(self, data: str) -> None:
        self.events.append(data if data.strip() else "\n")


@pytest.mark.parametrize(
    ("article", "reason"),
    [
        (f"![a]({WRAPPED})\n# Heading\n", TAKES_LINES), (f"![a]({WRAPPED})\ntext\n", TAKES_LINES),
        (f"![a]({WRAPPED})\n===\n", TAKES_LINES), (f"- ![a]({WRAPPED})\n  - b\n", TAKES_LINES),
        (f"text ![a\nb]({WRAPPED})\n", UNCERTAIN_MARKDOWN), (f"![a][r]\n\n[r]: {WRAPPED}\n", REFERENCE),
        (f"![a]({BASE}/image/content,exp=9/{SOURCE})\n", UNCERTAIN_MARKDOWN),
    ],
)  # fmt: skip
def test_markdown_image_that_would_change_the_text_around_it_stays_and_is_reported(
    article: str, reason: str
) -> None:
    result = enriched(article, **TO_HTML)
    assert b"<img" not in result.data
    assert [item.reason for item in result.left] == [reason]
    (left,) = enriched(f"![a]({WRAPPED})\n", {}, **TO_HTML).left
    assert left.reason == NOT_KEPT


def test_former_wrapper_of_a_markdown_image_that_became_a_tag_is_remembered(tmp_path: Path) -> None:
    """Its journal contains the whole image, and `warm --recover` finds the wrapper in it."""
    article = f"![a [b](c) d]({WRAPPED} 'title')\n".encode()
    result = enriched(article, **TO_HTML)
    path = tmp_path / "a.md"
    path.write_bytes(result.data)
    entries = merged([], article, replaced=result.changes, new_data=result.data)
    Journal(tmp_path).write(path, entries)
    assert former_bases([tmp_path]) == [BASE]
    (work,) = with_former_wrappers([PictureToWarm(Source.parse(SOURCE), (), ())], [path], Unwrapper(()))
    assert [source.url for source in work.written] == [WRAPPED]


# Laws

PIECES = st.sampled_from(
    [
        "<img src=", '"', "'", WRAPPED, ours(), ours(preset="width=300"), SOURCE, " ", ">", "/>", "\n", "\n\n",
        "> ", "- ",
        ' style="', "width:3px", "color:red", ' width="5"', " height=5", " loading=lazy", ' srcset="', "<picture>",
        "</picture>", '<source media="x">', "<pre>", "</pre>", "![", "](", ")", "|", "|-|\n", "<IMG ", "SRC=", " alt",
        "=", "{{ x }}", "<!--", "-->", "`", "[x](", "&amp;", "text", IMG, FIRST, "https://wsrv.nl/?url=h.org/a&w=9",
        ",",
        "https://old.example/image/content/http://h/a", "図", "\xff",
    ]
)  # fmt: skip
ARTICLES = st.lists(PIECES | st.just(IMG), max_size=18).map(
    lambda parts: "".join(parts).encode("utf-8", "replace")
)
KINDS = st.sampled_from(["html", "markdown", "mdx"])
KEPT = st.sampled_from([PHOTO, Kept(2000, 3000), Kept(64, 64, resizes=False)])
FORMER: dict[str, Any] = {"rewrite": {"former_urls": ["https://old.example"], "markdown_images": True}}


@pytest.mark.slow
@given(ARTICLES, KINDS, KEPT)
@settings(max_examples=400)
def test_only_the_listed_places_change(article: bytes, kind: TextKind, kept: Kept) -> None:
    result = enriched(article, kept, kind=kind, **FORMER)
    pieces, position = [], 0
    for item in result.changes:
        assert item.start >= position
        assert article[item.start : item.end] == item.old
        pieces += [article[position : item.start], item.new]
        position = item.end
    assert b"".join([*pieces, article[position:]]) == result.data


@pytest.mark.slow
@given(ARTICLES, KINDS, KEPT)
@settings(max_examples=400)
def test_twice_is_once(article: bytes, kind: TextKind, kept: Kept) -> None:
    once = enriched(article, kept, kind=kind, **FORMER)
    assert enriched(once.data, kept, kind=kind, **FORMER).changes == ()


@pytest.mark.slow
@given(ARTICLES, KINDS, KEPT, st.booleans())
@settings(max_examples=400)
def test_undo_gives_the_bytes_back_after_further_runs(
    article: bytes, kind: TextKind, kept: Kept, plain_first: bool
) -> None:
    """A plain run before, then responsive markup, then a move to another base: one way back."""
    data, entries = article, list[RewrittenAddress]()
    runs: list[tuple[str, Kept | dict[str, Kept]]] = [(BASE, kept), ("https://new.example", kept)]
    for base, known in [(BASE, {}), *runs] if plain_first else runs:
        former: dict[str, Any] = {
            "rewrite": {"former_urls": ["https://old.example", BASE], "markdown_images": True}
        }
        result = enriched(data, known, kind=kind, base=base, **former)
        entries = merged(entries, data, replaced=result.changes, new_data=result.data)
        data = result.data
    assert undo(data, entries) == (article, [])


def test_author_comes_first_in_every_tag() -> None:
    """Where our reading and a browser's should differ, the author's attribute counts."""
    for item in enriched(FIRST + IMG + f'<img src="{WRAPPED}" alt="x" title="y">').added:
        assert item.new.startswith(b" ")


def test_addition_that_was_edited_away_is_lost_and_one_never_written_is_not() -> None:
    article = f'<p>{FIRST} some text before <img src="{ours()}" alt="a picture"> and after</p>'.encode()
    result = enriched(article)
    entries = merged([], article, replaced=result.changes, new_data=result.data)
    edited = result.data.replace(b'loading="lazy"', b'loading="eager"')
    back, missing = undo(edited, entries)
    assert back == edited
    assert lost(entries, missing, [], back) == missing
    back, missing = undo(article, entries)
    assert lost(entries, missing, [], back) == []
