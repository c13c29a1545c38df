"""Template tags in Markdown: Hexo's and Jekyll's `{% img … %}`, Hugo's `{{< figure … >}}`. Pure.

A tag that is known to show a picture is read; what stands in `{% codeblock %}` and its like is code. Generators read
tags before they read Markdown, so code tags, and picture tags over several lines, are masked before Markdown is read.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.rewrite.spot import Use

_TAG = re.compile(r"(?:\{%-?|\{\{[<%])[ \t\n]*+([\w-]+)[ \t\n]*+")
_PICTURE_TAGS = frozenset({"img", "image", "inlineimage", "inlineimg", "asset_img", "figure", "picture"})
_SHOWN = frozenset({"", "src", "url", "image", "img", "image_url", "image_path", "srcset"})
_LINKED = frozenset({"link", "href", "attrlink"})
_ARGUMENT = re.compile(
    r"""(?:([\w-]++)[ \t]*+=[ \t]*+)?(?:"([^"]*+)"|'([^']*+)'|`([^`]*+)`|([^\s"'`]++))|["'`]""", re.DOTALL
)
_ADDRESS = re.compile(r"(?:https?:)?//[^\s\"'`\\]++", re.IGNORECASE)
_PICTURE_FILE = re.compile(r"im(?:g|age)|fig|pic|photo|thumb|gallery|lightbox", re.IGNORECASE)
CODE_TAGS = (
    "codeblock", "code-block", "code", "highlight", "prettify", "prism", "raw", "verbatim", "comment", "mermaid",
)  # fmt: skip
"""Tags and shortcodes of Hexo, Jekyll and Hugo around code."""

_CODE_NAMES = f"(?:{'|'.join(CODE_TAGS)})(?![\\w-])"
_CODE_TAG = re.compile(
    rf"""\{{%[-+~]?\s*+(?P<end>end)?(?P<name>{_CODE_NAMES})
    |\{{\{{[<%]\s*+(?:(?P<escaped>/\*)|(?P<slash>/)?\s*+(?P<short>{_CODE_NAMES}))""",
    re.VERBOSE,
)
_TAG_END = re.compile(r"[-+~]?%\}\}?|>\}\}")
_SELF_CLOSING = re.compile(r"/\s*+[%>]\}\}\Z")
_OPENING = r"\{(?:%|\{[<%])"
_LONG_TAG = re.compile(
    rf"""(?:\{{%-?|\{{\{{[<%])\s*+(?:{"|".join(sorted(_PICTURE_TAGS))}|include)\s
    (?:"(?:(?!{_OPENING})[^"])*+"|'(?:(?!{_OPENING})[^'])*+'|`(?:(?!{_OPENING})[^`])*+`
    |(?!{_OPENING}|[%>]\}})[^"'`])*+
    (?:-?%\}}\}}?|>\}}\}})""",
    re.VERBOSE,
)
"""It ends before the next tag begins, so that no text is read twice."""

_VISIBLE = re.compile(r"\S")


@dataclass(frozen=True, slots=True)
class TagAddress:
    """An address at `start:end` of a tag, and what the tag does with it."""

    start: int
    end: int
    use: Use


def tag_addresses(tag: str) -> Iterator[TagAddress]:
    """Yield the addresses of `{% img [class] address [width] … %}` and of tags with `src="…"`.

    `{% include image.html src=… %}` shows a picture when the file's name says so; of another file nobody knows,
    and its address is treated as a link.
    """
    name = _TAG.match(tag)
    if name is None or (name[1] not in _PICTURE_TAGS and name[1] != "include"):
        return
    found = False
    file_name = ""
    for argument in _ARGUMENT.finditer(tag, name.end(), len(tag) - 2):
        group = argument.lastindex or 0
        if group < 2:
            continue
        key, (start, end) = (argument[1] or "").lower(), argument.span(group)
        if name[1] == "include" and not key:
            file_name = file_name or argument[group]
        elif _ADDRESS.fullmatch(tag, start, end) and not (found and not key):
            if key in _SHOWN:
                found = True
                shows = name[1] != "include" or _PICTURE_FILE.search(file_name)
                yield TagAddress(start, end, Use.SHOW if shows else Use.LINK)
            elif key in _LINKED:
                yield TagAddress(start, end, Use.LINK)


def code_ranges(text: str, start: int) -> list[tuple[int, int]]:
    """Return the ranges of code tags with what is in them, and of shortcodes that are shown and not run.

    A tag without an end opens nothing. Tags of Hexo and Jekyll end at the first end tag; Hugo's nest.
    """
    ends = [match.end() for match in _TAG_END.finditer(text, start)]
    tags = list(_code_tags(text, start, ends))
    closers = _closers(tags)
    ranges: list[tuple[int, int]] = []
    for index, tag in enumerate(tags):
        closer = index if tag.escaped else closers.get(index)
        if closer is not None and (not ranges or tag.start >= ranges[-1][1]):
            ranges.append((tag.start, tags[closer].end))
    return ranges


def long_tags(text: str, start: int) -> list[tuple[int, int]]:
    """Return the ranges of picture tags whose arguments stand on several lines.

    Markdown would read `>}}` at the beginning of a line as a quote, so these are read before it.
    """
    return [match.span() for match in _LONG_TAG.finditer(text, start) if "\n" in match[0] or "\r" in match[0]]


def masked(text: str, ranges: Iterable[tuple[int, int]]) -> str:
    """Return the text with everything but white space in `ranges`, which do not overlap, made a letter."""
    pieces: list[str] = []
    position = 0
    for start, end in sorted(ranges):
        pieces += text[position:start], _VISIBLE.sub("x", text[start:end])
        position = end
    return "".join((*pieces, text[position:]))


@dataclass(frozen=True, slots=True)
class _CodeTag:
    """A code tag at `start:end`; `family` is how its kind begins. `escaped`: a shortcode that is shown, not run."""

    start: int
    end: int
    family: str
    name: str
    closes: bool = False
    escaped: bool = False


def _code_tags(text: str, start: int, ends: list[int]) -> Iterator[_CodeTag]:
    """Yield the code tags of `text`, but not those that close themselves; `ends` is where tags end."""
    for match in _CODE_TAG.finditer(text, start):
        index = bisect_left(ends, match.end())
        if index == len(ends):
            return
        end = ends[index]
        if match["escaped"]:
            yield _CodeTag(match.start(), end, "{{", "", escaped=True)
        elif match["short"] is None:
            yield _CodeTag(match.start(), end, "{%", match["name"], closes=match["end"] is not None)
        elif not _SELF_CLOSING.search(text, max(match.end(), end - 8), end):
            yield _CodeTag(match.start(), end, "{{", match["short"], closes=match["slash"] is not None)


def _closers(tags: list[_CodeTag]) -> dict[int, int]:
    """Return the index of the closing tag for the index of each tag that has one."""
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
