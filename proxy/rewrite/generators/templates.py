"""Finds template tags in Markdown: Hexo's and Jekyll's `{% img … %}`, Hugo's `{{< figure … >}}`. Pure.

The content of `{% codeblock %}` and similar tags is code; `proxy.rewrite.generators.tags` knows their names. Generators
read tags before Markdown, so code tags and tags over several lines are masked before Markdown is read.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.rewrite.generators.tags import names_with

CODE_TAGS = names_with("code")
"""Tags and shortcodes of Hexo, Jekyll and Hugo around code."""


def _pairs_of(names: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of the beginnings of opening and closing tags of these names."""
    known = f"(?:{'|'.join(map(re.escape, names))})(?![\\w-])"
    return re.compile(
        rf"""\{{%[-+~]?\s*+(?P<end>end)?(?P<name>{known})
        |\{{\{{[<%]\s*+(?:(?P<escaped>/\*)|(?P<slash>/)?\s*+(?P<short>{known}))""",
        re.VERBOSE,
    )


_CODE_TAG = _pairs_of(CODE_TAGS)
_HOLDS_DATA = _pairs_of((*names_with("yaml"), *names_with("columns")))
_TAG_END = re.compile(r"[-+~]?%\}\}?|>\}\}")
_SELF_CLOSING = re.compile(r"/\s*+[%>]\}\}\Z")
_OPENING = r"\{(?:%|\{[<%])"
_LONG_TAG = re.compile(
    rf"""(?:\{{%[-+~]?|\{{\{{[<%])\s*+[A-Za-z][\w-]*+\s
    (?:"(?:(?!{_OPENING})[^"])*+"|'(?:(?!{_OPENING})[^'])*+'|`(?:(?!{_OPENING})[^`])*+`
    |(?!{_OPENING}|[%>]\}})[^"'`])*+
    (?:-?%\}}\}}?|>\}}\}})""",
    re.VERBOSE,
)
"""A match ends before the next tag begins, so that no text is read twice."""

_VISIBLE = re.compile(r"\S")


def code_ranges(text: str, start: int) -> list[tuple[int, int]]:
    """Return the ranges of code tags with their content, and of shortcodes that are shown instead of run.

    A tag without an end tag has no content. Tags of Hexo and Jekyll end at the first end tag; tags of Hugo nest.
    """
    tags = list(_paired_tags(text, start, _CODE_TAG))
    closers = _closers(tags)
    ranges: list[tuple[int, int]] = []
    for index, tag in enumerate(tags):
        closer = index if tag.escaped else closers.get(index)
        if closer is not None and (not ranges or tag.start >= ranges[-1][1]):
            ranges.append((tag.start, tags[closer].end))
    return ranges


def data_ranges(text: str, start: int) -> list[tuple[int, int, str]]:
    """Return the ranges of data between tags, without the tags, and the tags' names. `{% flink %}` holds YAML."""
    tags = [tag for tag in _paired_tags(text, start, _HOLDS_DATA) if not tag.escaped]
    ranges: list[tuple[int, int, str]] = []
    for index, closer in sorted(_closers(tags).items()):
        if not ranges or tags[index].end >= ranges[-1][1]:
            ranges.append((tags[index].end, tags[closer].start, tags[index].name))
    return ranges


def long_tags(text: str, start: int) -> list[tuple[int, int]]:
    """Return the ranges of tags whose arguments span several lines.

    Markdown would read `>}}` at the beginning of a line as a quote, so such tags are read before Markdown.
    """
    return [match.span() for match in _LONG_TAG.finditer(text, start) if "\n" in match[0] or "\r" in match[0]]


def masked(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Replace every character in `ranges` except white space by a letter. The ranges do not overlap."""
    pieces: list[str] = []
    position = 0
    for start, end in sorted(ranges):
        pieces += text[position:start], _VISIBLE.sub("x", text[start:end])
        position = end
    return "".join((*pieces, text[position:]))


@dataclass(frozen=True, slots=True)
class _PairedTag:
    """A tag at `start:end` of a kind that has end tags. `family` is the beginning of its delimiter, `{%` or `{{`.

    escaped: a shortcode that is shown instead of run.
    """

    start: int
    end: int
    family: str
    name: str
    closes: bool = False
    escaped: bool = False


def _paired_tags(text: str, start: int, pattern: re.Pattern[str]) -> Iterator[_PairedTag]:
    """Yield the tags of `text` that `pattern` matches, except self-closing ones."""
    ends: list[int] | None = None
    for match in pattern.finditer(text, start):
        if ends is None:
            ends = [match.end() for match in _TAG_END.finditer(text, match.end())]
        index = bisect_left(ends, match.end())
        if index == len(ends):
            return
        end = ends[index]
        if match["escaped"]:
            yield _PairedTag(match.start(), end, "{{", "", escaped=True)
        elif match["short"] is None:
            yield _PairedTag(match.start(), end, "{%", match["name"], closes=match["end"] is not None)
        elif not _SELF_CLOSING.search(text, max(match.end(), end - 8), end):
            yield _PairedTag(match.start(), end, "{{", match["short"], closes=match["slash"] is not None)


def _closers(tags: list[_PairedTag]) -> dict[int, int]:
    """Map the index of each opening tag that has a closing tag to the index of the latter."""
    closers: dict[int, int] = {}
    opened: dict[tuple[str, str], list[int]] = {}
    for index, tag in enumerate(tags):
        waiting = opened.setdefault((tag.family, tag.name), [])
        if not tag.closes:
            waiting.append(index)
        elif tag.family == "{{" and waiting:
            closers[waiting.pop()] = index
        else:
            closers.update(dict.fromkeys(waiting, index))
            waiting.clear()
    return closers
