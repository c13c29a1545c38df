"""Places in the text of an article: expressions, lazy loaders, thumbnails, footnotes, and the reports about the
rest."""

from __future__ import annotations

import pytest
from rewriting import BASE, SOURCE, WORKER, WRAPPED, ours, rewrite, text

from proxy.rewrite.rewriter import ArticleKind

LARGE = "http://h.example/large.jpg"
ORIGINAL = ours(LARGE, "original")
EXPRESSIONS = [
    "{{ page.img }}", "{{page.img}}", "{% if a %}b{% endif %}", "<%= img %>", "${img}", "#{img}", "{img}", "{a.b(c)}",
    "{{< param img >}}", "{images[0]}",
]  # fmt: skip


@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize(
    "address", [f"{WORKER}http://h.example/EXPR", f"{WORKER}http://EXPR/a.png", "//i0.wp.com/h.org/EXPR?w=1"]
)
@pytest.mark.parametrize(
    "place", ['<img src="URL">', '<a href="URL">', "<p style='background:url(\"URL\")'>"]
)
def test_address_with_a_template_expression_is_left_on_purpose(
    expression: str, address: str, place: str
) -> None:
    """Byte for byte, in HTML and in Markdown, and with all pictures."""
    article = place.replace("URL", address.replace("EXPR", expression)) + "\n"
    kinds: list[ArticleKind] = ["html", "markdown"]
    for kind in kinds:
        for all_images in (False, True):
            result = rewrite(article, kind=kind, all_images=all_images)
            assert result.data.decode() == article
            assert result.left
            assert all(item.on_purpose for item in result.left)


@pytest.mark.parametrize(
    "article",
    [
        f"![a]({WORKER}http://h.example/{{{{ page.img }}}})",
        f"![a]({WORKER}http://h.example/{{{{page.img}}}}.png)",
        f"---\nimage: {WORKER}http://h.example/{{{{ page.img }}}}.png\n---\n",
        f"---\nimage: '{WORKER}http://h.example/{{{{ page.img }}}}.png'\n---\n",
        f"{{% img {WORKER}http://h.example/{{{{img}}}} %}}",
        f"<img :src=\"'{WRAPPED}' + size\">",
        f"<img v-bind:src=\"small ? '{WRAPPED}' : b\">",
        f"<img [src]=\"'{WRAPPED}' + size\">",
    ],
)
def test_expression_is_left_on_purpose_wherever_it_stands(article: str) -> None:
    for kind in ("html",) if "[src]" in article else ("markdown",):
        result = rewrite(article, kind=kind)
        assert result.data.decode() == article
        assert [item.on_purpose for item in result.left] == [True]


def test_direct_address_with_an_expression_is_reported_with_all_images_only() -> None:
    article = '<img src="http://h.example/{{ img }}.png"><img src="http://h.example/{B0A9-44}.png">'
    assert not rewrite(article, kind="html").left
    result = rewrite(article, kind="html", all_images=True)
    assert [(item.context, item.on_purpose) for item in result.left] == [("img src", True)]
    assert [item.source.url for item in result.replaced] == ["http://h.example/%7BB0A9-44%7D.png"]


@pytest.mark.parametrize(
    "tag",
    [
        "<img :src=\"'URL'\">",
        '<img v-bind:src="`URL`">',
        "<img [src]=\"'URL'\">",
        '<img src={"URL"} />',
        "<div :style=\"'background:url(URL)'\">",
    ],
)
def test_expression_that_is_one_string_is_rewritten(tag: str) -> None:
    """Vue, Angular and JSX: nothing is put in the place of anything."""
    assert text(tag.replace("URL", WRAPPED), kind="html") == tag.replace("URL", ours())


@pytest.mark.parametrize(
    "attribute",
    [
        "data-src", "data-original", "data-lazy-src", "data-lazyload-src", "data-nitro-src", "data-full-src", "data-bg",
        "data-bg-webp", "data-desktop-background", "data-thumb-url", "data-zoom-image", "data-large_image",
        "data-hires", "data-src-retina", "data-mfp-src", "data-pin-media-img", "ng-src",
        "lazyload", "data-poster-large",
    ],
)  # fmt: skip
def test_attribute_of_a_lazy_loader_is_rewritten(attribute: str) -> None:
    """Patterns are used because no list is complete. This includes a value in CSS and a bare address of the same
    picture."""
    for element in ("img", "div"):
        article = f'<img src="{WRAPPED}"><{element} {attribute}="URL">'
        for address in (WRAPPED, SOURCE):
            assert text(article.replace("URL", address), kind="html") == article.replace(
                WRAPPED, ours()
            ).replace("URL", ours())
    article = f"<div {attribute}=\"url('URL')\">"
    assert text(article.replace("URL", WRAPPED), kind="html") == article.replace("URL", ours())


@pytest.mark.parametrize(
    "attribute", ["data-srcset", "data-lazy-srcset", "data-sizes-srcset", "data-my-bgset"]
)
def test_srcset_of_a_lazy_loader_is_rewritten(attribute: str) -> None:
    article = f'<source {attribute}="{WRAPPED} 1x, {WRAPPED} 2x">'
    assert text(article, kind="html") == article.replace(WRAPPED, ours())


@pytest.mark.parametrize("element", ["iframe", "script", "video", "embed", "audio"])
def test_lazy_loader_of_something_else_shows_no_picture(element: str) -> None:
    article = f'<{element} data-src="http://h.example/a.html"></{element}>'
    assert text(article, kind="html", all_images=True) == article
    wrapped = rewrite(f'<{element} data-src="{WRAPPED}">', kind="html")
    assert not wrapped.replaced
    assert [item.on_purpose for item in wrapped.left] == [True]


@pytest.mark.parametrize(
    "article",
    [
        "[![t](THUMB)](LARGE)",
        "[![t](THUMB) text](<LARGE> 'title')",
        "[![t][thumb]](LARGE)\n\n[thumb]: THUMB",
        "[![t](THUMB)][large]\n\n[large]: LARGE",
        "[![t](THUMB)][]\n\n[![t](THUMB)]: /x\n\n[![u](THUMB)](LARGE)",
        '[<img src="THUMB">](LARGE)',
        '<a href="LARGE"><img src="THUMB"></a>',
        '<a class=x href="LARGE">\n\n![t](THUMB)\n\n</a>',
        '<a href="LARGE"><picture><source srcset="THUMB 1x"></picture></a>',
        "- [![t](THUMB)](LARGE)\n- b",
    ],
)
def test_large_picture_behind_a_thumbnail_is_taken_with_all_images(article: str) -> None:
    thumb = "https://h.example/t.jpg"
    article = article.replace("THUMB", thumb)
    result = rewrite(article.replace("LARGE", LARGE), all_images=True)
    assert ORIGINAL in result.data.decode()
    assert result.data.decode().count(LARGE) == article.count("LARGE")
    assert rewrite(article.replace("LARGE", LARGE)).replaced == ()


@pytest.mark.parametrize(
    "article",
    [
        f"[text]({LARGE}) ![t](https://h.example/t.jpg)",
        f'<a href="{LARGE}">text</a> <img src="https://h.example/t.jpg">',
        f'<a href="{LARGE}"> <a href="/x"><img src="https://h.example/t.jpg"></a>',
        "[![t](https://h.example/t.jpg)](https://h.example/page.html)",
        f'<a href="{LARGE}">',
    ],
)
def test_link_that_is_around_no_picture_or_leads_to_none_stays(article: str) -> None:
    assert [item.preset for item in rewrite(article, all_images=True).replaced] in ([], ["content"])


@pytest.mark.parametrize(
    "article",
    [
        "a[^1]\n\n[^1]: ![x](URL)\n",
        "a[^note]\n\n[^note]: text ![x](URL) text\n",
        "a[^1]\n\n[^1]: text\n\n    ![x](URL)\n\n    - ![x](URL)\n",
        "a[^1]\n\n[^1]:\n    ![x](URL)\n",
        "> a[^1]\n>\n> [^1]: ![x](URL)\n",
        'a[^1]\n\n[^1]: <img src="URL">\n[^2]: ![x](URL)\n',
        "a[^注]\r\n\r\n[^注]: ![x](URL)\r\n",
    ],
)
def test_picture_in_a_footnote_is_a_picture(article: str) -> None:
    assert text(article.replace("URL", WRAPPED)) == article.replace("URL", ours())
    assert text(article.replace("URL", SOURCE)) == article.replace("URL", SOURCE)
    assert text(article.replace("URL", SOURCE), all_images=True) == article.replace("URL", ours())


@pytest.mark.parametrize(
    "article",
    [
        "`[^1]: ![x](URL)`",
        "```\n[^1]: ![x](URL)\n```",
        "[^1]: a\n\n        ![x](URL)\n",
        "    [^1]: ![x](URL)\n",
    ],
)
def test_footnote_in_code_and_code_in_a_footnote_stay(article: str) -> None:
    article = article.replace("URL", WRAPPED)
    result = rewrite(article)
    assert result.data.decode() == article
    assert [item.on_purpose for item in result.left] == [True]


def test_address_behind_a_footnotes_mark_is_a_link() -> None:
    assert text(f"a[^1]\n\n[^1]: {WRAPPED}\n") == f"a[^1]\n\n[^1]: {ours(preset='original')}\n"


@pytest.mark.parametrize(
    ("article", "context"),
    [
        ("<img data-foo='URL'>", "img data-foo"),
        ('<p title="see URL">', "p title"),
        ('<div data-settings=\'{"a":"URL"}\'>', "div data-settings"),
        ('<div data-settings="{&quot;a&quot;:&quot;URL&quot;}">', "div data-settings"),
        ("---\ndescription: '<img src=URL>'\n---\n", "front matter description"),
        ("{{< unknown src='URL' >}}", "template tag unknown"),
        ("<div>![a](URL)</div>", "markdown image inside HTML"),
    ],
)
def test_picture_in_a_place_that_nobody_knows_is_reported_in_both_modes(article: str, context: str) -> None:
    """The report has line, key or attribute. A wrapper is always reported, a direct address if all pictures are
    wanted."""
    for all_images, address in ((False, WRAPPED), (True, WRAPPED), (True, SOURCE)):
        result = rewrite("\n" + article.replace("URL", address), all_images=all_images)
        assert not result.replaced
        assert [(item.text, item.context, item.on_purpose) for item in result.left] == [
            (address, context, False)
        ]
    assert not rewrite(article.replace("URL", SOURCE)).left


def test_address_with_escaped_slashes_is_seen() -> None:
    address = WRAPPED.replace("/", "\\/")
    for article, on_purpose in (
        (f'<div data-a=\'{{"a":"{address}"}}\'>', False),
        (f'<script>{{"a":"{address}"}}</script>', True),
    ):
        result = rewrite(article, kind="html")
        assert [(item.text, item.on_purpose) for item in result.left] == [(WRAPPED, on_purpose)]


@pytest.mark.parametrize(
    "tag", ['<embed src="URL">', '<object data="URL"></object>', '<svg><use href="URL"/></svg>']
)
def test_element_that_may_show_a_picture_is_reported_with_all_images(tag: str) -> None:
    result = rewrite(tag.replace("URL", SOURCE), kind="html", all_images=True)
    assert [(item.text, item.on_purpose) for item in result.left] == [(SOURCE, True)]
    assert not rewrite(f"<pre>{tag.replace('URL', SOURCE)}</pre>", kind="html", all_images=True).left


def test_own_addresses_are_not_reported_in_places_that_nobody_knows() -> None:
    assert not rewrite(f"<img data-foo='{BASE}/image/content/{SOURCE}'>", all_images=True).left
