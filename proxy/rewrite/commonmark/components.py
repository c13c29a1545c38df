"""Finds pictures in extensions of Markdown: JSX, kramdown's attribute lists, MyST's directives. Pure.

good   <Image src={"https://h/a.png"} />             a string
good   <ThemedImage sources={{ light: 'https://h/a.png' }} />
good   ![](s.png){: lqip="https://h/a.png" }
good   ```{figure} https://h/a.png
bad    <Image src={dark ? "https://h/a.png" : b} />  an expression: left unchanged and reported
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.rewrite.base.layers import percent
from proxy.rewrite.base.ranges import Ranges
from proxy.rewrite.base.spot import TEXTS, Spot, Use
from proxy.rewrite.markup.contexts import rule_for

# No part matches `<`, so an attempt ends before the next possible tag and the search stays linear.
_QUOTED = r"""\"[^\"<]*+\"|'[^'<]*+'|`[^`<]*+`"""
_BRACES = rf"\{{(?:[^{{}}\"'`<]++|{_QUOTED}|\{{(?:[^{{}}\"'`<]++|{_QUOTED})*+\}})*+\}}"
_ATTRIBUTE = rf"(?P<name>[A-Za-z_][\w:.-]*+)(?:\s*+=\s*+(?P<value>{_QUOTED}|{_BRACES}))?+"
_UNNAMED = _ATTRIBUTE.replace("?P<name>", "?:").replace("?P<value>", "?:")
_TAG = re.compile(
    rf"<(?P<element>[A-Za-z][\w.-]*+)(?P<all>(?:\s++(?:{_UNNAMED}|\{{\.\.\.[^{{}}<]*+\}}))++)\s*+/?>"
)
_ATTRIBUTES = re.compile(rf"(?<=\s){_ATTRIBUTE}|{_BRACES}")
_ADDRESS = r"(?P<url>(?:https?:)?//[^\s\"'`\\{}<>()]++)"
_STRING = re.compile(rf"\{{\s*+(?P<mark>[\"'`]){_ADDRESS}(?P=mark)\s*+\}}\Z")
_OBJECT = re.compile(r"\{\s*+\{")
_MEMBER = re.compile(rf":\s*+(?:[A-Za-z]\w*+\(\s*+)?(?P<mark>[\"'`]){_ADDRESS}(?P=mark)")
_CSS_MEMBER = re.compile(rf"url\(\s*+(?P<mark>[\"']?+){_ADDRESS}(?P=mark)\s*+\)")
_HOLDS_PICTURES = re.compile(r"(?:[a-z]*(?:sources|images))\Z", re.IGNORECASE)
_PROPERTIES = frozenset({
    "src", "img", "image", "poster", "cover", "thumbnail", "avatar", "logo", "icon", "background",
    "lightsrc", "darksrc",
})  # fmt: skip
"""Properties that hold a picture in components of common frameworks. The elements of HTML are in `contexts`."""

_KRAMDOWN = re.compile(r"\{:(?P<list>[^{}\r\n]{1,4000}+)\}")
_KRAMDOWN_ITEM = re.compile(rf"(?<=\s)(?P<name>[\w-]++)=(?P<mark>[\"']){_ADDRESS}(?P=mark)")
_DIRECTIVE = re.compile(
    r"(?:(?<=[\r\n])|\A)[ \t>]*+(?P<fence>`{3,}|~{3,}|:{3,})\{(?:figure|image)\}"
    rf"[ \t]++{_ADDRESS}[ \t]*+(?=[\r\n]|\Z)"
)
_hold = percent(r"[\"'`\\{}<>()]")


@dataclass(frozen=True, slots=True)
class Embedded:
    """The spots, and the ranges of the tags that contain them. Backticks in such a tag are a string, not code."""

    spots: list[Spot]
    tags: Ranges


def embedded(text: str, start: int, quiet: Ranges) -> Embedded:
    """Return the pictures of `text[start:]` in these extensions. `quiet`: ranges of code and comments, in order."""
    starts = [begin for begin, _ in quiet]

    def is_quiet(position: int) -> bool:
        index = bisect_right(starts, position) - 1
        return index >= 0 and position < quiet[index][1]

    found = Embedded([], [])
    if text.find("={", start) >= 0:
        for tag in _TAG.finditer(text, start):
            if "={" in tag["all"] and "//" in tag["all"] and not is_quiet(tag.start()):
                found.tags.append(tag.span())
                found.spots.extend(_of_tag(text, tag))
    if text.find("{:", start) >= 0:
        for match in _KRAMDOWN.finditer(text, start):
            if "//" in match["list"] and not is_quiet(match.start()):
                found.spots.extend(_of_list(text, match.span("list")))
    if text.find("{figure}", start) >= 0 or text.find("{image}", start) >= 0:
        for match in _DIRECTIVE.finditer(text, start):
            # To Markdown, a directive of backticks is a fence, so it begins a range of code. A directive in the
            # middle of such a range is code itself.
            if not is_quiet(match.start()) or _begins(quiet, starts, match.span()):
                found.spots.append(Spot(*match.span("url"), Use.SHOW, "directive", hold=_hold))
    return found


def without_overlaps(found: list[Spot], more: list[Spot]) -> list[Spot]:
    """Merge two lists of spots. Spots of `more` replace bare addresses and texts in `found`, but no other spots."""
    taken = [spot for spot in found if spot.use not in TEXTS and spot.context != "bare address"]
    starts = sorted((spot.start, spot.end) for spot in taken)
    begins = [start for start, _ in starts]

    def is_taken(spot: Spot) -> bool:
        index = bisect_right(begins, spot.end - 1) - 1
        return index >= 0 and starts[index][1] > spot.start

    new = [spot for spot in more if not is_taken(spot)]
    places = sorted((spot.start, spot.end) for spot in new if spot.use not in TEXTS)
    firsts = [start for start, _ in places]

    def is_replaced(spot: Spot) -> bool:
        index = bisect_right(firsts, spot.end - 1) - 1
        return spot.context == "bare address" and index >= 0 and places[index][1] > spot.start

    return [*(spot for spot in found if not is_replaced(spot)), *new]


def inside(span: tuple[int, int], ranges: Ranges) -> bool:
    """Return whether one of `ranges`, which are in order, contains the whole `span`."""
    index = bisect_right(ranges, (span[0], span[1])) - 1
    return index >= 0 and span[1] <= ranges[index][1]


def _begins(ranges: Ranges, starts: list[int], line: tuple[int, int]) -> bool:
    """Return whether one of `ranges` begins on `line`."""
    index = bisect_right(starts, line[1]) - 1
    return index >= 0 and ranges[index][0] >= line[0]


def _of_tag(text: str, tag: re.Match[str]) -> Iterator[Spot]:
    element = tag["element"]
    for item in _ATTRIBUTES.finditer(text, *tag.span("all")):
        name, value = item["name"], item["value"]
        if not name or not value or not value.startswith("{") or "//" not in value:
            continue
        context = f"{element[:100]} {name[:100]}"
        begin = item.start("value")
        places = list(_of_value(text, element, name, (begin, item.end("value"))))
        for place, use in places:
            yield Spot(*place, use, context, hold=_hold)
        if not places:
            yield Spot(begin, item.end("value"), Use.EXPRESSION, context)


def _of_value(
    text: str, element: str, name: str, place: tuple[int, int]
) -> Iterator[tuple[tuple[int, int], Use]]:
    """Yield the addresses in an attribute with braces: a string, or the strings of an object."""
    if _OBJECT.match(text, *place):
        pattern = _CSS_MEMBER if name.lower() == "style" else _MEMBER
        if pattern is _CSS_MEMBER or _HOLDS_PICTURES.match(name):
            yield from ((match.span("url"), Use.SHOW) for match in pattern.finditer(text, *place))
        return
    string = _STRING.match(text, *place)
    use = _use(element, name)
    if string is not None and use is not None:
        yield string.span("url"), use


def _use(element: str, name: str) -> Use | None:
    rule = rule_for(element.lower(), name.lower(), {})
    if rule is not None:
        return rule.use if rule.form == "address" and not rule.media else None
    if element[:1].isupper() and name.lower() in _PROPERTIES:
        return Use.SHOW if name.lower() != "src" or _is_picture(element) else Use.MAY_SHOW
    return Use.LINK if element[:1].isupper() and name.lower() == "href" else None


def _is_picture(element: str) -> bool:
    return re.search(r"im(?:g|age)|picture|photo|avatar|figure|zoom", element, re.IGNORECASE) is not None


def _of_list(text: str, place: tuple[int, int]) -> Iterator[Spot]:
    for item in _KRAMDOWN_ITEM.finditer(text, *place):
        name = item["name"]
        rule = rule_for("img", name.lower(), {})
        use = (
            Use.SHOW if name == "lqip" else rule.use if rule is not None and rule.form == "address" else None
        )
        if use is not None:
            yield Spot(*item.span("url"), use, f"attribute {name[:100]}", hold=_hold)
        else:
            yield Spot(*item.span("url"), Use.TEXT, f"attribute {name[:100]}")
