"""Finds the spots of data between tags: YAML in `{% flink %}`, messages of `{% chat %}`, columns of `{% linkgrid %}`.

Pure; linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from proxy.rewrite.base.beginnings import ABSOLUTE
from proxy.rewrite.base.layers import percent
from proxy.rewrite.base.spot import Spot, Use
from proxy.rewrite.front.fields import Fields
from proxy.rewrite.front.linefront import line_spots
from proxy.rewrite.generators.tags import rules

_LINE = re.compile(r"[^\r\n]++")
_CELL = re.compile(r"[^|]++")
_MESSAGE = re.compile(r"<!--[ \t\r\n]*+chatcell\b(?P<words>(?:[^<>-]++|-(?!->))*+)-->")
_WORD = re.compile(r"(?<![\w-])(?P<key>\w++):(?P<url>(?:https?:)?//[^\s<>]++)")
_PICTURES = frozenset({"image", "emoji", "avatar"})
_hold_in_cell = percent(r"[|]")


def data_spots(text: str, held: tuple[int, int, str], fields: Fields) -> Iterator[Spot]:
    """Yield the spots of the data `text[start:end]` between tags. `held` is start, end and the tag's name."""
    start, end, name = held
    rule = next(rule for rule in rules() if rule.content and name in rule.names)
    if rule.content == "yaml":
        for spot in line_spots(text[start:end], start, fields):
            key = spot.context.removeprefix("front matter").strip()
            yield replace(spot, context=f"template tag {name} {key}".rstrip())
        for message in _MESSAGE.finditer(text, start, end):
            for word in _WORD.finditer(text, *message.span("words")):
                use = Use.SHOW if word["key"] in _PICTURES else Use.LINK
                yield Spot(*word.span("url"), use, f"template tag {name} {word['key'][:100]}")
        return
    for line in _LINE.finditer(text, start, end):
        for number, cell in enumerate(_CELL.finditer(text, line.start(), line.end())):
            raw = cell[0].strip()
            begin = cell.start() + cell[0].find(raw)
            place, context = (begin, begin + len(raw)), f"template tag {name}"
            if ABSOLUTE.match(raw) and not re.search(r"\s", raw):
                use = Use.SHOW if number == rule.column else Use.LINK
                yield Spot(*place, use, context, hold=_hold_in_cell)
            else:
                yield Spot(*place, Use.TEXT, context)
