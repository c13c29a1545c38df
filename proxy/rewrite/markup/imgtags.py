"""The `<img>` tags of an article: what their authors said and where more can be said. Pure values.

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

    start: where its `src` begins. at: where further attributes can stand, behind its last one; None when that is not
    certain. quote: what its `src` is quoted with. names: its attributes, bound ones of templates by their plain names.
    values: the decoded values of those that matter. style_at: where its `style` begins; None when it has none that can
    be read. in_picture: inside `<picture>`. directed: a `<source>` beside it names media, and may show another picture.
    dynamic: a template expression stands in the tag.
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
"""`paragraph`: it is one, and becomes one. `lines`: other lines would become HTML with it."""


@dataclass(frozen=True, slots=True)
class MarkdownImage:
    """An image `start:end` of the article, with its address at `address`; `text` is the Markdown of it."""

    start: int
    end: int
    address: int
    text: str
    place: Place


@dataclass(slots=True)
class Pictures:
    """The pictures that an article shows: its `<img>` tags with a `src`, Markdown's images, and where others stand."""

    tags: list[ImgTag] = field(default_factory=list)
    images: list[MarkdownImage] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """Where the first picture stands; -1 when there is none."""
        starts = [*(tag.start for tag in self.tags), *(image.start for image in self.images)]
        return min((*starts, *self.others), default=-1)


_VALUES = frozenset({"width", "height", "loading", "style"})


def img_tag(text: str, tag: Tag, place: Locate, *, in_picture: bool, directed: bool) -> ImgTag | None:
    """Return an `<img>` tag of `text` with the positions that `place` gives; None without a `src` that can be told."""
    src = next((item for item in tag.attributes if item.name == "src"), None)
    found = place(src.start, src.end) if src else None
    if src is None or found is None:
        return None
    lead = len(text[src.start : src.end]) - len(text[src.start : src.end].lstrip("\t\n\f\r "))
    values: dict[str, str] = {}
    style_at = None
    for item in tag.attributes:
        # The first of two counts (HTML §13.2.5.33).
        if item.name in _VALUES and item.name not in values:
            values[item.name] = decode_attribute(text[item.start : item.end])
            if item.name == "style":
                # Behind the value there is its quote, or a space: an empty value has no place of its own.
                before = place(item.start - 1, item.start)
                style_at = before[1] if before else None
    last = tag.attributes[-1]
    behind = last.end + len(last.quote)
    # Behind an empty value without quotes, what is added would be the value.
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
