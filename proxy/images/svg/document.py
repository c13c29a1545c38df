"""SVG as text: read safely, measured, and written again with nothing in it that acts or leads elsewhere. Pure.

The reader is expat. Entities are short plain text or refused; external ones are never loaded. What is written again
holds elements, attributes and text only: no document type, no processing instruction, no comment, and of these not

    <script>, <foreignObject>, handlers (onload=…)    what acts, or is no SVG
    href="http:…", href="/etc/…", xml:base            what leads elsewhere; #here and pictures in data: stay

The rasteriser would open a file that an <image> names; it never sees such a name. Style sheets may name addresses
too (`@import`, `url(…)`), for which it has no loader.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from proxy.errors import DecodeFailed, UnsupportedFormat
from proxy.images.svg.encoding import as_utf_8

MAX_ELEMENTS = 100_000
MAX_DEPTH = 200
"""Elements in each other. The rasteriser works down by recursion; at 1,000 its stack is at an end."""
DEFAULT_SIZE = (300.0, 150.0)
"""CSS 2.2 §10.3.2: of a picture that names no size."""

MAX_ENTITIES = 64
MAX_REFERENCES = 50_000
"""Ampersands in a document with entities: what they come to stays below 16 MiB."""
_PLAIN_ENTITY = re.compile(r"[^&<%]{0,256}")

_DROPPED = frozenset(
    {"script", "foreignobject", "handler", "listener", "iframe", "audio", "video", "metadata"}
)
_LINKS = frozenset({"href", "src"})
_EMBEDDED = re.compile(r"\s*data:image/(png|jpe?g|gif|webp)[;,]", re.IGNORECASE)
_LENGTH = re.compile(
    r"\s*\+?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})(?:[eE]([+-]?\d))?\s*(px|pt|pc|mm|cm|in|em|ex)?\s*"
)
_UNIT_PX = {
    "px": 1.0,
    "pt": 96 / 72,
    "pc": 16.0,
    "mm": 96 / 25.4,
    "cm": 96 / 2.54,
    "in": 96.0,
    "em": 16.0,
    "ex": 8.0,
}
_SAME_SHAPE = 0.01

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class SvgDocument:
    """A document that was read. width, height: in CSS pixels. has_text: fonts are needed to draw it."""

    width: float
    height: float
    has_text: bool
    _root: str
    _attributes: tuple[tuple[str, str], ...]
    _inside: str
    _fills: bool

    def at(self, width: int, height: int) -> str:
        """Return the document as text, to be drawn `width` by `height` pixels large."""
        attributes = dict(self._attributes) | {"width": str(width), "height": str(height)}
        attributes.setdefault("viewBox", f"0 0 {self.width:g} {self.height:g}")
        if self._fills:
            # Whole pixels are not quite of the document's shape; no gap may open at the rim for that.
            attributes["preserveAspectRatio"] = "none"
        return f"{_tag(self._root, attributes)}{self._inside}</{self._root}>"


def read(body: bytes) -> SvgDocument:
    """Return the document in `body`.

    Raises:
        DecodeFailed: it is no XML, or no SVG.
        UnsupportedFormat: it has other entities than short texts, or more elements than are drawn.
    """
    reader = _Reader()
    try:
        reader.parse(body)
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: an encoding unheard of
        raise DecodeFailed(detail=f"XML: {error}") from error
    view = _view_box(reader.attributes.get("viewBox", ""))
    width, height = _size(reader.attributes, view)
    # A document without a viewBox fills what it is given; one with another shape keeps its own rule.
    fills = view is None or abs(view[0] * height / (view[1] * width) - 1) < _SAME_SHAPE
    attributes = {name: text for name, text in reader.attributes.items() if name != "viewBox" or view}
    return SvgDocument(
        width,
        height,
        reader.has_text,
        reader.root,
        tuple(attributes.items()),
        "".join(reader.written),
        fills,
    )


class _Reader:
    """Takes what expat finds and keeps what may stay, as text."""

    def __init__(self) -> None:
        self.root = ""
        self.attributes: Attributes = {}
        self.written: list[str] = []
        self.has_text = False
        self._elements = 0
        self._depth = 0
        self._dropping_from = math.inf
        self._entities = 0
        self._references = 0

    def parse(self, body: bytes) -> None:
        """Read a whole document."""
        recoded = as_utf_8(body)
        self._references = body.count(b"&")
        parser = expat.ParserCreate(None if recoded is None else "utf-8")
        parser.buffer_text = True
        parser.EntityDeclHandler = self._entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.SkippedEntityHandler = self._skipped
        parser.Parse(body if recoded is None else recoded, True)

    def _entity(self, _name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        """Admit entities that are short plain text, as Illustrator writes for its namespaces."""
        self._entities += 1
        plain = not is_parameter and value is not None and _PLAIN_ENTITY.fullmatch(value)
        if not plain or self._entities > MAX_ENTITIES or self._references > MAX_REFERENCES:
            raise UnsupportedFormat("The drawing has entities that are more than a few short texts.")

    def _skipped(self, name: str, _is_parameter: bool) -> None:
        raise DecodeFailed(detail=f"an entity that nothing declares: {name[:40]}")

    def _start(self, name: str, attributes: Attributes) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > MAX_ELEMENTS or self._depth > MAX_DEPTH:
            raise UnsupportedFormat(
                f"The drawing has more than {MAX_ELEMENTS} elements, or more than {MAX_DEPTH} in each other."
            )
        kind = _local(name).lower()
        if self._depth == 1:
            if kind != "svg":
                raise DecodeFailed(detail=f"the root is <{name[:40]}>")
            self.root, self.attributes = name, _kept(attributes)
            return
        if kind in _DROPPED:
            self._dropping_from = min(self._dropping_from, self._depth)
        if self._depth < self._dropping_from:
            self.has_text |= kind == "text"
            self.written.append(_tag(name, _kept(attributes)))

    def _end(self, name: str) -> None:
        if self._depth < self._dropping_from and self._depth > 1:
            self.written.append(f"</{name}>")
        if self._depth == self._dropping_from:
            self._dropping_from = math.inf
        self._depth -= 1

    def _text(self, text: str) -> None:
        if self._depth < self._dropping_from:
            self.written.append(escape(text))


def _kept(attributes: Attributes) -> Attributes:
    return {name: text for name, text in attributes.items() if _may_stay(name, text)}


def _may_stay(name: str, text: str) -> bool:
    local = _local(name).lower()
    if local in _LINKS:
        return text.lstrip().startswith("#") or _EMBEDDED.match(text) is not None
    return not local.startswith("on") and name.lower() != "xml:base"


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _tag(name: str, attributes: Attributes) -> str:
    return f"<{name}" + "".join(f" {key}={quoteattr(text)}" for key, text in attributes.items()) + ">"


def _view_box(text: str) -> tuple[float, float] | None:
    """Return width and height of a viewBox, None when it is none or shows nothing."""
    parts = re.split(r"[\s,]+", text.strip()[:200])
    try:
        _, _, width, height = (float(part) for part in parts)
    except ValueError:
        return None
    return (width, height) if 0 < width < math.inf and 0 < height < math.inf else None


def _size(attributes: Attributes, view: tuple[float, float] | None) -> tuple[float, float]:
    """Return the size that CSS 2.2 §10.3.2 gives a replaced element with these attributes."""
    width, height = _length(attributes.get("width", "")), _length(attributes.get("height", ""))
    if view is not None:
        if width is None and height is None:
            return view
        width = width if width is not None else (height or 0) * view[0] / view[1]
        height = height if height is not None else width * view[1] / view[0]
    return width or DEFAULT_SIZE[0], height or DEFAULT_SIZE[1]


def _length(text: str) -> float | None:
    """Return a length in CSS pixels; None for shares (100%), for `auto`, and for what is no length."""
    match = _LENGTH.fullmatch(text[:64])
    if match is None:
        return None
    value = float(match[1]) * 10.0 ** int(match[2] or 0) * _UNIT_PX[match[3] or "px"]
    return value if value > 0 else None
