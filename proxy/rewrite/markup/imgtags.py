"""The `<img>` tags of an article: their attributes, and the positions for further ones. Pure.

Positions are byte offsets of the article.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from proxy.rewrite.base.expressions import has_expression
from proxy.rewrite.base.layers import decode_attribute
from proxy.rewrite.markup.htmlscan import Tag, attribute_names

Locate = Callable[[int, int], tuple[int, int] | None]

BOUND = re.compile(r"(?:v-bind:|x-bind:|bind:|:|\[(?:attr\.)?)([\w:-]+)\]?\Z")
"""Attributes whose value is an expression of Vue, Alpine, Svelte or Angular."""


@dataclass(frozen=True, slots=True)
class ImgTag:
    """An `<img>` tag.

    start: where its `src` begins. at: the position for further attributes, after its last one; None when uncertain.
    quote: the quote around its `src`. names: the names of its attributes; bound attributes have their plain names.
    values: the decoded values of the attributes that matter. style_at: where its `style` begins; None when it has no
    readable one. in_picture: whether it is inside `<picture>`. directed: whether a `<source>` beside it has `media` and
    so may show another picture. dynamic: whether the tag contains a template expression.
    """

    start: int
    at: int | None
    quote: str
    names: frozenset[str]
    values: dict[str, str]
    style_at: int | None = None
    in_picture: bool = False
    directed: bool = False
    dynamic: bool = False


Place = Literal["inline", "paragraph", "lines", "reference", "uncertain"]
"""How an image stands in its block. `paragraph`: it is a whole paragraph. `lines`: as HTML, it would turn other lines
into HTML too."""


@dataclass(frozen=True, slots=True)
class MarkdownImage:
    """A Markdown image at `start:end` of the article, with its address at `address`. `text` is its Markdown."""

    start: int
    end: int
    address: int
    text: str
    place: Place


@dataclass(slots=True)
class Pictures:
    """The pictures that an article shows: its `<img>` tags with a `src`, its Markdown images, positions of others."""

    tags: list[ImgTag] = field(default_factory=list)
    images: list[MarkdownImage] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The position of the first picture; -1 when there is none."""
        starts = [*(tag.start for tag in self.tags), *(image.start for image in self.images)]
        return min((*starts, *self.others), default=-1)


_VALUES = frozenset({"width", "height", "loading", "style"})


def img_tag(text: str, tag: Tag, place: Locate, *, in_picture: bool, directed: bool) -> ImgTag | None:
    """Return an `<img>` tag of `text`, its positions mapped by `place`; None without a `src` at a known position."""
    src = next((item for item in tag.attributes if item.name == "src"), None)
    found = place(src.start, src.end) if src else None
    if src is None or found is None:
        return None
    lead = len(text[src.start : src.end]) - len(text[src.start : src.end].lstrip("\t\n\f\r "))
    values: dict[str, str] = {}
    style_at = None
    for item in tag.attributes:
        # HTML §13.2.5.33: the first of two attributes with the same name counts.
        if item.name in _VALUES and item.name not in values:
            values[item.name] = decode_attribute(text[item.start : item.end])
            if item.name == "style":
                # Map the character before the value, because an empty value has no position to map.
                before = place(item.start - 1, item.start)
                style_at = before[1] if before else None
    last = tag.attributes[-1]
    behind = last.end + len(last.quote)
    # Text after an empty unquoted value would become its value.
    end = place(behind - 1, behind) if last.quote or last.start < last.end else None
    names = (bound[1] if (bound := BOUND.match(name)) else name for name in attribute_names(text, tag))
    return ImgTag(
        found[0] + lead,
        end[1] if end else None,
        src.quote or '"',
        frozenset(names),
        values,
        style_at,
        in_picture=in_picture,
        directed=directed,
        dynamic=has_expression(text[tag.start : tag.end]),
    )
