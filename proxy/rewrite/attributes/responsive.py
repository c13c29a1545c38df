"""Computes the attributes that `--responsive` adds to an `<img>`: missing ones that the kept original implies. Pure.

srcset, sizes      the widths of `rewrite.widths` up to the original's; not if it cannot be resized, nor in `<picture>`
width, height      the original's, or the variant's if that has another shape or names its own size
loading, decoding  lazy and async, except for the first picture of the article
style              the colour of an opaque picture as background; `height:auto` when a height is added, because a style
                   sheet with only `max-width` would distort the picture

The author's attributes stay and come first: HTML uses the first of two attributes with the same name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from proxy.dialects.native import ORIGINAL
from proxy.rewrite.attributes.candidates import SrcsetCandidates, names_size
from proxy.rewrite.base.kept import Kept, Shape, Size
from proxy.rewrite.markup.imgtags import ImgTag

Link = Callable[[str], str]
"""Returns the address of the picture with other options."""

_PLAIN_NUMBER = re.compile(r"[\t\n\f\r ]*([1-9][0-9]{0,5})[\t\n\f\r ]*\Z")
_SIZING = re.compile(
    r"(?:\A|[;\s{])(?:(?:min-|max-)?(?:width|height|inline-size|block-size)|aspect-ratio|zoom|all)[\s]*:",
    re.IGNORECASE,
)
_NOT_SIZING = re.compile(
    r"(?<![\w-])(?:(?:width|height)\s*:\s*auto|max-width\s*:\s*100%)(?=\s*(?:;|\Z))", re.IGNORECASE
)
_HEIGHT = re.compile(r"(?:\A|[;\s{])(?:height|all)\s*:", re.IGNORECASE)
_BACKGROUND = re.compile(r"(?:\A|[;\s{])(?:background|all)[\w-]*\s*:", re.IGNORECASE)
SRCSET, STYLE = "srcset", "style"


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """A picture as an `<img>` shows it: the options of its address, and a function to write other addresses.

    lasting: its address does not expire. For an expiring signature we write no other addresses, which would outlive it.
    """

    options: str
    link: Link
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Addition:
    """Text to insert into the article at a position; `names` are the attributes in it."""

    at: int
    text: str
    names: tuple[str, ...]


def wants(tag: ImgTag, *, first: bool) -> bool:
    """Return whether a tag lacks any attribute that could be added."""
    names = tag.names
    lacks = not {"width", "height"} <= names or (not first and not {"loading", "decoding"} <= names)
    return lacks or (SRCSET not in names and not tag.in_picture)


class Responsive:
    """Computes additions for one configuration; `sizes` is the attribute's value."""

    def __init__(self, candidates: SrcsetCandidates, shape: Shape, *, sizes: str) -> None:
        self._candidates = candidates
        self._shape = shape
        self._sizes = sizes

    def additions(self, tag: ImgTag, shown: ShownPicture, kept: Kept, *, first: bool) -> list[Addition]:
        """Return the additions to a tag in order. `first`: it is the first picture of the article."""
        words = dict(self._attributes(tag, shown, kept, first=first))
        found: list[Addition] = []
        style = list(_declarations(tag, kept, has_new_height="height" in words))
        if style and tag.style_at is not None:
            # Insert before the author's style, which then takes precedence, whatever it ends with.
            found.append(Addition(tag.style_at, "".join(f"{item};" for item in style), (STYLE,)))
        elif style:
            words[STYLE] = ";".join(style)
        if words and tag.at is not None:
            text = "".join(
                f" {name}={tag.quote}{_held(value, tag.quote)}{tag.quote}" for name, value in words.items()
            )
            found.append(Addition(tag.at, text, tuple(words)))
        return sorted(found, key=lambda item: item.at)

    def _attributes(
        self, tag: ImgTag, shown: ShownPicture, kept: Kept, *, first: bool
    ) -> Iterator[tuple[str, str]]:
        names = tag.names
        lazy = tag.values.get("loading", "").strip().lower() == "lazy" or not (first or "loading" in names)
        if SRCSET not in names and not tag.in_picture and (srcset := self._srcset(shown, kept)):
            yield SRCSET, srcset
            if "sizes" not in names:
                yield "sizes", f"auto, {self._sizes}" if lazy else self._sizes
        yield from self._dimensions(tag, shown, kept)
        if not first:
            yield from ((name, value) for name, value in _LATER.items() if name not in names)

    def _srcset(self, shown: ShownPicture, kept: Kept) -> str:
        if not (kept.resizes and shown.lasting):
            return ""
        found = [
            (shown.link(options), width) for options, width in self._candidates.of(shown.options, kept.size)
        ]
        if any(link.startswith(",") or link.endswith(",") for link, _ in found):
            # In a srcset this character is a separator, and escaping it would change the source.
            return ""
        return ", ".join(f"{link} {width}w" for link, width in found)

    def _dimensions(self, tag: ImgTag, shown: ShownPicture, kept: Kept) -> Iterator[tuple[str, str]]:
        given = {"width", "height"} & tag.names
        style = _NOT_SIZING.sub("", tag.values.get(STYLE, ""))
        if len(given) > 1 or tag.directed or _SIZING.search(style) or _unread_style(tag):
            return
        size = self._size(shown, kept)
        if size is None:
            return
        if not given:
            yield "width", str(size[0])
            yield "height", str(size[1])
            return
        number = _PLAIN_NUMBER.match(tag.values.get(given.pop(), ""))
        if number is None:
            return
        pixels = int(number[1])
        if "width" in tag.names:
            yield "height", str(max(1, round(pixels * size[1] / size[0])))
        else:
            yield "width", str(max(1, round(pixels * size[0] / size[1])))

    def _size(self, shown: ShownPicture, kept: Kept) -> Size | None:
        """Return the original's size, or the variant's if that has another shape or names its own size."""
        if shown.options == ORIGINAL or not kept.resizes:
            return kept.size
        size = self._shape(shown.options, kept.size)
        if size is None or names_size(shown.options):
            return size
        has_shape = abs(size[0] * kept.height / kept.width - size[1]) <= 1
        return kept.size if has_shape else size


_LATER = {"loading": "lazy", "decoding": "async"}


def _declarations(tag: ImgTag, kept: Kept, *, has_new_height: bool) -> Iterator[str]:
    written = tag.values.get(STYLE, "")
    if has_new_height and not _HEIGHT.search(written):
        yield "height:auto"
    if kept.colour and not (tag.in_picture or _unread_style(tag) or _BACKGROUND.search(written)):
        yield f"background-color:{kept.colour}"


def _unread_style(tag: ImgTag) -> bool:
    """Return whether a tag has a style whose text is unknown: a bound one, or one at an uncertain position."""
    return STYLE in tag.names and tag.style_at is None


def _held(value: str, quote: str) -> str:
    return (
        value.replace("&", "&amp;").replace(quote, "&quot;" if quote == '"' else "&#39;").replace("<", "&lt;")
    )
