"""Template tags in Markdown: Hexo's and Jekyll's `{% img … %}`, Hugo's `{{< figure … >}}`. Pure.

A tag that is known to show a picture is read; `{% codeblock %}` and its like are code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_CODE_TAG = re.compile(r"\{%-?[ \t]*+(end)?(codeblock|code|highlight|prettify|comment)\b")


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


def code_ranges(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges between a code tag and its end tag; a tag without an end opens nothing."""
    name, begin = "", -1
    for tag in _CODE_TAG.finditer(text, start):
        if begin < 0 and not tag[1]:
            name, begin = tag[2], tag.start()
        elif begin >= 0 and tag[1] and tag[2] == name:
            yield begin, tag.end()
            begin = -1
