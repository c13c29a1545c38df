"""Spots: places of an article where an address stands, and what the place makes of it. Pure values.

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
    """What a place does with the address."""

    SHOW = "shows a picture"
    MAY_SHOW = "shows a picture when its address is one's"
    LINK = "links"
    ASSET = "loads something that is not a picture"
    LEAVE = "is not known to show a picture"
    TEXT = "holds text, perhaps with addresses in it"
    EXPRESSION = "holds an expression of a template"


TEXTS = (Use.TEXT, Use.EXPRESSION)
"""What stands there is no address; its spot tells what an address somewhere in it belongs to."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One spelling that lies over an address: `encode(decode(raw))` may differ from `raw`, its meaning not."""

    decode: Callable[[str], str]
    encode: Callable[[str], str]


def _as_it_is(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Spot:
    """Bytes `start:end` of the article hold an address.

    `layers` are its spellings from outside to inside. `hold` percent-encodes what no spelling of the place can
    express. `media` are the types that an ASSET must be admitted for; `preset` overrides the text's preset.
    raster: its readers show no SVG. width: what a srcset says that the picture is wide, in pixels; 0 when it is silent.
    around: a link around a picture. likely: where MAY_SHOW, a key above names a picture. closed: `hold` counts for the
    whole of our address, not only for the source in it.
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
        """Return the address that `raw`, byte text of the article, spells."""
        for layer in self.layers:
            raw = layer.decode(raw)
        return raw

    def write(self, url: str) -> str | None:
        """Return the spelling of `url` for this place, or None when the place cannot express it."""
        raw = url
        for layer in reversed(self.layers):
            raw = layer.encode(raw)
        return raw if self.read(raw) == url else None


def address_text(text: str) -> str:
    """Return byte text as text: UTF-8 where it is, surrogate escapes where not."""
    return as_text(text.encode("latin-1"))


def byte_text(text: str) -> str:
    """Return text as byte text: the reverse of `address_text`; a lone surrogate becomes U+FFFD."""
    return text.encode("utf-8", "replace").decode("latin-1")
