"""Reads an SVG document safely, measures it, and writes it again without active parts and outside references. Pure.

The parser is expat. An entity must be short plain text, otherwise the document is refused; external entities are never
loaded. The new document holds only elements, attributes and text. It has no document type, no processing instructions
and no comments, and it also lacks

    <script>, <foreignObject>, handlers (onload=…)    active parts, and content that is not SVG
    href="http:…", href="/etc/…", xml:base            references to other places; #here and pictures in data: stay

The rasteriser would open a file that an <image> names, but it never sees such a name. Style sheets may also contain
addresses (`@import`, `url(…)`); the rasteriser has no loader for them.
"""

from __future__ import annotations

import base64
import html
import math
import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes
from xml.parsers import expat

from proxy.errors import DecodeFailed, PictureError, UnsupportedFormat
from proxy.images.formats import sniff
from proxy.images.svg import css
from proxy.images.svg.encoding import as_utf_8
from proxy.images.svg.measure import size, view_box
from proxy.images.svg.work import MAX_WORK_NS, Cost, Work, references

MAX_ELEMENTS = 100_000
MAX_DEPTH = 200
"""The deepest nesting of elements. The rasteriser is recursive and overflows its stack at 1,000."""
_TOO_MANY = f"The drawing has more than {MAX_ELEMENTS} elements, or nests them more than {MAX_DEPTH} deep."
MAX_ENTITIES = 64
MAX_REFERENCES = 50_000
"""The most ampersands of a document with entities. Their expansion then stays below 16 MiB."""
_PLAIN_ENTITY = re.compile(r"[^&<%]{0,256}")

_LEFT_OUT = frozenset({"metadata", "title", "desc", "tref", "font", "font-face", "glyph", "cursor"})
"""Elements that no browser draws."""
_BROWSERS_ONLY = frozenset(
    {
        "script",
        "foreignobject",
        "animate",
        "animatetransform",
        "animatemotion",
        "set",
        "video",
        "audio",
        "canvas",
    }
    | {"iframe", "handler", "listener", "discard", "embed", "object"}
)
_LINKS = frozenset({"href", "src"})
_EMBEDDED = re.compile(r"\s*data:image/(?:png|jpe?g|gif|webp)[;,]", re.IGNORECASE)
_NESTED = re.compile(r"\s*data:image/svg\+xml(?:;[\w=-]{1,40})*,", re.IGNORECASE)
_IN_QUOTES = str.maketrans({'"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})
"""A parser turns bare line ends and tabs of an attribute into spaces (XML 1.0 §3.3.3)."""
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_EMBEDDED_FORMATS = frozenset({"png", "jpeg", "gif", "webp"})
_HEAD_CHARS = 256
_NOT_IN_BROWSERS = frozenset({"BackgroundImage", "BackgroundAlpha", "FillPaint", "StrokePaint"})
_SVG_NAMESPACE = "http://www.w3.org/2000/svg"
_NUMBERS = re.compile(r"[-+.\deE]+")
_SAME_SHAPE = 0.01

Attributes = dict[str, str]


@dataclass(frozen=True, slots=True)
class SvgDocument:
    """A document that was read. width, height: in CSS pixels. has_text: fonts are needed to draw it.

    letters: the characters of its text, including spaces. objection: something that a browser may draw differently from
    the rasteriser; empty if nothing was found.
    """

    width: float
    height: float
    has_text: bool
    letters: frozenset[str]
    objection: str
    _cost: Cost
    _units: float
    _root: str
    _attributes: tuple[tuple[str, str], ...]
    _inside: str
    _fills: bool

    def at(self, width: int, height: int) -> str:
        """Return the document as text, to be drawn at `width` by `height` pixels."""
        attributes = dict(self._attributes) | {"width": str(width), "height": str(height)}
        attributes.setdefault("viewBox", f"0 0 {self.width:g} {self.height:g}")
        if self._fills:
            # Whole pixels do not have exactly the document's shape. This must not leave a gap at the edge.
            attributes["preserveAspectRatio"] = "none"
        return self._written(attributes)

    def as_it_is(self) -> str:
        """Return the document as text in its own size, to be an image in another document."""
        return self._written(
            dict(self._attributes) | {"width": f"{self.width:g}", "height": f"{self.height:g}"}
        )

    def is_beyond_bound(self, width: float, height: float) -> bool:
        """Return whether drawing it at this size is more work than we accept."""
        return self._cost.at(width, height, width / self._units) > MAX_WORK_NS

    def _written(self, attributes: Attributes) -> str:
        return f"{_tag(self._root, attributes)}{self._inside}</{self._root}>"


def read(body: bytes, *, is_nested: bool = False) -> SvgDocument:
    """Parse the document in `body`. `is_nested`: it is an image in another document.

    Raises:
        DecodeFailed: it is not XML, or not an SVG.
        UnsupportedFormat: it has entities other than short texts, or too many elements.
    """
    reader = _SvgReader(is_nested=is_nested)
    try:
        reader.parse(body)
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: the encoding is unknown
        raise DecodeFailed(detail=f"XML: {error}") from error
    sheet, cost = reader.styled()
    view = view_box(reader.attributes.get("viewBox", ""))
    width, height = size(reader.attributes, view)
    # A document without a viewBox fills the given area. One with another shape keeps its own rule.
    fills = view is None or abs(view[0] * height / (view[1] * width) - 1) < _SAME_SHAPE
    attributes = {name: text for name, text in reader.attributes.items() if name != "viewBox" or view}
    return SvgDocument(
        width,
        height,
        reader.has_text,
        frozenset(reader.letters) if reader.has_text else frozenset(),
        reader.objection,
        cost,
        view[0] if view else width,
        reader.root,
        tuple(attributes.items()),
        sheet + _ground(reader.root, reader.ground, reader.attributes) + "".join(reader.written),
        fills,
    )


class _SvgReader:
    """Receives the events of expat and keeps the allowed parts as text. Records as an objection what only browsers
    draw."""

    def __init__(self, *, is_nested: bool) -> None:
        self.root = ""
        self.attributes: Attributes = {}
        self.written: list[str] = []
        self.has_text = False
        self.letters: set[str] = set()
        self.objection = ""
        self.ground = ""
        self._is_nested = is_nested
        self._work = Work()
        self._names: Counter[str] = Counter()
        self._root_names: frozenset[str] = frozenset()
        self._spaces: dict[str, str] = {}
        self._sheets: list[str] = []
        self._in_sheet = False
        self._elements = 0
        self._depth = 0
        self._dropping_from = math.inf
        self._entities = 0
        self._references = 0

    def parse(self, body: bytes) -> None:
        """Parse a complete document."""
        recoded = as_utf_8(body)
        self._references = body.count(b"&")
        parser = expat.ParserCreate(None if recoded is None else "utf-8")
        parser.buffer_text = True
        parser.EntityDeclHandler = self._entity
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.SkippedEntityHandler = self._skipped
        parser.ProcessingInstructionHandler = self._instruction
        text = body if recoded is None else recoded
        # Every element ends in one of two ways. Counting them is faster than parsing the first hundred thousand
        # elements.
        if text.count(b"</") + text.count(b"/>") > MAX_ELEMENTS:
            raise UnsupportedFormat(_TOO_MANY)
        parser.Parse(text, True)

    def styled(self) -> tuple[str, Cost]:
        """Return the rules that apply, as an element, and the work of the whole document."""
        kept: list[str] = []
        by_rules: list[tuple[str, int]] = []
        try:
            for rule in css.rules("".join(self._sheets)):
                if rule.names <= self._names.keys():
                    text = css.declarations(
                        rule.block, on_root=css.subject(rule.selector) <= self._root_names
                    )
                    if text:
                        css.require_known(rule.selector)
                        kept.append(f"{rule.selector}{{{text}}}")
                        times = min((self._names[name] for name in rule.names), default=self._elements)
                        by_rules += [(name, times) for name in references(text)]
        except css.Unknown as unknown:
            self._object(str(unknown))
        prefix = self.root.removesuffix(_local(self.root))
        sheet = f"<{prefix}style>{_escaped(chr(10).join(kept))}</{prefix}style>" if kept else ""
        return sheet, self._work.total(selectors=len(kept), by_rules=by_rules)

    def _object(self, objection: str) -> None:
        self.objection = self.objection or objection

    def _entity(self, _name: str, is_parameter: bool, value: str | None, *_: object) -> None:
        """Accept entities that are short plain text, as Illustrator writes for its namespaces."""
        self._entities += 1
        plain = not is_parameter and value is not None and _PLAIN_ENTITY.fullmatch(value)
        if not plain or self._entities > MAX_ENTITIES or self._references > MAX_REFERENCES:
            raise UnsupportedFormat("The drawing has entities other than a few short texts.")

    def _skipped(self, name: str, _is_parameter: bool) -> None:
        raise DecodeFailed(detail=f"an entity that nothing declares: {name[:40]}")

    def _instruction(self, target: str, _data: str) -> None:
        if target == "xml-stylesheet":
            self._object("a style sheet beside the document")

    def _start(self, name: str, attributes: Attributes) -> None:
        self._elements += 1
        self._depth += 1
        if self._elements > MAX_ELEMENTS or self._depth > MAX_DEPTH:
            raise UnsupportedFormat(_TOO_MANY)
        kind = _local(name).lower()
        if attributes:
            self._spaces |= {key: text for key, text in attributes.items() if key.startswith("xmlns")}
        if self._depth == 1 and kind != "svg":
            raise DecodeFailed(detail=f"the root is <{name[:40]}>")
        if self._depth >= self._dropping_from:
            return
        foreign = self._depth > 1 and self._is_foreign(name, attributes)
        if kind in _BROWSERS_ONLY and not foreign:
            self._object(f"<{kind}>")
        if foreign or kind in _LEFT_OUT or kind in _BROWSERS_ONLY:
            self._dropping_from = self._depth
        else:
            self._take(name, kind, attributes)

    def _is_foreign(self, name: str, attributes: Attributes) -> bool:
        prefix, colon, _ = name.rpartition(":")
        space = self._spaces.get(f"xmlns:{prefix}", _SVG_NAMESPACE) if colon else attributes.get("xmlns")
        return space not in {None, _SVG_NAMESPACE}

    def _take(self, name: str, kind: str, attributes: Attributes) -> None:
        if kind == "style":
            self._in_sheet = self._is_screen_sheet(attributes)
            self._dropping_from = self._depth
            return
        names = [_local(name)]
        if attributes:
            names += [f".{one}" for one in set(attributes.get("class", "").split())]
            names += [f"#{attributes['id']}"] if "id" in attributes else []
        for one in names:
            self._names[one] += 1
        kept = self._kept(kind, attributes) if attributes else {}
        self._work.open(kind, kept)
        if self._depth == 1:
            self.root, self.attributes, self._root_names = name, kept, frozenset(names)
            return
        self.has_text |= kind == "text"
        self.written.append(_tag(name, kept))

    def _is_screen_sheet(self, attributes: Attributes) -> bool:
        media = attributes.get("media", "").strip().lower()
        if media not in {"", "all", "screen", "print"}:
            self._object("a style sheet for some screens")
        return media != "print" and attributes.get("type", "").strip().lower() in {"", "text/css"}

    def _end(self, name: str) -> None:
        if self._depth < self._dropping_from:
            self._work.close()
            if self._depth > 1:
                self.written.append(f"</{name}>")
        if self._depth == self._dropping_from:
            self._dropping_from = math.inf
            self._in_sheet = False
        self._depth -= 1

    def _text(self, text: str) -> None:
        if self._in_sheet:
            self._sheets.append(text)
        elif self._depth < self._dropping_from:
            self._work.text(len(text.strip()))
            self.letters.update(text)
            self.written.append(_escaped(text))

    def _kept(self, kind: str, attributes: Attributes) -> Attributes:
        kept = {}
        for name, text in attributes.items():
            try:
                value = self._value(kind, name, text)
            except css.Unknown as unknown:
                self._object(str(unknown))
                continue
            if value is not None:
                kept[name] = value
        return kept

    def _value(self, kind: str, name: str, text: str) -> str | None:
        """Return the value to keep for an attribute, or None to drop it."""
        local = _local(name)
        if local.lower() in _LINKS:
            return self._link(kind, text)
        if local == "style" and self._depth == 1:
            self.ground, text = css.ground(text)
        if local == "style":
            return css.declarations(text, on_root=self._depth == 1) or None
        if local.lower().startswith("on"):
            if local.lower() in {"onload", "onbegin"}:
                raise css.Unknown(local)
            return None
        if name.lower() == "xml:base" or local == "requiredFeatures":
            return None
        if local in {"systemLanguage", "requiredExtensions"} or text in _NOT_IN_BROWSERS:
            raise css.Unknown(f"{local}={text[:40]}")
        # The size of the root has been measured. The document is drawn at another one.
        measured = self._depth == 1 and local in {"width", "height"}
        return text if measured or ":" in name else css.attribute(local, text)

    def _link(self, kind: str, text: str) -> str | None:
        if text.lstrip().startswith("#"):
            if kind == "feimage":
                raise css.Unknown("<feImage> of an element")
            return text.strip()
        if kind == "a" or not text.strip():
            return None
        if _EMBEDDED.match(text) and sniff(_data(text[:_HEAD_CHARS])) in _EMBEDDED_FORMATS:
            return text
        if kind == "image" and _NESTED.match(text) and not self._is_nested:
            return self._nested(text)
        raise css.Unknown(f"<{kind}> of something else: {text[:40]}")

    def _nested(self, text: str) -> str:
        try:
            document = read(_data(text), is_nested=True)
        except PictureError as error:
            raise css.Unknown("a drawing inside that cannot be read") from error
        if document.objection:
            raise css.Unknown(document.objection)
        self.has_text |= document.has_text
        self.letters |= document.letters
        return "data:image/svg+xml;base64," + base64.b64encode(document.as_it_is().encode()).decode()


def _data(text: str) -> bytes:
    """Return the bytes of a `data:` address (RFC 2397), as far as they can be decoded."""
    header, _, data = text.partition(",")
    raw = unquote_to_bytes(data)
    if not header.rstrip().lower().endswith(";base64"):
        return raw
    plain = _NOT_BASE64.sub(b"", raw)
    return base64.b64decode(
        plain[: len(plain) // 4 * 4 if len(plain) % 4 == 1 else None] + b"=" * (-len(plain) % 4)
    )


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _escaped(text: str) -> str:
    # `xml.sax.saxutils` has the same, and loads the network modules of Python with it.
    return html.escape(text, quote=False)


def _quoted(text: str) -> str:
    return f'"{_escaped(text).translate(_IN_QUOTES)}"'


def _tag(name: str, attributes: Attributes) -> str:
    return f"<{name}" + "".join(f" {key}={_quoted(text)}" for key, text in attributes.items()) + ">"


def _ground(root: str, colour: str, attributes: Attributes) -> str:
    """Return an element that paints `colour` below the whole drawing, wherever its view lies."""
    if not colour:
        return ""
    left, top, *_ = (*_NUMBERS.findall(attributes.get("viewBox", "")[:200]), "0", "0")
    tag = root[: -len("svg")] + "rect"
    wide = {"x": left, "y": top, "width": "100%", "height": "100%", "fill": colour, "stroke": "none"}
    return f"{_tag(tag, wide)}</{tag}>"
