"""Finds addresses that are whole tokens of any text, and determines whether they are shown. Pure.

For texts that are not parsed: components, templates, notebooks, other markup, the strings of data files. A table of
patterns lists the places that show pictures. Everywhere else, an address is treated as a link.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence

from proxy.rewrite.base.layers import attribute, double_quoted, percent
from proxy.rewrite.base.ranges import Ranges, joined
from proxy.rewrite.base.spot import Layer, Spot, Use

_PLAIN = (
    r"""[^\x00-\x20"'<>()\[\]{}|\\^`\x7f&]|\\/|\\u[0-9a-fA-F]{4}"""
    r"|&(?!(?:quot|apos|lt|gt|\#3[49]|\#6[02]|\#x2[27]|\#x3[ce]);)"
)
_TOKEN = re.compile(rf"(?:https?:)?(?:\\?/){{2}}[A-Za-z0-9](?:{_PLAIN}|\((?:{_PLAIN})*+\))*+", re.IGNORECASE)
_PUNCTUATION = ".,:;!?*_"
"""After an address, these belong to the text."""
_BEFORE_SCHEME = re.compile(r"[A-Za-z0-9%/?&#]")
_BEFORE_SLASHES = re.compile(r"[A-Za-z0-9%/?&#:.@~+-]")
"""A character before an address that shows that it is part of another one."""
_PARAMETER = re.compile(r"[?&;#/][\w.\[\]-]{0,64}=\Z")
_BEFORE = 80

_EXPRESSION = re.compile(r"(?:\{\{[^{}\n]*+\}\}|[$#]?\{[^{}\n]*+\}|\{%[^%\n]*+%\}|<%[^%\n]*+%>)")
"""An expression that a program or generator replaces. `expressions` detects addresses that contain one."""

_MARKDOWN_IMAGE = r"!\[[^\[\]\n]{0,2000}+\]\((?P<image>[^()\s]{0,4000}+)"
_CSS_URL = r"(?<![\w-])url\((?P<css>[^()\n]{0,4000}+)\)"
_ATTRIBUTE = (
    r"(?<![\w$-])[:\w.-]{0,40}?(?:src|srcset|poster|background(?:-?image)?|cover|image|img|avatar|thumb(?:nail)?"
    r"|original|lazy|bg)[ \t]*+=[ \t\n]*+(?P<attribute>(?:\{[ \t\r\n]{0,200}+)?\\?\"[^\"\\]{0,8000}+"
    r"|(?:\{[ \t\r\n]{0,200}+)?'{1,2}[^']{0,8000}+|(?:\{[ \t\r\n]{0,200}+)?`[^`]{0,8000}+|[^\s\"'`<>{}]{1,4000}+)"
)
_OBJECT = r"(?<![\w$-])(?:sources|images)[ \t]*+=[ \t]*+\{[ \t\r\n]{0,200}+\{(?P<object>[^{}]{0,4000}+)\}"
"""Docusaurus: `<ThemedImage sources={{ light: '…', dark: '…' }} />`"""

_PICTURE_TAG = r"\{%-?[ \t]*+(?:image|img|picture|figure)[ \t]++(?P<tag>\"[^\"\n]{0,4000}+|'[^'\n]{0,4000}+)"
"""Eleventy (Nunjucks, Liquid): `{% image "…", "alt" %}`"""

_ASCIIDOC = r"(?<!\w)image::?(?P<macro>[^\[\]\s]{1,4000}+)\["
_RST = (
    r"(?:(?<=\n)|\A)[ \t]*+\.\.[ \t]++(?:\|[^|\n]{1,200}+\|[ \t]++)?"
    r"(?:image|figure)::[ \t]*+(?P<macro>[^\s]{1,4000}+)"
)
_ORG = r"(?:\[\[|\]\[)(?P<macro>[^\[\]\n]{1,4000}+)\]\]"

_SHOWN: dict[str, re.Pattern[str]] = {
    name: re.compile("|".join(parts), re.IGNORECASE)
    for name, parts in {
        "component": (_ATTRIBUTE, _CSS_URL, _MARKDOWN_IMAGE, _OBJECT, _PICTURE_TAG),
        "data": (_ATTRIBUTE, _CSS_URL, _MARKDOWN_IMAGE),
        "asciidoc": (_ASCIIDOC, _ATTRIBUTE),
        "rst": (_RST, _ATTRIBUTE),
        "org": (_ORG, _ATTRIBUTE),
    }.items()
}
_hold_everywhere = percent(r"[\"'`\\<>]")
_hold_in_flow = percent(r"[\"'`\\<>\[\]{},]|:\Z")


def token_spots(
    text: str, family: str, *, taken: Sequence[tuple[int, int]], in_flow: bool = False
) -> Iterator[Spot]:
    """Yield the addresses of `text` outside the `taken` ranges, in order.

    `family` is a key of `_SHOWN`. `in_flow`: commas and brackets end an address, as in YAML's flow style.
    """
    shown = joined(_shown(text, family))
    starts = [start for start, _ in shown]
    taken = joined(taken)
    taken_starts = [start for start, _ in taken]
    for match in _TOKEN.finditer(text):
        start, end = match.start(), match.start() + len(match[0].rstrip(_PUNCTUATION))
        if _covered(taken, taken_starts, start) or _inside_an_address(text, start):
            continue
        use = Use.SHOW if _covered(shown, starts, start) else Use.LINK
        at = end - 1 if text[end - 1] == "$" else match.end()
        if (expression := _EXPRESSION.match(text, at)) is not None:
            end = expression.end()
        raw = text[start:end]
        yield Spot(
            start,
            end,
            use,
            "shown" if use is Use.SHOW else "an address in the text",
            _layers(raw),
            _hold_in_flow if in_flow else _hold_everywhere,
        )


def _shown(text: str, family: str) -> Iterator[tuple[int, int]]:
    for match in _SHOWN[family].finditer(text):
        if match.lastgroup:
            yield match.span(match.lastgroup)


def _layers(raw: str) -> tuple[Layer, ...]:
    if "\\" in raw:
        return (double_quoted(raw),)
    return (attribute(raw, '"'),) if "&amp;" in raw or "&#" in raw else ()


def _covered(ranges: Ranges, starts: list[int], position: int) -> bool:
    index = bisect_right(starts, position) - 1
    return index >= 0 and position < ranges[index][1]


def _inside_an_address(text: str, start: int) -> bool:
    """Return whether the text at `start` is part of a longer address, which must not be replaced in part."""
    if not start:
        return False
    before = text[start - 1]
    if before == "=":
        return _PARAMETER.search(text, max(0, start - _BEFORE), start) is not None
    pattern = _BEFORE_SLASHES if text[start] in "/\\" else _BEFORE_SCHEME
    return pattern.match(before) is not None
