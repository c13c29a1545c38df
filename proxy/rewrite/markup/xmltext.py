"""Finds the spots of XML: feeds, sitemaps, SVG. Pure; never fails.

We wrote our own reader, because no library keeps the offsets of attribute values. HTML in CDATA sections and escaped
HTML in texts are read as HTML. Addresses that identify an entry (`<guid>`, `<id>`, `<loc>`) are left unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from proxy.rewrite.base.layers import attribute, attribute_map, xml_text
from proxy.rewrite.base.ranges import Ranges, joined
from proxy.rewrite.base.spot import Spot, Use
from proxy.rewrite.markup.html import html_spots, style_spots
from proxy.rewrite.markup.htmlscan import HtmlScanner

_TOKEN = re.compile(
    r"""(?P<comment><!--)|(?P<cdata><!\[CDATA\[)|(?P<other><[!?])
    |<(?P<close>/)?(?P<name>[A-Za-z_:][\w:.-]*+)|(?P<text>[^<]++)|<""",
    re.VERBOSE,
)
_ENDS = {"comment": "-->", "cdata": "]]>", "other": ">"}
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?:(?P<name>[^\s=/>"'<]++)\s*+=\s*+(?:"(?P<double>[^"<]*+)"|'(?P<single>[^'<]*+)')|(?P<end>>))"""
)
_ADDRESS = re.compile(r"\s*+((?:https?:)?//[A-Za-z0-9]\S*+)\s*+\Z", re.IGNORECASE)
_NAMES_ENTRY = frozenset({"guid", "id", "loc", "atom:id"})
_IDENTIFIES = "it names an entry"
_COMMENT = "in a comment"
_SHOWS = frozenset({"src", "srcset", "poster", "background"})
_DRAWN_BY = frozenset({"image", "feimage", "svg:image"})
_HTML = re.compile(r"<[A-Za-z!/]")


def xml_spots(text: str) -> tuple[list[Spot], Ranges]:
    """Return the spots of an XML document, in order, and the ranges of comments."""
    reader = _XmlReader(text)
    spots = list(reader.spots())
    return sorted(spots, key=lambda spot: spot.start), joined(reader.quiet)


class _XmlReader:
    def __init__(self, text: str) -> None:
        self.quiet: Ranges = []
        self._text = text
        self._open = ""
        self._missing: set[str] = set()

    def spots(self) -> Iterator[Spot]:
        position = 0
        while (token := _TOKEN.match(self._text, position)) is not None:
            position = token.end()
            kind = token.lastgroup or ""
            if kind in _ENDS:
                end = self._end(_ENDS[kind], position)
                if kind == "cdata":
                    yield from self._content(position, end)
                else:
                    self.quiet.append((token.start(), end))
                position = end
            elif kind == "text":
                yield from self._content(token.start(), token.end(), escaped=True)
            elif token["name"]:
                self._open = "" if token["close"] else token["name"].lower()
                if not token["close"]:
                    found: list[Spot] = []
                    position = self._attributes(position, found)
                    yield from found

    def _end(self, mark: str, position: int) -> int:
        """Return the position of `mark`, or the end of the text. A missing mark is searched for only once."""
        found = -1 if mark in self._missing else self._text.find(mark, position)
        if found < 0:
            self._missing.add(mark)
            return len(self._text)
        return found

    def _attributes(self, position: int, found: list[Spot]) -> int:
        while (item := _ATTRIBUTE.match(self._text, position)) is not None:
            position = item.end()
            if item["end"]:
                break
            quote = "double" if item["double"] is not None else "single"
            found.extend(self._attribute(item["name"].lower(), *item.span(quote)))
        return position

    def _attribute(self, name: str, start: int, end: int) -> Iterator[Spot]:
        if name == "style":
            yield from style_spots(self._text, start, end)
            return
        raw = self._text[start:end]
        match = _ADDRESS.match(raw)
        if match is None:
            return
        quote = self._text[start - 1]
        shown = name in _SHOWS or (self._open in _DRAWN_BY and name in {"href", "xlink:href"})
        raster = self._open == "enclosure"
        layers = (attribute(raw, quote),)
        context = f"{self._open} {name}"
        use = Use.SHOW if shown else Use.LINK
        yield Spot(start + match.start(1), start + match.end(1), use, context, layers, raster=raster)

    def _content(self, start: int, end: int, *, escaped: bool = False) -> Iterator[Spot]:
        """Yield the spots of the text of an element: one address, or HTML."""
        raw = self._text[start:end]
        if "//" not in raw:
            return
        match = _ADDRESS.match(raw)
        if match is not None:
            use = Use.LEAVE if self._open in _NAMES_ENTRY else Use.LINK
            context = _IDENTIFIES if use is Use.LEAVE else f"{self._open} text"
            layers = (xml_text(raw),) if escaped else ()
            yield Spot(start + match.start(1), start + match.end(1), use, context, layers)
        elif self._open == "style":
            yield from style_spots(self._text, start, end)
        elif not escaped:
            scanner = HtmlScanner()
            yield from html_spots(self._text, start, end, scanner=scanner)
            self.quiet.extend(scanner.quiet)
        else:
            yield from self._escaped_html(raw, start)

    def _escaped_html(self, raw: str, start: int) -> Iterator[Spot]:
        value, origins = attribute_map(raw)
        if origins is None or not _HTML.search(value):
            return

        def locate(begin: int, end: int) -> tuple[int, int]:
            return start + origins[begin], start + origins[end]

        outer = xml_text(raw)
        for spot in html_spots(value, 0, len(value), scanner=HtmlScanner(), locate=locate):
            yield replace(spot, layers=(outer, *spot.layers))
