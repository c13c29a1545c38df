"""Maps positions in the text of a block to positions in the article, which markdown-it does not provide. Pure.

The content of a block consists of its lines without list indents, quote marks and outer spaces. So each line of the
content is searched for within the line of the article, and table cells from left to right. If a position cannot be
determined exactly, the result is None and the address is left unchanged.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice

_BLANK = " \t"
_LINE_END = re.compile(r"\r\n?|\n")


class Lines:
    """The lines of a text, as Markdown counts them (LF, CR or both), with their offsets."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.spans: list[tuple[int, int]] = []
        self._cursors: dict[int, int] = {}
        if "\r" in text:
            for line_end in _LINE_END.finditer(text, start):
                self.spans.append((start, line_end.start()))
                start = line_end.end()
        else:
            while (end := text.find("\n", start)) >= 0:
                self.spans.append((start, end))
                start = end + 1
        self.spans.append((start, len(text)))

    def region(self, first: int, content: str, *, cell: bool = False) -> Region:
        """Return the region of a block that begins in line `first`. `cell`: the block is one cell of a table row."""
        if cell:
            # Cells must be located from left to right, so locate this one now.
            segments = self._of_block(first, content, cell=True)
            return Region(self.text, content, lambda: segments)
        return Region(self.text, content, lambda: self._of_block(first, content, cell=False))

    def _of_block(self, first: int, content: str, *, cell: bool) -> list[tuple[int, int, int]]:
        segments: list[tuple[int, int, int]] = []
        position = 0
        for number, line in enumerate(content.split("\n"), first):
            stripped = line.strip(_BLANK)
            if stripped and number < len(self.spans):
                lead = len(line) - len(line.lstrip(_BLANK))
                segments.extend(self._segments(stripped, position + lead, number, cell=cell))
            position += len(line) + 1
        return segments

    def _segments(self, line: str, position: int, number: int, *, cell: bool) -> list[tuple[int, int, int]]:
        start, stop = self.spans[number]
        if not cell:
            if self.text[stop - 1 : stop] == line[-1] and self.text.endswith(line, start, stop):
                return [(position, stop - len(line), len(line))]
            ends = (end for end in self._ends(start, stop) if self.text.endswith(line, start, end))
            return [(position, end - len(line), len(line)) for end in islice(ends, 1)]
        # GFM tables: `\|` is a pipe inside a cell, and the content lacks the backslash.
        pieces = line.split("|")
        found = self.text.find("\\|".join(pieces), self._cursors.get(number, start), stop)
        if found < 0:
            self._cursors[number] = stop
            return []
        segments = []
        for piece in pieces:
            segments.append((position, found, len(piece)))
            position += len(piece) + 1
            found += len(piece) + 2
        self._cursors[number] = found - 2
        return segments

    def _ends(self, start: int, stop: int) -> Iterator[int]:
        """Yield possible ends of a line's content: before blanks, other spaces, or the closing marks of a heading.

        The content always ends its line, so these few ends suffice. A search in the line could take quadratic time.
        """
        line = self.text[start:stop].rstrip(_BLANK)
        yield start + len(line)
        yield start + len(line.rstrip())
        yield start + len(line.rstrip("#").rstrip())


class Region:
    """The text of one block, and its pieces as (content offset, article offset, length)."""

    def __init__(self, text: str, content: str, find: Callable[[], list[tuple[int, int, int]]]) -> None:
        self._text = text
        self.content = content
        self._find = find

    @cached_property
    def _segments(self) -> list[tuple[int, int, int]]:
        return self._find()

    @cached_property
    def _starts(self) -> list[int]:
        return [segment[0] for segment in self._segments]

    def locate(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the position of `content[start:end]` in the article, or None when it is uncertain."""
        first, last = self._origin(start), self._origin(end - 1)
        if first is None or last is None or end <= start:
            return None
        found = self._text[first : last + 1]
        wanted = self.content[start:end]
        return (first, last + 1) if wanted in (found, found.replace("\\|", "|")) else None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the article that holds `content[start:end]`, including marks between its lines."""
        return self._nearest(start), self._nearest(end)

    def _nearest(self, position: int) -> int:
        if not self._segments:
            return 0
        index = max(0, bisect_right(self._starts, position) - 1)
        content_start, article_start, length = self._segments[index]
        return article_start + min(max(position - content_start, 0), length)

    def _origin(self, position: int) -> int | None:
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            return None
        content_start, article_start, length = self._segments[index]
        offset = position - content_start
        # The pipe between two pieces of a cell belongs to the piece before it.
        return article_start + offset if offset <= length else None
