"""Edits of a document as spans of bytes, and helpers for attributes. Pure.

Every byte outside of an edit stays unchanged.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.rewrite.markup.htmlscan import Attribute, Tag

_LINE_END = re.compile(r"\r\n?|\n")
_SPACE = "\t\n\f\r "
_BARE = r"(?i)(?<=[\s/\"'])%s(?=[\s/>])(?!\s*+=)"


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces the bytes `start:end` by `new`. Edits at the same position apply in the order of their creation."""

    start: int
    end: int
    new: str


def applied(text: str, edits: Iterable[Edit]) -> bytes:
    """Return byte text with the edits applied. An edit that begins inside another is skipped."""
    pieces: list[str] = []
    position = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start >= position:
            pieces += text[position : edit.start], edit.new
            position = edit.end
    return "".join((*pieces, text[position:])).encode("latin-1")


class LineCounter:
    """Counts the lines of a text."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def of(self, position: int) -> int:
        """Return the line number of a position, from 1."""
        return bisect_right(self._starts, position)


def escaped(value: str) -> str:
    """Escape text for a double-quoted attribute."""
    return value.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def attribute_of(tag: Tag, name: str) -> Attribute | None:
    """Return the first attribute with a name; later ones are ignored (HTML §13.2.5.33)."""
    return next((item for item in tag.attributes if item.name == name), None)


def without_attribute(text: str, tag: Tag, name: str) -> list[Edit]:
    """Return the edits that remove an attribute and its value from a tag."""
    found = attribute_of(tag, name)
    if found is not None:
        start = _name_start(text, found)
        return [Edit(start, found.end + len(found.quote), "")]
    position = tag.start
    pattern = re.compile(_BARE % re.escape(name))
    for item in (*tag.attributes, None):
        end = item.start - len(item.quote) if item else tag.end
        if (match := pattern.search(text, position, end)) is not None:
            space = text[match.start() - 1] in _SPACE
            return [Edit(match.start() - space, match.end(), "")]
        position = item.end if item else end
    return []


def _name_start(text: str, item: Attribute) -> int:
    """Return where the name of an attribute begins, with one space before it."""
    position = item.start - len(item.quote)
    position -= (
        len(text[:position]) - len(text[:position].rstrip(_SPACE)) if text[position - 1] in _SPACE else 0
    )
    position -= 1
    while text[position - 1] in _SPACE:
        position -= 1
    position -= len(item.name)
    return position - (text[position - 1] in _SPACE)
