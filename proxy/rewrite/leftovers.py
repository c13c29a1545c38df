"""Wrappers that stand where nothing is rewritten: in code and comments on purpose, anywhere else unknown. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable

from proxy.rewrite.result import Left
from proxy.rewrite.spot import address_text

Ranges = list[tuple[int, int]]

_ADDRESS = re.compile(r"(?:https?:)?//[A-Za-z0-9][^\x00-\x20\"'<>()\\`]{3,2000}+", re.IGNORECASE)
_QUIET = "in code, a comment, a script or the text of a link"
UNKNOWN = "in a context that is not known; it may show the picture"
NOT_READ = "in a kind of file that is not rewritten"
NO_PICTURE = "an address of something that is not known to be a picture"
_ON_PURPOSE = frozenset({_QUIET, NO_PICTURE})
_PUNCTUATION = ".,:;!?"
"""Behind an address it belongs to the sentence or the key."""
MAX_REPORTED = 1000
"""Enough for a person; a hostile article may hold a million."""


def leftovers(
    text: str,
    handled: Ranges,
    *,
    quiet: Ranges,
    judge: Callable[[str], str | None],
    line_of: Callable[[int], int],
) -> list[Left]:
    """Return the wrappers of `text` outside of the `handled` ranges, which are in order.

    Those in `quiet` ranges, and those of what is no picture by its name, are left on purpose. Of the others nobody
    knows what they do, so a person has to look. `judge` returns why an address stays, `NO_PICTURE` where that is on
    purpose, None when it is no wrapper.
    """
    found: list[Left] = []
    index = 0
    quiet = joined(quiet)
    starts = [start for start, _ in quiet]
    for match in _ADDRESS.finditer(text):
        while index < len(handled) and handled[index][1] <= match.start():
            index += 1
        if index < len(handled) and handled[index][0] < match.end():
            continue
        address = address_text(match[0].rstrip(_PUNCTUATION))
        reason = judge(address)
        if reason is not None:
            before = bisect_right(starts, match.start()) - 1
            if before >= 0 and match.start() < quiet[before][1]:
                reason = _QUIET
            found.append(Left(line_of(match.start()), address, reason, reason in _ON_PURPOSE))
            if len(found) == MAX_REPORTED:
                break
    return found


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the ranges in order, those that overlap as one."""
    joined: Ranges = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined
