"""Reads invalid front matter line by line. Pure; linear.

An extra quote in a title must not lose the pictures below it. A line `key: value`, `key = value` or `- value` is read
by itself; its indentation determines the keys above it. A value that is neither an address nor a list of addresses is
text.

    good   headimg: 'https://…/a.png'          good   images: ["https://…/a.png", https://…/b.png]
    bad    title: 'see https://…/a.png         a sentence, not an address
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.rewrite.base.depth import MAX_DEPTH
from proxy.rewrite.base.layers import double_quoted, percent, single_quoted
from proxy.rewrite.base.spot import Layer, Spot
from proxy.rewrite.front.fields import Fields

_LINE = re.compile(r"[^\r\n]++")
_TABLE = re.compile(r"[ \t]*+\[++([\w.\" -]++)\]++[ \t]*+(?:#.*)?\Z")
_HEAD = re.compile(
    r"""(?P<indent>[ \t]*+(?:-[ \t]++)*+)
    (?:(?:"(?P<quoted>[^"\\]{1,100})"|'(?P<single>[^']{1,100})'|(?P<plain>[\w.-]{1,100}))
    [ \t]*+(?:=|:(?=[ \t"'\[{]|\Z)))?""",
    re.VERBOSE,
)
_END = r"(?:[ \t]*+,)?(?:[ \t]++#.*|[ \t]*+)\Z"
_QUOTED = r""""(?:[^"\\]|\\.)*+"|'(?:[^']|'')*+'"""
_ONE = re.compile(rf"""[ \t]*+(?P<value>{_QUOTED}|[^\s,\[\]{{}}"'][^\s"']*+|["'][^\s"']++){_END}""")
_LIST = re.compile(rf"""[ \t]*+\[(?:[ \t,]|{_QUOTED}|[^\s,\[\]"']++)*+\]{_END}""")
_ITEM = re.compile(rf"""(?P<value>{_QUOTED}|[^\s,\[\]"']++)""")
_COMMENT = re.compile(r"[ \t]*+(?:#|//)")
_hold_plain = percent(r"[\"'\[\]{},]|:\Z")


def line_spots(text: str, start: int, fields: Fields) -> Iterator[Spot]:
    """Yield the spots of `text`, which begins at `start` of the article. Never fails."""
    table: tuple[str, ...] = ()
    above: list[tuple[int, str]] = []
    for line in _LINE.finditer(text):
        if _COMMENT.match(line[0]):
            continue
        if header := _TABLE.match(line[0]):
            table, above = tuple(re.findall(r"[\w-]+", header[1]))[:MAX_DEPTH], []
            continue
        head = _HEAD.match(line[0])
        name = (head["quoted"] or head["single"] or head["plain"] or "") if head else ""
        depth = len(head["indent"]) if head else 0
        if name or depth == 0:
            above = [item for item in above if item[0] < depth]
        if name and len(above) < MAX_DEPTH:
            above.append((depth, name))
        value = line.start() + (head.end() if head else 0)
        if "/" in line[0]:
            path = (*table, *(part for item in above for part in item[1].split(".")))
            yield from _value_spots(text, (value, line.end()), start, path, fields)


def _value_spots(
    text: str, place: tuple[int, int], start: int, path: tuple[str, ...], fields: Fields
) -> Iterator[Spot]:
    # Match in a slice, so that `\Z` matches at the end of the line.
    value = text[slice(*place)]
    if one := _ONE.match(value):
        yield from _one(one, start + place[0], path, fields)
    elif _LIST.match(value):
        for item in _ITEM.finditer(value):
            yield from _one(item, start + place[0], path, fields)
    else:
        yield fields.text(path, start + place[0], start + place[1])


def _one(match: re.Match[str], start: int, path: tuple[str, ...], fields: Fields) -> Iterator[Spot]:
    raw, (begin, end) = match["value"], match.span("value")
    quote = raw[0] if raw[0] in "\"'" else ""
    if quote and len(raw) > 1 and raw.endswith(quote):
        inner = raw[1:-1]
        layers: tuple[Layer, ...] = (single_quoted(),) if quote == "'" else (double_quoted(inner),)
        yield from fields.spots(path, inner, start + begin + 1, layers=layers)
    else:
        raw = raw[len(quote) :]
        yield from fields.spots(path, raw, start + end - len(raw), hold=_hold_plain)
