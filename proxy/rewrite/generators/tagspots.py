"""Finds the spots of template tags: the addresses that a table covers, and the whole tag as text. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace

from proxy.rewrite.base.layers import percent
from proxy.rewrite.base.reasons import IN_CODE
from proxy.rewrite.base.spot import TEXTS, Spot, Use
from proxy.rewrite.generators.tags import TagAddress, tag_addresses, tag_name

_OPENING = re.compile(r"\{%|\{\{[<%]")
_ENDS = {"{%": "%}", "{{<": ">}}", "{{%": "%}}"}
_hold_in_tag = percent(r"[\"'%}](?=[\"'%}]|\Z)|[\"'`\\]")
_hold_in_list = percent(r"[\"'%}](?=[\"'%}]|\Z)|[\"'`\\,|]|:(?=:)")


def tag_spots(text: str, place: tuple[int, int]) -> Iterator[Spot]:
    """Yield the spots of the tag at `place`."""
    tag = text[slice(*place)]
    for address in tag_addresses(tag):
        yield tag_spot(place[0] + address.start, place[0] + address.end, address, tag)
    yield Spot(*place, Use.TEXT, tag_context(tag))


def tag_spot(start: int, end: int, address: TagAddress, tag: str) -> Spot:
    """Return the spot of an address of a tag. The address is at `start:end` of the article."""
    hold = _hold_in_list if address.closed else _hold_in_tag
    context = tag_context(tag)
    return Spot(start, end, address.use, context, hold=hold, around=address.around, closed=address.closed)


def tag_context(tag: str) -> str:
    """Return the name of a tag for reports."""
    return f"template tag {tag_name(tag)[:100]}"


def tags_in_html(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of the template tags of `text[start:]` that contain an address. For HTML without Markdown."""
    missing: set[str] = set()
    position = start
    while (opening := _OPENING.search(text, position)) is not None:
        position = opening.end()
        closing = _ENDS[opening[0]]
        end = -1 if closing in missing else text.find(closing, position)
        if end < 0:
            missing.add(closing)
        else:
            position = end + len(closing)
            if text.find("//", opening.start(), position) >= 0:
                yield opening.start(), position


def without_code(spots: Iterable[Spot], ranges: list[tuple[int, int]]) -> list[Spot]:
    """Return the spots, with those inside code marked as places to leave. `ranges` are the ranges of code, in order."""
    starts = [start for start, _ in ranges]

    def in_code(spot: Spot) -> bool:
        if spot.use in TEXTS:
            return False
        index = bisect_right(starts, spot.start) - 1
        return index >= 0 and spot.start < ranges[index][1]

    return [replace(spot, use=Use.LEAVE, context=IN_CODE) if in_code(spot) else spot for spot in spots]
