"""Reading an article takes work in proportion to its length, and within bounds of depth and number.

Work is counted, never timed: calls of Python and C functions for many repeated texts, and instructions under
valgrind for texts whose cost hides inside a single call (a search in C, a regular expression).
"""

from __future__ import annotations

import cProfile
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from instructions import instructions
from rewriting import BASE, WRAPPED, ours, rewrite

from proxy.config import RewriteConfig
from proxy.rewrite.commonmark import blocks
from proxy.rewrite.rewriter import Rewriter, TextKind
from proxy.rewrite.site.sitetext import SITE_KINDS

# They profile the calls, so a second tracer would make them half as slow again and tell nothing.
pytestmark = pytest.mark.no_cover

TOKENS = (
    "#", " ", "\n", "<", "`", "[", "](", "!", "> ", "- ", "|", "\\|", "{{<", "%}", "&", '"', "//a", "<a b=", "<!--",
    "\\", "1. ", "    ", "(", "[a]: //b", "{% image ", ", //a", "[^1]: ", "{{ a }}", "<a href=//b.png>",
)  # fmt: skip
DESIGNED = {
    "heading that ends in marks": lambda n: "# #<" + "#" * (n // 2) + " " + "#" * (n // 2),
    "heading of spaces": lambda n: "# <a" + " " * n + "b",
    "text of one letter in a quote": lambda n: "> <" + "a" * (n // 2) + "\n" + "a" * (n // 2),
    "cells with escaped pipes": lambda n: "|a\n|-\n" + "|<a\\|" * (n // 5),
    "cells of many columns": lambda n: "|a" * (n // 20) + "|\n" + "|-" * (n // 20) + "|\n" + "|<\\|b" * (n // 20),
    "definitions": lambda n: "".join(f"[a{number}]: //b\n" for number in range(n // 12)),
    "lazy lines of deep quotes": lambda n: "> " * 20 + "a\n" + "a\n" * (n // 20),
    "nested list": lambda n: "- " * n,
    "empty items": lambda n: "-\n" * (n // 4),
    "html quotes": lambda n: '<a b="' * (n // 6) + "'" * (n // 6),
    "titles": lambda n: "[a](b '" * (n // 7),
    "front matter of nested lists": lambda n: f"---\nx: //a\nb:\n{'- ' * n}a\n---\n",
    "front matter with a flow list": lambda n: f"---\nx: //a\nb: [{'a, ' * (n // 20)}]\n---\n",
    "front matter with a dotted key": lambda n: f"+++\na = '//'\n{'a.' * n}a = 1\n+++\n",
    "front matter with dotted tables": lambda n: "+++\na = '//'\n" + f"[{'a.' * 60}a]\n" * (n // 122) + "+++\n",
    "front matter of nested objects": lambda n: '{"a": "//b", "c": ' + "[" * n,
    "front matter of many strings": lambda n: '{"a": [' + '"//b", ' * (n // 7) + '"//b"]}',
    "front matter with an object that never ends": lambda n: '{"a": "//b", "c": "' + '\\"' * (n // 2),
    "front matter with an object with a fault": lambda n: '{"a": "//b", "c": [' + '"d"],[' * (n // 6) + "]}",
    "front matter with a text that never ends": lambda n: ';;;\n"a": "//b", "c": "' + '\\"' * (n // 2) + "\n;;;\n",
    "front matter with a line that never ends": lambda n: "+++\na = '//'\nb = \"" + '\\"' * (n // 2) + "\n+++\n",
    "front matter with lines that never end": lambda n: "+++\na = '//'\nb = \"\"\"" + '\\"""' * (n // 4) + "\n+++\n",
    "fence": lambda n: "-" * (n // 2) + "\n" + ("-" * 50 + "\n") * (n // 100),
    "one long address": lambda n: f"![]({WRAPPED}{'a%41&b=' * (n // 7)})",
    "broken front matter": lambda n: "---\na: 'b'c\n" + "  a: [//b, '//c'] #\n" * (n // 20) + "---\n",
    "broken front matter of one line": lambda n: "---\na: 'b'c\nd: //" + "' \"" * (n // 3) + "\n---\n",
    "broken front matter of one list": lambda n: "---\na: 'b'c\nd: [//a" + ",\"" * (n // 2) + "\n---\n",
    "broken front matter ever deeper": lambda n: "---\na: 'b'c\n"
    + "".join(" " * depth + "a: //b\n" for depth in range(int((2 * n) ** 0.5)))
    + "---\n",
    "front matter without its first fence": lambda n: "title: x\n" + "a: //b\n" * (n // 7),
    "front matter of many keys": lambda n: "---\n" + "".join(f"a{k}: //b/{k}.png\n" for k in range(n // 15)) + "---\n",
    "front matter of a long key": lambda n: f"---\n{'k' * 900}:\n" + "".join(
        f"  a{k}: //b/{k}.png\n" for k in range(n // 17)
    ) + "---\n",
    "front matter with a literal block": lambda n: "---\na: |\n" + "  //b/c.png\n" * (n // 12) + "  d e\n---\n",
    "tag of many commas": lambda n: "{% image " + ",//a" * (n // 4) + " %}",
    "tag of commas and keys": lambda n: "{% image //a" + ",a=" * (n // 3) + "/ %}",
    "tag of colons": lambda n: "{% link " + "a:" * (n // 4) + "::" * (n // 4) + " %}",
    "list in a shortcode": lambda n: '{{< carousel images="{' + "//a," * (n // 4) + '}" >}}',
    "data between tags": lambda n: "{% linkgrid %}\n" + "a|//b|c|//d\n" * (n // 12) + "{% endlinkgrid %}\n",
    "openings of data": lambda n: "{% flink %}\n" * (n // 12),
    "tags over several lines": lambda n: "{% a\n//b %}\n" * (n // 12),
    "footnotes": lambda n: "".join(f"[^{k}]: ![](//a)\n" for k in range(n // 16)),
    "footnotes without an end": lambda n: "[^" * (n // 2),
    "links around pictures": lambda n: "<a href=//b/c.png><img src=//d>" * (n // 31),
    "expressions": lambda n: "<img src='//a/" + "{{" * (n // 2) + "'>",
    # Longer than a source may be at every length: below that, more is asked of an address.
    "half an expression": lambda n: "<img src='//a/" + "{a[" * (2 * n) + "'>",
    "addresses in expressions": lambda n: "<img :src=\"'//a' + \">" * (n // 20),
    "escaped slashes": lambda n: "<p title='" + "\\/\\/a" * (n // 5) + "'>",
    "unknown attributes": lambda n: "<p title='//cors.io/?http://h/a.png'>" * (n // 37),
    "style": lambda n: '<p style="' + "a:url(//b);" * (n // 40) + '">',
}  # fmt: skip

SITE_TEXTS: dict[str, tuple[TextKind, Callable[[int], str]]] = {
    "attributes without an end": ("component", lambda n: '<img src="//a' + ' src="//a' * (n // 9)),
    "images without an end": ("component", lambda n: "![" * (n // 4) + "](//a" * (n // 12)),
    "names before an attribute": ("component", lambda n: "a" * (n // 2) + "src" * (n // 6) + "=//a"),
    "styles without an end": ("component", lambda n: "url(//a" * (n // 7)),
    "parentheses": ("component", lambda n: "//a" + "(" * (n // 2) + ")" * (n // 2)),
    "comments without an end": ("component", lambda n: "//a " + "<!-- {# /* " * (n // 11)),
    "strings without an end": ("json", lambda n: '{"a": "//b' + '\\"' * (n // 2)),
    "tags without an end": ("xml", lambda n: "<a b='//c' " * (n // 11)),
    "sections without an end": ("xml", lambda n: "<a><![CDATA[//b" * (n // 15)),
    "escaped pages": ("xml", lambda n: "<a>//b" + "&lt;img src='//c'&gt;" * (n // 21) + "</a>"),
    "fences": ("asciidoc", lambda n: "//a\n" + "----\n" * (n // 10) + "....\n" * (n // 10)),
    "directives": ("rst", lambda n: ".. code::\n\n //a\n" * (n // 16) + " .. image:: //b\n" * (n // 17)),
    "blocks without an end": ("org", lambda n: "#+begin_src\n//a\n" * (n // 16) + "[[//b" * (n // 10)),
}


@functools.cache
def _rewriter() -> Rewriter:
    """One for all texts, as for all articles of a tree; of a text it remembers the paths of keys only."""
    return Rewriter(RewriteConfig(), base_url=BASE, all_images=True)


def calls(text: str, *, kind: TextKind) -> int:
    """Return how many functions of Python and C are called to rewrite `text`."""
    profile = cProfile.Profile()
    profile.enable()
    try:
        _rewriter().rewrite(text.encode(), kind=kind)
    finally:
        profile.disable()
    # Counted in C: a callback in Python for each call took twice the time of the rewriting itself.
    return sum(entry.callcount for entry in profile.getstats())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["markdown", "html", *sorted(SITE_KINDS)])
@pytest.mark.parametrize("first", TOKENS)
def test_repeated_text_twice_as_long_takes_twice_the_calls(first: str, kind: TextKind) -> None:
    """No text of two tokens, repeated, makes a reader of Python do more than its length asks for."""
    steep = {}
    for unit in (first + second for second in TOKENS):
        single, double = (calls("http://a " + unit * number, kind=kind) for number in (60, 120))
        if double > 2.3 * single + 50:
            steep[unit] = single, double
    assert not steep


@pytest.mark.parametrize("unit", [
    "a: //b\n", "- //b\n", "  a: [//b, //c]\n", "[a.b]\n", "a: '//b\n", "a = \"//b\"\n", '"a": "//b",\n',
    "{", "'", "# //a\n",
])  # fmt: skip
@pytest.mark.parametrize(
    "head", ["---\na: 'b'c\n", "+++\na = b\n", ";;;\na\n", "title: x\na: //b\n", "---\na: b\n"]
)
def test_repeated_front_matter_twice_as_long_takes_twice_the_calls(head: str, unit: str) -> None:
    """Front matter that can be read, cannot be read, or lacks its first fence."""
    end = "\n" + {"+": "+++", ";": ";;;"}.get(head[0], "---") + "\n"
    single, double = (calls(head + unit * number + end, kind="markdown") for number in (60, 120))
    assert double <= 2.3 * single + 50


@pytest.mark.instructions
def test_site_text_twice_as_long_takes_twice_the_instructions(tmp_path: Path) -> None:
    """The patterns of other text read nothing twice."""
    assert not steep(SITE_TEXTS, tmp_path)


def steep(
    texts: Mapping[str, tuple[TextKind, Callable[[int], str]]], folder: Path
) -> dict[str, tuple[int, ...]]:
    """Return the texts whose instructions grow faster than their length, with the counts for n, 2n and 4n."""
    lengths = (3000, 6000, 12000)
    articles = [{"text": write(n), "kind": kind} for kind, write in texts.values() for n in lengths]
    counts = zip(*[iter(instructions(articles, folder))] * len(lengths), strict=True)
    return {
        name: (one, two, four)
        for name, (one, two, four) in zip(texts, counts, strict=True)
        if four - two > 2.5 * (two - one) + 1_000_000
    }


@pytest.mark.instructions
@pytest.mark.parametrize("part", range(4))
def test_designed_text_twice_as_long_takes_twice_the_instructions(tmp_path: Path, part: int) -> None:
    """Nothing quadratic hides inside a call: instructions grow with the length, not with its square."""
    texts: dict[str, tuple[TextKind, Callable[[int], str]]] = {
        name: ("markdown", DESIGNED[name]) for name in list(DESIGNED)[part::4]
    }
    assert not steep(texts, tmp_path)


@pytest.mark.parametrize(
    "front",
    [
        f"---\na: //b\nb:\n{'- ' * 65}a\n---\n",
        f"---\na: //b\nb:\n{'? ' * 65}a\n---\n",
        f"---\na: //b\nb: {'[' * 65}{']' * 65}\n---\n",
        f"---\na: //b\nb: {'{a: ' * 65}{'}' * 65}\n---\n",
        "---\na: //b\n" + "".join(" " * depth + "b:\n" for depth in range(66)) + "---\n",
        f"+++\na = '//b'\n{'a.' * 65}a = 1\n+++\n",
        f"+++\na = '//b'\n[{'b . ' * 65}a]\n+++\n",
        "+++\na = '//b'\n" + '"b".' * 65 + "a = 1\n+++\n",
        f"+++\na = '//b'\nb = {'{a = ' * 65}1{'}' * 65}\n+++\n",
        '{"a": "//b", "b": ' + "[" * 65 + "]" * 65 + "}\n",
        '{"a": "//b", "b": ' + '{"a": ' * 3000 + "1" + "}" * 3001 + "\n",
        ';;;\n"a": "//b", "b": ' + "[" * 65 + "]" * 65 + "\n;;;\n",
    ],
)
def test_front_matter_that_nests_too_deep_is_reported_with_its_reason(front: str) -> None:
    """Deeply nested front matter stays, and the reason is reported."""
    result = rewrite(front)
    assert not result.replaced
    assert [(left.reason, left.on_purpose) for left in result.left] == [
        ("the front matter nests more than 64 deep and was not read", False)
    ]


@pytest.mark.parametrize(
    "front",
    [
        f"---\nheadimg: {WRAPPED}\nb:\n{'- ' * 60}a\n---\n",
        f"+++\nheadimg = '{WRAPPED}'\n{'a.' * 60}a = 1.5\n+++\n",
        f'{{"headimg": "{WRAPPED}", "b": {"[" * 60}{"]" * 60}}}\n',
    ],
)
def test_front_matter_of_moderate_depth_is_rewritten(front: str) -> None:
    assert rewrite(front).data.decode() == front.replace(WRAPPED, ours(preset="headimg"))


@pytest.mark.parametrize("text", ["-\n" * 200, "> a\n\n" * 200, "# a\n" * 200, "1. a\n" * 200])
def test_article_of_too_many_blocks_is_reported_and_its_front_matter_rewritten(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks cost a kilobyte each, so their number is bounded; what can be read is rewritten."""
    monkeypatch.setattr(blocks, "MAX_TOKENS", 300)
    result = rewrite(f"---\nheadimg: {WRAPPED}\n---\n{text}")
    assert result.data.decode() == f"---\nheadimg: {ours(preset='headimg')}\n---\n{text}"
    assert [left.reason for left in result.left] == [
        "the text of the article was not read: it has more than 300 blocks"
    ]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_article_of_too_many_lines_is_reported(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_LINES", 300)
    assert not rewrite(f"a{end}" * 300).left
    result = rewrite(f"a{end}" * 301)
    assert [left.reason for left in result.left] == [
        "the text of the article was not read: it has more than 300 lines"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "# ![]({}) ##", "# ![]({}) # #", "#\t![]({})\t", "> # ![]({}) ###   ", "a\n![]({})\n===", "- a\n  ![]({}) \xa0",
        "| ![]({}) | a\\|b |\n|-|-|", "a | b\n-|-\na\\|![]({}) | ![]({})", "> | a |\n> |-|\n> | \\|![]({})\\| |",
        "> > a\n![]({})", "![]({})\x85", "1. ![]({})\n\n   ![]({})",
    ],
)  # fmt: skip
def test_picture_at_the_edge_of_a_line_is_found(line: str) -> None:
    """Content is found again at the end of its line whatever Markdown took away there."""
    result = rewrite(line.replace("{}", WRAPPED))
    assert result.data.decode() == line.replace("{}", ours())
