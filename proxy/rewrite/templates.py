"""Template tags of Hexo and Jekyll in Markdown: `{% img … %}` shows a picture, `{% codeblock %}` is code. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TAG = re.compile(r"\{%-?[ \t\n]*+(\w+)")
_PICTURE_TAGS = frozenset({"img", "image", "inlineimage", "inlineimg"})
_ARGUMENT = re.compile(r"[^\s\"']++|[\"']")
_CODE_TAG = re.compile(r"\{%-?[ \t]*+(end)?(codeblock|code|highlight|prettify|comment)\b")


def picture_address(tag: str) -> tuple[int, int] | None:
    """Return where the address stands in `{% img [class] address [width] … %}`, None for other tags."""
    name = _TAG.match(tag)
    if name is None or name[1] not in _PICTURE_TAGS:
        return None
    for argument in _ARGUMENT.finditer(tag, name.end(), len(tag) - 2):
        if re.match(r"(?:https?:)?//", argument[0], re.IGNORECASE):
            return argument.span()
    return None


def code_ranges(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges between a code tag and its end tag; a tag without an end opens nothing."""
    name, begin = "", -1
    for tag in _CODE_TAG.finditer(text, start):
        if begin < 0 and not tag[1]:
            name, begin = tag[2], tag.start()
        elif begin >= 0 and tag[1] and tag[2] == name:
            yield begin, tag.end()
            begin = -1
