"""Spots: the places of addresses in an article, and how each place uses and spells its address. Pure.

Byte text: all parsing here works on `data.decode("latin-1")`, one character per byte, so that every position is
a byte offset and every encoding survives. Escapes that spell other characters are decoded to UTF-8 bytes in the
same way; `address_text` turns the result into the text that `proxy.dialects` and `proxy.source` read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from proxy.dialects.base.escapes import as_text


class Use(Enum):
    """How a place uses its address."""

    SHOW = "shows a picture"
    MAY_SHOW = "shows a picture when its address is one's"
    LINK = "links"
    ASSET = "loads something that is not a picture"
    LEAVE = "is not known to show a picture"
    TEXT = "holds text, perhaps with addresses in it"
    EXPRESSION = "holds an expression of a template"


TEXTS = (Use.TEXT, Use.EXPRESSION)
"""Uses whose spot is a text and not an address. The spot tells to which text an address inside it belongs."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of spelling. `encode(decode(raw))` may differ from `raw` but has the same meaning."""

    decode: Callable[[str], str]
    encode: Callable[[str], str]


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Spot:
    """Bytes `start:end` of the article hold an address.

    `layers` are its spellings from outside to inside. `hold` percent-encodes characters that the place cannot spell.
    `media` are the types that an ASSET must be admitted for; `preset` overrides the text's preset. raster: readers of
    this place show no SVG. width: the width in pixels that a srcset states, 0 without one. around: a link around a
    picture. likely: for MAY_SHOW, an enclosing key names a picture. closed: `hold` applies to our whole address, not
    only to the source in it.
    """

    start: int
    end: int
    use: Use
    context: str
    layers: tuple[Layer, ...] = ()
    hold: Callable[[str], str] = _as_it_is
    preset: str | None = None
    media: tuple[str, ...] = field(default=())
    raster: bool = False
    width: int = 0
    around: bool = False
    likely: bool = False
    closed: bool = False

    def read(self, raw: str) -> str:
        """Decode `raw`, byte text of the article, to an address."""
        for layer in self.layers:
            raw = layer.decode(raw)
        return raw

    def write(self, url: str) -> str | None:
        """Return `url` as spelled at this place, or None when the place cannot spell it."""
        raw = url
        for layer in reversed(self.layers):
            raw = layer.encode(raw)
        return raw if self.read(raw) == url else None


def address_text(text: str) -> str:
    """Decode byte text as UTF-8, with surrogate escapes for other bytes."""
    return as_text(text.encode("latin-1"))


def byte_text(text: str) -> str:
    """Encode text as byte text, the reverse of `address_text`. A lone surrogate becomes U+FFFD."""
    return text.encode("utf-8", "replace").decode("latin-1")
