"""Finds addresses outside all spots: in code and comments, where they stay on purpose, and in unknown places. Pure."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from proxy.rewrite.base.expressions import has_expression
from proxy.rewrite.base.ranges import Ranges, joined
from proxy.rewrite.base.reasons import NO_PICTURE, NOT_READ, TEMPLATE
from proxy.rewrite.base.result import Left
from proxy.rewrite.base.spot import Spot, Use, address_text

_SLASHES = re.compile(r"/\\?/(?=[A-Za-z0-9])")
_ADDRESS = re.compile(r"(?:\\?/){2}[A-Za-z0-9](?:[^\x00-\x20\"'<>()\\`]|\\/){3,2000}+")
"""An address from its slashes on. JSON in a script or an attribute may spell them `\\/`."""

_QUOTE_ENTITY = re.compile(r"&(?:quot|apos|lt|gt|#0{0,5}3[49]|#x0{0,4}2[27]);", re.IGNORECASE)
_LONGEST_TEXT = 300
_IMAGE_BEFORE = re.compile(r"!\[[^\]\r\n]*+\]\([ \t]*+<?\Z")
_QUIET = "in code, a comment, a script or the text of a link"
_UNKNOWN = "in a context that is not known; it may show the picture"
_PUNCTUATION = ".,:;!?"
"""After an address, these belong to the sentence or the key."""
MAX_REPORTED = 1000
"""Enough for a person; a hostile article may hold a million."""


class Judgement(Enum):
    """The classes of addresses outside all spots."""

    NOTHING = "nothing of ours to handle"
    WRAPPER = "a wrapper that may hold a picture"
    UNREAD = "a wrapper in a kind of file that is not rewritten"
    OTHER = "a wrapper of what is no picture by its name"
    DIRECT = "a picture's own address, where all pictures are wanted"


_REASONS = {Judgement.OTHER: NO_PICTURE, Judgement.UNREAD: NOT_READ}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The surroundings of the addresses of an article.

    handled: the ranges of spots, in order. quiet: ranges that show no pictures. labels: pieces of text whose context is
    the key, attribute or tag that holds them.
    """

    handled: Ranges
    quiet: Ranges
    labels: list[Spot]


def leftovers(
    text: str, around: Surroundings, *, judge: Callable[[str], Judgement], line_of: Callable[[int], int]
) -> list[Left]:
    """Return the addresses of `text` that lie outside all spots and may show a picture.

    Addresses in `quiet` ranges, addresses not named like a picture, and addresses with a template expression are left
    on purpose. The effect of the others is unknown, so a person has to look at them. Direct addresses are returned
    only from labelled text.
    """
    found: list[Left] = []
    index = 0
    quiet = _Held(joined(around.quiet))
    labels = sorted(around.labels, key=lambda label: label.start)
    starts = [label.start for label in labels]
    for start, end in _addresses(text):
        while index < len(around.handled) and around.handled[index][1] <= start:
            index += 1
        if index < len(around.handled) and around.handled[index][0] < end:
            continue
        written = _QUOTE_ENTITY.split(text[start:end], maxsplit=1)[0].replace("\\/", "/")
        address = address_text(written.rstrip(_PUNCTUATION))
        what = judge(address)
        if what is Judgement.NOTHING:
            continue
        before = bisect_right(starts, start) - 1
        label = labels[before] if before >= 0 and start < labels[before].end else None
        is_quiet = quiet.hold(start)
        context = label.context if label else ("" if is_quiet else _image_context(text, start))
        if what is Judgement.DIRECT and (is_quiet or not context):
            continue
        if is_quiet:
            reason = _QUIET
        elif (label and label.use is Use.EXPRESSION) or has_expression(text[start : end + 2]):
            reason = TEMPLATE
        else:
            reason = _REASONS.get(what, _UNKNOWN)
        on_purpose = reason not in (_UNKNOWN, NOT_READ)
        found.append(Left(line_of(start), address, reason, on_purpose, context))
        if len(found) == MAX_REPORTED:
            break
    return found


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of texts that look like an address, including their scheme if any, from left to right."""
    position = 0
    while (slashes := _SLASHES.search(text, position)) is not None:
        start = slashes.start()
        if start > position and text[start - 1] == "\\":
            start -= 1
        rest = _ADDRESS.match(text, start)
        if rest is None:
            position = slashes.start() + 1
            continue
        before = text[max(position, start - 6) : start].lower()
        yield start - (6 if before == "https:" else 5 if before.endswith("http:") else 0), rest.end()
        position = rest.end()


def _image_context(text: str, position: int) -> str:
    """Return the name of a Markdown image in a place where Markdown is not read; empty for anything else."""
    is_image = _IMAGE_BEFORE.search(text, max(0, position - _LONGEST_TEXT), position)
    return "markdown image inside HTML" if is_image else ""


class _Held:
    """A set of ranges, which are in order and do not overlap."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._starts = [start for start, _ in ranges]

    def hold(self, position: int) -> bool:
        """Return whether one of the ranges contains the position."""
        before = bisect_right(self._starts, position) - 1
        return before >= 0 and position < self._ranges[before][1]
