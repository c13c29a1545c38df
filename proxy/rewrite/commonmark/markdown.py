"""Finds the spots of Markdown: images, links, reference definitions, and embedded HTML. Pure.

markdown-it separates the blocks: code, HTML, definitions, text. `inline` reads text and `html` reads HTML. The HTML
scanner keeps its state for the whole article, because `<pre>` may stay open over several blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from proxy.rewrite.base.beginnings import ABSOLUTE
from proxy.rewrite.base.layers import bare, decode_markdown, hold_bare, markdown, markdown_angle, percent
from proxy.rewrite.base.ranges import joined
from proxy.rewrite.base.reasons import IN_CODE
from proxy.rewrite.base.spot import Layer, Spot, Use
from proxy.rewrite.commonmark.blocks import BlockReader
from proxy.rewrite.commonmark.components import embedded, inside, without_overlaps
from proxy.rewrite.commonmark.footnotes import as_items
from proxy.rewrite.commonmark.inline import Found, InlineScanner, parse_destination
from proxy.rewrite.commonmark.mdimages import place_of
from proxy.rewrite.commonmark.region import Lines, Region
from proxy.rewrite.front.fields import Fields
from proxy.rewrite.generators.tagdata import data_spots
from proxy.rewrite.generators.tags import tag_addresses
from proxy.rewrite.generators.tagspots import tag_context, tag_spot, tag_spots, without_code
from proxy.rewrite.generators.templates import data_ranges, long_tags, masked
from proxy.rewrite.markup.html import html_spots
from proxy.rewrite.markup.htmlscan import HtmlScanner
from proxy.rewrite.markup.imgtags import MarkdownImage, Pictures, Place

_IMAGES = ("image", "reference image")
_WORTH_READING = re.compile(r"[\[<]|\{[%{]|://")
_DEFINITION = re.compile(r"\[(?:[^\[\]\\]|\\.)++\]:(?:[ \t]|(?:\r\n?|\n)[ \t>]*+)*+", re.DOTALL)
_hold_in_autolink = percent(r"[<>]")


@dataclass(frozen=True, slots=True)
class _Definition:
    """A reference definition: its lines and its destination, decoded."""

    first_line: int
    last_line: int
    address: str


class MarkdownReader:
    """Reads articles one after the other. Keeps no state between them."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._blocks = BlockReader()

    def spots(
        self, text: str, start: int, pictures: Pictures | None = None
    ) -> tuple[list[Spot], list[tuple[int, int]]]:
        """Return the spots of `text[start:]` and the ranges of code and comments, as positions in `text`.

        `pictures` collects the pictures that are shown.

        Raises:
            TooManyBlocks: the text has too many lines or blocks.
        """
        text = text.replace("\0", "\ufffd")
        held = data_ranges(text, start)
        in_tags = [spot for item in held for spot in data_spots(text, item, self._fields)]
        text = masked(text, [item[:2] for item in held])
        tags = long_tags(text, start)
        in_tags.extend(spot for tag in tags for spot in tag_spots(text, tag))
        text = as_items(masked(text, tags), start)
        tokens, environment = self._blocks.read(text[start:])
        reading = _Reading(Lines(text, start), _definitions(environment), pictures)
        found = [spot for token in tokens for spot in reading.block(token)]
        found.extend(reading.definitions())
        found.extend(without_code(in_tags, joined(reading.quiet)))
        more = embedded(text, start, joined(reading.quiet))
        if more.spots:
            found = without_overlaps(found, more.spots)
            reading.quiet = [span for span in reading.quiet if not inside(span, more.tags)]
        return sorted(found, key=lambda spot: spot.start), reading.quiet


class _Reading:
    """The state of reading one article: its lines, the uses of its reference definitions, and its open HTML."""

    def __init__(
        self, lines: Lines, definitions: dict[str, _Definition], pictures: Pictures | None = None
    ) -> None:
        self._lines = lines
        self._pictures = pictures
        self._definitions = definitions
        self._shown: set[str] = set()
        self._around: set[str] = set()
        self._scanner = HtmlScanner()
        self._in_cell = False
        self._kind = ""
        self._span = (0, 0)
        self.quiet: list[tuple[int, int]] = []

    def block(self, token: Token) -> Iterator[Spot]:
        """Yield the spots of a block token, except those of definitions."""
        if token.type != "inline":
            self._in_cell = token.type in ("th_open", "td_open")
            self._kind = f"{token.type} {'hidden' if token.hidden else token.markup}"
        if token.map is None:
            return
        if token.type == "html_block":
            region = self._lines.region(token.map[0], token.content)
            yield from self._html(region, 0, len(token.content))
        elif token.type in ("fence", "code_block"):
            spans = self._lines.spans[token.map[0] : token.map[1]]
            self.quiet.append((spans[0][0], spans[-1][1]))
        elif token.type == "inline" and _WORTH_READING.search(token.content):
            region = self._lines.region(token.map[0], token.content, cell=self._in_cell)
            self._span = token.map[0], token.map[1]
            yield from self._text(region)

    def _text(self, region: Region) -> Iterator[Spot]:
        scanner = InlineScanner(region.content, self._is_defined)
        position = 0
        for found in scanner.scan():
            self._hush(region, position, found.start)
            position = found.end
            yield from self._inline(region, found)
        self._hush(region, position, len(region.content))
        self.quiet.extend(region.span(*part) for part in scanner.quiet)

    def _hush(self, region: Region, start: int, end: int) -> None:
        """Note text that lies inside a `<pre>` or a comment from an earlier block."""
        if start < end and not self._scanner.shows:
            self.quiet.append(region.span(start, end))

    def definitions(self) -> Iterator[Spot]:
        """Yield the spots of reference definitions. A destination counts as shown if an image uses it."""
        for label, definition in self._definitions.items():
            use = Use.SHOW if label in self._shown else Use.LINK
            place = self._destination(definition)
            if place is not None:
                around = label in self._around
                yield _destination_spot(self._lines.text, place, use, "markdown definition", around=around)

    def _html(self, region: Region, start: int, end: int) -> Iterator[Spot]:
        yield from html_spots(
            region.content, start, end, scanner=self._scanner, locate=region.locate, pictures=self._pictures
        )
        self.quiet.extend(region.span(*part) for part in self._scanner.quiet)

    def _inline(self, region: Region, found: Found) -> Iterator[Spot]:
        if self._pictures is not None and found.kind in _IMAGES and self._scanner.shows:
            self._pictures.images.append(self._image(region, found))
        if found.kind == "html":
            yield from self._html(region, found.start, found.end)
        elif found.kind == "reference image":
            self._shown.add(normalizeReference(region.content[found.start : found.end]))
        elif found.kind == "template":
            yield from self._template(region, found)
        elif found.kind == "reference link":
            if found.around:
                self._around.add(normalizeReference(region.content[found.start : found.end]))
        else:
            place = region.locate(found.start, found.end)
            if place and ABSOLUTE.match(decode_markdown(region.content[found.start : found.end])):
                yield self._allowed(_inline_spot(self._lines.text, place, found))

    def _image(self, region: Region, found: Found) -> MarkdownImage:
        content, start, end = region.content, found.opened_at, found.closed_at
        whole = region.locate(start, end)
        address = region.locate(found.start, found.end)
        place: Place = "reference" if found.kind == "reference image" else "uncertain"
        if whole and address and place != "reference":
            place = place_of(content, start, end, kind=self._kind, lines=self._lines, span=self._span)
        return MarkdownImage(
            *(whole or region.span(start, end)), address[0] if address else -1, content[start:end], place
        )

    def _template(self, region: Region, found: Found) -> Iterator[Spot]:
        tag = region.content[found.start : found.end]
        for address in tag_addresses(tag):
            place = region.locate(found.start + address.start, found.start + address.end)
            if place is not None:
                yield self._allowed(tag_spot(*place, address, tag))
        if "//" in tag:
            yield Spot(*region.span(found.start, found.end), Use.TEXT, tag_context(tag))

    def _allowed(self, spot: Spot) -> Spot:
        return spot if self._scanner.shows else replace(spot, use=Use.LEAVE, context=IN_CODE)

    def _is_defined(self, label: str) -> bool:
        return normalizeReference(label) in self._definitions

    def _destination(self, definition: _Definition) -> tuple[int, int, bool] | None:
        """Return start and end of the destination of a definition, and whether it is in angle brackets."""
        spans = self._lines.spans[definition.first_line : definition.last_line]
        if not spans or not ABSOLUTE.match(definition.address):
            return None
        text = self._lines.text
        head = _DEFINITION.search(text, spans[0][0], spans[-1][1])
        found = parse_destination(text, head.end()) if head else None
        if head is None or found is None:
            return None
        start, end, _ = found
        if decode_markdown(text[start:end]) != definition.address:
            return None
        return start, end, start > head.end()


def _inline_spot(text: str, place: tuple[int, int], found: Found) -> Spot:
    if found.kind == "autolink":
        return Spot(*place, Use.LINK, "markdown autolink", hold=_hold_in_autolink)
    if found.kind == "bare":
        return Spot(*place, Use.LINK, "bare address", (bare(text[place[0] : place[1]]),), hold_bare)
    if found.kind == "image":
        return _destination_spot(text, (*place, found.angle), Use.SHOW, "markdown image")
    return _destination_spot(text, (*place, found.angle), Use.LINK, "markdown link", around=found.around)


def _destination_spot(
    text: str, place: tuple[int, int, bool], use: Use, context: str, *, around: bool = False
) -> Spot:
    start, end, angle = place
    layer: Layer = markdown_angle(text[start:end]) if angle else markdown(text[start:end])
    return Spot(start, end, use, context, (layer,), around=around)


def _definitions(environment: dict[str, object]) -> dict[str, _Definition]:
    references = environment.get("references", {})
    if not isinstance(references, dict):
        return {}
    return {
        label: _Definition(reference["map"][0], reference["map"][1], reference["href"])
        for label, reference in references.items()
    }
