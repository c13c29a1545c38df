"""Rewriting Markdown: images, links, definitions, and code."""

from __future__ import annotations

import pytest
from rewriting import SOURCE, WRAPPED, ours, rewrite, text

CONTENT = ours()
ORIGINAL = ours(preset="original")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"![]({WRAPPED})", f"![]({CONTENT})"),
        (f'a ![alt *b*]( {WRAPPED} "title" ) c', f'a ![alt *b*]( {CONTENT} "title" ) c'),
        (f"![a](<{WRAPPED}> 'title')", f"![a](<{CONTENT}> 'title')"),
        (f"![a](\n{WRAPPED}\n(title))", f"![a](\n{CONTENT}\n(title))"),
        (f"[a]({WRAPPED})", f"[a]({ORIGINAL})"),
        (f"<{WRAPPED}>", f"<{ORIGINAL}>"),
        (f"[![]({WRAPPED})]({WRAPPED})", f"[![]({CONTENT})]({ORIGINAL})"),
        (f"![a [b]({WRAPPED}) c]({WRAPPED})", f"![a [b]({WRAPPED}) c]({CONTENT})"),
        (f"![a][b]\n\n[b]: {WRAPPED} 'title'", f"![a][b]\n\n[b]: {CONTENT} 'title'"),
        (f"![a]\n\n[A]:\n  <{WRAPPED}>", f"![a]\n\n[A]:\n  <{CONTENT}>"),
        (f"[a][b]\n\n[b]: {WRAPPED}", f"[a][b]\n\n[b]: {ORIGINAL}"),
        (f"[a][]\n\n> [a]: {WRAPPED}", f"[a][]\n\n> [a]: {ORIGINAL}"),
        # parentheses and escapes
        (f"![]({WRAPPED}?(1))", f"![]({CONTENT}?(1))"),
        (f"![]({WRAPPED}?\\(1)", f"![]({CONTENT}?\\(1)"),
        (f"![]({WRAPPED}?a\\_b)", f"![]({CONTENT}?a_b)"),
        (f"![]({WRAPPED}?a=1&amp;b=2)", f"![]({CONTENT}?a=1&amp;b=2)"),
        (f"![](<{WRAPPED}?a=1&#38;b=2>)", f"![](<{CONTENT}?a=1&#38;b=2>)"),
        (f"![]({WRAPPED}?a&amp;copy;)", f"![]({CONTENT}?a&amp;copy;)"),
        (f"![]({WRAPPED}?a\\&copy;)", f"![]({CONTENT}?a\\&copy;)"),
        (f"![](<{WRAPPED}?(>)", f"![](<{CONTENT}?(>)"),
        (f"![](<{WRAPPED}?a b>)", f"![](<{CONTENT}?a%20b>)"),
        (
            "![](https://cors.io/?http%3A%2F%2Fh.example%2Fa%281.png)",
            f"![]({CONTENT[:-6]}/a\\(1.png)",
        ),
        # where it may stand
        (f"> - ![]({WRAPPED})\n>   ![]({WRAPPED})", f"> - ![]({CONTENT})\n>   ![]({CONTENT})"),
        (f"# ![]({WRAPPED}) ##", f"# ![]({CONTENT}) ##"),
        (f"![]({WRAPPED})\n===", f"![]({CONTENT})\n==="),
        (f"|a|b|\n|-|-|\n|![]({WRAPPED})|![]({WRAPPED})|", f"|a|b|\n|-|-|\n|![]({CONTENT})|![]({CONTENT})|"),
        (f"|a|\n|-|\n|x\\|![]({WRAPPED}?a\\|b)|", f"|a|\n|-|\n|x\\|![]({CONTENT}?a%7Cb)|"),
        (f"1. a\n\n   ![]({WRAPPED})", f"1. a\n\n   ![]({CONTENT})"),
        (f"**![]({WRAPPED})**", f"**![]({CONTENT})**"),
        (f"`a` ![]({WRAPPED}) `b`", f"`a` ![]({CONTENT}) `b`"),
        (f"\\`![]({WRAPPED})\\`", f"\\`![]({CONTENT})\\`"),
        (f"a\r\n\r\n![]({WRAPPED})\r\n", f"a\r\n\r\n![]({CONTENT})\r\n"),
        (f"a\r![]({WRAPPED})\r", f"a\r![]({CONTENT})\r"),
        (f"a\0b ![]({WRAPPED})", f"a\0b ![]({CONTENT})"),
        (f"\ufeff![]({WRAPPED})", f"\ufeff![]({CONTENT})"),
        # HTML inside
        (f'a <img src="{WRAPPED}"> b', f'a <img src="{CONTENT}"> b'),
        (f'> <img\n> src="{WRAPPED}">', f'> <img\n> src="{CONTENT}">'),
        (
            f'- a\n  <div>\n  <img src="{WRAPPED}">\n  </div>',
            f'- a\n  <div>\n  <img src="{CONTENT}">\n  </div>',
        ),
        # Hexo
        (f"{{% img left {WRAPPED} 100 200 %}}", f"{{% img left {CONTENT} 100 200 %}}"),
        (f'{{% image "{WRAPPED}" %}}', f'{{% image "{CONTENT}" %}}'),
    ],
)
def test_markdown_address_is_rewritten_in_its_own_spelling(before: str, after: str) -> None:
    """Only the address changes, and it is spelled as its place spells addresses."""
    assert text(before) == after


@pytest.mark.parametrize(
    "article",
    [
        f"`![]({WRAPPED})`",
        f"`` ` ![]({WRAPPED}) ``",
        f"```\n![]({WRAPPED})\n```",
        f"~~~ html\n<img src='{WRAPPED}'>",
        f"    ![]({WRAPPED})",
        f"- a\n\n      ![]({WRAPPED})",
        f"> ```\n> ![]({WRAPPED})\n> ```",
        f"<pre>\n![]({WRAPPED})\n\n![]({WRAPPED})\n</pre>",
        f"<code>![]({WRAPPED})</code>",
        f"<!--\n![]({WRAPPED})\n\n-->",
        f"{{% codeblock %}}\n![]({WRAPPED})\n{{% endcodeblock %}}",
        f"{{% codeblock %}}\n{WRAPPED}\n{{% endcodeblock %}}",
        f"<!-- {WRAPPED} -->",
        f"a <!--\n{WRAPPED} --> b",
        f"<!--\n\n{WRAPPED}\n\n-->",
        f"<pre>\n\n{WRAPPED}\n\n</pre>",
        f"> <pre>\n> {WRAPPED}\n> </pre>",
        f"<script>\nlet a = '{WRAPPED}';\n</script>",
        f"a <code>{WRAPPED}</code>",
        f"{{# {WRAPPED} #}}",
        f"{{{{/* {WRAPPED} */}}}}",
        f"[{WRAPPED}](/page)",
        f"![{WRAPPED}](/local.png)",
        f"<a href='/page'>{WRAPPED}</a>",
    ],
)
def test_markdown_code_is_left_and_reported(article: str) -> None:
    """Fences, indented code, code spans, `<pre>`, comments and the text of links stay as they are."""
    result = rewrite(article)
    assert result.data == article.encode()
    assert result.left
    assert all(item.on_purpose for item in result.left)


@pytest.mark.parametrize(
    "article",
    [
        f"\\![]\\({WRAPPED}\\)",
        f"\\<img src='{WRAPPED}'>",
        f"<div>\n![]({WRAPPED})\n</div>",
        f"<div markdown='1'>\n![a]({WRAPPED})\n</div>",
        f"<img data-foo='{WRAPPED}'>",
        f"[<img data-foo='{WRAPPED}'>](/page)",
        f"{{{{ '{WRAPPED}' }}}}",
        f"{{% link {WRAPPED} %}}",
        f"{{{{< video src='{WRAPPED}' >}}}}",
        f"{{% include image.html file='{WRAPPED}' %}}",
        f"[a]: {SOURCE}\n[a]: {WRAPPED}",
        f"{WRAPPED}图.png",
        f"<img src={WRAPPED}?a=1>",
    ],
)
def test_markdown_place_that_nobody_knows_is_left_for_a_person(article: str) -> None:
    """A place that an unknown renderer may show is not reported as left on purpose."""
    result = rewrite(article)
    assert result.data == article.encode()
    assert [item.on_purpose for item in result.left] == [False]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"{WRAPPED}", f"{ORIGINAL}"),
        (f"bare {WRAPPED} address", f"bare {ORIGINAL} address"),
        (f"({WRAPPED}), _{WRAPPED}_", f"({ORIGINAL}), _{ORIGINAL}_"),
        (f"see {WRAPPED}.", f"see {ORIGINAL}."),
        (f"看图：{WRAPPED}。好", f"看图：{ORIGINAL}。好"),
        (f"{WRAPPED}?a=1&amp;b=2", f"{ORIGINAL}?a=1&amp;b=2"),
        (f"{WRAPPED}?a_(b)", f"{ORIGINAL}?a_(b)"),
        (f"|a|\n|-|\n|{WRAPPED}|", f"|a|\n|-|\n|{ORIGINAL}|"),
        (f"{WRAPPED}![]({WRAPPED})", f"{WRAPPED}![]({CONTENT})"),
        ("https://cors.io/?http%3A%2F%2Fh.example%2Fa.png%3F%2A%7C%29", f"{ORIGINAL}?*%7C%29"),
        ("//h.example/ https://h.example/page", "//h.example/ https://h.example/page"),
    ],
)
def test_markdown_bare_address_is_a_link_to_the_original(before: str, after: str) -> None:
    """GFM, Hexo and others make links of addresses in the text; punctuation behind one is not its own."""
    assert text(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'{{{{< figure src="{WRAPPED}" >}}}}', f'{{{{< figure src="{CONTENT}" >}}}}'),
        (f"{{{{% figure src='{WRAPPED}' %}}}}", f"{{{{% figure src='{CONTENT}' %}}}}"),
        (f'{{{{< img "{WRAPPED}" >}}}}', f'{{{{< img "{CONTENT}" >}}}}'),
        (f"{{{{< img `{WRAPPED}` >}}}}", f"{{{{< img `{CONTENT}` >}}}}"),
        (f'{{{{<figure alt="a b" link="{WRAPPED}" src="{WRAPPED}">}}}}',
         f'{{{{<figure alt="a b" link="{ORIGINAL}" src="{CONTENT}">}}}}'),
        (f'{{% include image.html src="{WRAPPED}" %}}', f'{{% include image.html src="{CONTENT}" %}}'),
        (f"{{% include card.html url={WRAPPED} %}}", f"{{% include card.html url={ORIGINAL} %}}"),
        (f"{{% asset_img {WRAPPED} alt %}}", f"{{% asset_img {CONTENT} alt %}}"),
        (f'{{% img {WRAPPED} "{WRAPPED}" %}}', f'{{% img {CONTENT} "{WRAPPED}" %}}'),
    ],
)  # fmt: skip
def test_markdown_template_tag_that_shows_a_picture_is_rewritten(before: str, after: str) -> None:
    """Shortcodes of Hugo, tags of Hexo, includes of Jekyll; quoted or not."""
    assert text(f"{before}\n") == f"{after}\n"


def test_replacement_names_what_the_wrapper_did_and_we_do_not() -> None:
    """Options of a wrapper are named, never dropped in silence."""
    result = rewrite("![a](https://wsrv.nl/?url=h.example/30.png&w=100&mask=star)")
    assert [item.dropped for item in result.replaced] == [("weserv mask",)]
    assert [item.preset for item in result.replaced] == ["width=100"]


def test_replacement_says_where_and_what() -> None:
    """Offsets are bytes of the original, lines count from one, the context names the place."""
    article = f"图\n\n![图]({WRAPPED})\n".encode()
    (item,) = rewrite(article).replaced
    assert article[item.start : item.end] == item.old == WRAPPED.encode()
    assert (item.line, item.preset, item.context) == (3, "content", "markdown image")
    assert (item.source.url, item.new) == (SOURCE, CONTENT.encode())


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("gbk", "乗馬 `丂` 誠乗"),
        ("gb18030", "衆\\乗"),
        ("big5", "功能許蓋"),
        ("shift_jis", "表示ソート予定"),
        ("latin-1", "café à ü"),
    ],
)
def test_bytes_of_other_encodings_survive(encoding: str, words: str) -> None:
    """Text in any encoding keeps every byte, also when second bytes look like brackets or backslashes."""
    article = f"{words} ![{words}]({WRAPPED}) {words}\n"
    expected = f"{words} ![{words}]({CONTENT}) {words}\n"
    assert rewrite(article.encode(encoding)).data == expected.encode(encoding)


def test_gbk_bytes_in_an_address_are_escaped_as_they_are() -> None:
    """Raw GBK in an address is the same source as its percent-escaped bytes."""
    article = f'<p>图</p><img src="{WRAPPED}?图">'.encode("gbk")
    (item,) = rewrite(article, kind="html").replaced
    assert item.source.url == f"{SOURCE}?%CD%BC"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_not_touched_and_said_to_be_unread(encoding: str) -> None:
    """Text that cannot be read byte by byte is left, and not on purpose."""
    data = f"![]({WRAPPED})".encode(encoding)
    result = rewrite(data)
    assert result.data == data
    assert [("UTF-16" in item.reason, item.on_purpose) for item in result.left] == [(True, False)]
