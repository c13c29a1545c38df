"""Finds the spots of HTML: addresses in attributes and style sheets. Pure.

Knows which places hold addresses (`contexts`) and how they spell them (`layers`), but not whether an address is a
wrapper. Markdown passes HTML in pieces, so `locate` maps positions of a piece to positions of the article.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from proxy.rewrite.base.beginnings import ABSOLUTE
from proxy.rewrite.base.layers import attribute, attribute_map, css, decode_attribute, decode_css, percent
from proxy.rewrite.base.reasons import IN_CODE
from proxy.rewrite.base.spot import Layer, Spot, Use
from proxy.rewrite.markup.contexts import AttributeRule, rule_for
from proxy.rewrite.markup.css import CssAddress, addresses
from proxy.rewrite.markup.htmlscan import Attribute, HtmlScanner, StyleSheet, Tag
from proxy.rewrite.markup.imgtags import BOUND, Pictures, img_tag
from proxy.rewrite.markup.srcset import described

Locate = Callable[[int, int], tuple[int, int] | None]

_MAY_HOLD_ADDRESS = re.compile(r"[/\\&]|[ps]:", re.IGNORECASE)
_SPACE = "\t\n\f\r "
_DECIDING = frozenset({"rel", "as", "type", "property", "name", "itemprop"})
_hold_in_srcset = percent(r"\A,+|,+\Z")
_LITERAL = re.compile(r"""\s*+(?:\{\s*+)?(?P<mark>['"`])(?P<value>[^'"`\\{}]*+)(?P=mark)\s*+\}?\s*+\Z""")
"""An expression that is a single string: Vue's `:src="'https://…'"`, JSX's `src={"https://…"}`."""

_CSS_VALUE = re.compile(r"\s*+url\(", re.IGNORECASE)


def html_spots(  # noqa: PLR0913 - a piece of a text, and what is looked for in it
    text: str,
    start: int,
    end: int,
    *,
    scanner: HtmlScanner,
    locate: Locate | None = None,
    begins: re.Pattern[str] = ABSOLUTE,
    pictures: Pictures | None = None,
) -> Iterator[Spot]:
    """Yield the spots of `text[start:end]` whose addresses begin with a match of `begins`, in order.

    `pictures` collects the `<img>` tags.
    """
    place = locate or _same_place
    for token in scanner.scan(text, start, end):
        if isinstance(token, StyleSheet):
            for address in addresses(text, token.start, token.end):
                yield from _css_spot(text, address, context="style sheet", place=place, begins=begins)
        else:
            if pictures is not None:
                _note_picture(text, token, place, scanner, pictures)
            yield from _tag_spots(text, token, place, begins)


def _note_picture(text: str, tag: Tag, place: Locate, scanner: HtmlScanner, pictures: Pictures) -> None:
    if tag.name == "picture":
        scanner.directed = False
    elif tag.name == "source":
        scanner.directed |= any(item.name == "media" for item in tag.attributes)
    elif tag.name == "img" and not tag.in_code:
        in_picture = scanner.in_picture
        directed = in_picture and scanner.directed
        found = img_tag(text, tag, place, in_picture=in_picture, directed=directed)
        if found is not None:
            pictures.tags.append(found)


def style_spots(text: str, start: int, end: int, *, begins: re.Pattern[str] = ABSOLUTE) -> Iterator[Spot]:
    """Yield the spots of the style sheet `text[start:end]`, in order. `begins` is the same as for `html_spots`."""
    for address in addresses(text, start, end):
        yield from _css_spot(text, address, context="style sheet", place=_same_place, begins=begins)


def _tag_spots(text: str, tag: Tag, place: Locate, begins: re.Pattern[str]) -> Iterator[Spot]:
    values: dict[str, str] = {}
    for item in tag.attributes:
        if item.name in _DECIDING:
            values.setdefault(item.name, decode_attribute(text[item.start : item.end]))
    for item in tag.attributes:
        if not _MAY_HOLD_ADDRESS.search(text, item.start, item.end):
            continue
        context = f"{tag.name[:100]} {item.name[:100]}"
        bound = BOUND.match(item.name)
        rule = rule_for(tag.name, bound[1] if bound else item.name, values)
        if bound or (not item.quote and text.startswith("{", item.start, item.end)):
            literal = _LITERAL.match(text, item.start, item.end)
            if literal is None:
                yield from _text_spot(text, item, context, place, Use.EXPRESSION)
                continue
            quote = item.quote or literal["mark"]
            item = Attribute(item.name, *literal.span("value"), quote)  # noqa: PLW2901 - the string in it
        if rule is None:
            yield from _text_spot(text, item, context, place, Use.TEXT)
            continue
        if tag.in_code:
            rule, context = AttributeRule(Use.LEAVE, rule.form), IN_CODE
        yield from _attribute_spots(text, item, rule, context=context, place=place, begins=begins)


def _text_spot(text: str, item: Attribute, context: str, place: Locate, use: Use) -> Iterator[Spot]:
    """Yield an attribute as text that may contain an address."""
    if "/" in text[item.start : item.end]:
        found = place(item.start, item.end)
        if found is not None:
            yield Spot(*found, use, context)


def _attribute_spots(  # noqa: PLR0913 - a place in a place
    text: str, item: Attribute, rule: AttributeRule, *, context: str, place: Locate, begins: re.Pattern[str]
) -> Iterator[Spot]:
    raw = text[item.start : item.end]
    value, origins = attribute_map(raw)

    def origin(start: int, end: int) -> tuple[int, int] | None:
        if origins is not None:
            start, end = origins[start], origins[end]
        return place(item.start + start, item.start + end)

    layer = attribute(raw, item.quote)
    if rule.form == "css" or (rule.use in (Use.SHOW, Use.MAY_SHOW) and _CSS_VALUE.match(value)):
        for address in addresses(value, 0, len(value)):
            use = Use.LEAVE if rule.use is Use.LEAVE else address.use
            yield from _css_spot(
                value, address, context=context, place=origin, use=use, outer=(layer,), begins=begins
            )
        return
    hold = _hold_in_srcset if rule.form == "srcset" else str
    for start, end, width in described(value) if rule.form == "srcset" else _trimmed(value):
        found = origin(start, end) if begins.match(value, start, end) else None
        if found is not None:
            yield Spot(
                *found, rule.use, context, (layer,), hold, media=rule.media, raster=rule.raster, width=width
            )


def _css_spot(  # noqa: PLR0913 - a place in a place
    text: str,
    address: CssAddress,
    *,
    context: str,
    place: Locate,
    use: Use | None = None,
    outer: tuple[Layer, ...] = (),
    begins: re.Pattern[str],
) -> Iterator[Spot]:
    if begins.match(decode_css(text[address.start : address.end])):
        found = place(address.start, address.end)
        if found is not None:
            layers = (*outer, css(address.quote))
            yield Spot(*found, use or address.use, f"{context} url", layers, media=address.media)


def _trimmed(value: str) -> Iterator[tuple[int, int, int]]:
    start = len(value) - len(value.lstrip(_SPACE))
    end = len(value.rstrip(_SPACE))
    if start < end:
        yield start, end, 0


def _same_place(start: int, end: int) -> tuple[int, int]:
    return start, end
