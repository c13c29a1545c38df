"""Marks links around pictures, which usually lead from a thumbnail to a large picture. Pure.

The Markdown reader marks Markdown's own links. A link in HTML extends to the next `</a>` or `<a>`, including Markdown
in between.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from proxy.rewrite.base.spot import Spot, Use

_ANCHOR = re.compile(r"</?a(?=[\s>])", re.IGNORECASE)
ANCHORS = frozenset({"a href", "a data-href", "a xlink:href"})


def with_frames(text: str, spots: Sequence[Spot]) -> list[Spot]:
    """Return the spots with `around` set for HTML links around pictures. `spots` must be in order."""
    if not any(spot.context in ANCHORS for spot in spots):
        return list(spots)
    anchors = [match.start() for match in _ANCHOR.finditer(text)]
    pictures = [spot.start for spot in spots if spot.use is Use.SHOW]

    def around(spot: Spot) -> bool:
        index, picture = bisect_left(anchors, spot.end), bisect_left(pictures, spot.end)
        end = anchors[index] if index < len(anchors) else len(text)
        return picture < len(pictures) and pictures[picture] < end

    return [
        replace(spot, around=True) if spot.context in ANCHORS and around(spot) else spot for spot in spots
    ]
