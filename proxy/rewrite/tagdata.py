"""Spots of the data between tags: YAML in `{% flink %}`, lines of columns in `{% linkgrid %}`. Pure; linear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from proxy.rewrite.fields import Fields
from proxy.rewrite.html import ABSOLUTE
from proxy.rewrite.layers import percent
from proxy.rewrite.linefront import line_spots
from proxy.rewrite.spot import Spot, Use
from proxy.rewrite.tags import rules

_LINE = re.compile(r"[^\r\n]++")
_CELL = re.compile(r"[^|]++")
_hold_in_cell = percent(r"[|]")


def data_spots(text: str, held: tuple[int, int, str], fields: Fields) -> Iterator[Spot]:
    """Yield the spots of `text[start:end]`, which stands in a tag; `held` is start, end and the tag's name."""
    start, end, name = held
    rule = next(rule for rule in rules() if rule.content and name in rule.names)
    if rule.content == "yaml":
        for spot in line_spots(text[start:end], start, fields):
            key = spot.context.removeprefix("front matter").strip()
            yield replace(spot, context=f"template tag {name} {key}".rstrip())
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
