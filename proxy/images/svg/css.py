"""Reads the CSS of a drawing strictly, so that nothing is drawn differently from a browser. Pure.

The rasteriser skips CSS that it does not know. It then draws a shape in black, or in its place before an animation. A
declaration is therefore kept only if it is known to mean the same in both. Declarations without effect in a still
picture are left out. Anything else that could apply raises `Unknown`, and the drawing is refused.

    good   .a > rect { fill: #dae8fc !important }      ->  stays
    good   fill: light-dark(#fff, var(--dark))         ->  fill: #fff
    good   .b:hover { fill: red }, cursor: pointer     ->  left out
    bad    fill: oklch(70% 0.1 200)                    ->  Unknown
    bad    .a { animation: f 1s }                      ->  Unknown, if an element of class a exists
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import ImageColor

MAX_SHEET_CHARS = 512 * 1024

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_NUMBER = r"[-+]?(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:e[-+]?\d{1,3})?"
_LENGTH = rf"{_NUMBER}(?:px|pt|pc|mm|cm|in|em|%)?"
_URL = r"url\(\s*(?:#[^\s\"'()]{1,200}|\"#[^\"()]{1,200}\"|'#[^'()]{1,200}')\s*\)"
_NAMED = "|".join(name for name in ImageColor.colormap) + "|transparent"
_CHANNEL = rf"\s*{_NUMBER}%?\s*"
_COLOUR = (
    rf"(?:{_NAMED}|currentcolor|#[0-9a-f]{{3,4}}|#[0-9a-f]{{6}}|#[0-9a-f]{{8}}"
    rf"|rgba?\({_CHANNEL},{_CHANNEL},{_CHANNEL}(?:,{_CHANNEL})?\)"
    rf"|hsla?\({_CHANNEL},\s*{_NUMBER}%\s*,\s*{_NUMBER}%\s*(?:,{_CHANNEL})?\))"
)
_PAINT = rf"(?:none|context-fill|context-stroke|{_COLOUR}|{_URL}(?:\s+(?:none|{_COLOUR}))?)"
_REFERENCE = rf"(?:none|{_URL})"
_SIZE_WORDS = "xx-small|x-small|small|medium|large|x-large|xx-large|smaller|larger"
_BLENDS = (
    "normal|multiply|screen|overlay|darken|lighten|color-dodge|color-burn|hard-light|soft-light|difference|exclusion"
    "|hue|saturation|color|luminosity"
)
_DRAWN = {
    **dict.fromkeys(("fill", "stroke"), _PAINT),
    **dict.fromkeys(("stop-color", "flood-color", "lighting-color", "color"), _COLOUR),
    **dict.fromkeys(
        ("opacity", "fill-opacity", "stroke-opacity", "stop-opacity", "flood-opacity"), rf"{_NUMBER}%?"
    ),
    **dict.fromkeys(("fill-rule", "clip-rule"), "nonzero|evenodd"),
    **dict.fromkeys(("clip-path", "mask", "marker-start", "marker-mid", "marker-end", "marker"), _REFERENCE),
    "filter": _REFERENCE,
    "stroke-width": _LENGTH,
    "stroke-dashoffset": _LENGTH,
    "stroke-miterlimit": _NUMBER,
    "stroke-dasharray": rf"none|{_LENGTH}(?:[\s,]+{_LENGTH})*",
    "stroke-linecap": "butt|round|square",
    "stroke-linejoin": "miter|round|bevel",
    "paint-order": r"normal|(?:fill|stroke|markers)(?:\s+(?:fill|stroke|markers))*",
    "display": "none|inline|block",
    "visibility": "visible|hidden|collapse",
    "overflow": "visible|hidden|auto|scroll",
    "mix-blend-mode": _BLENDS,
    "isolation": "auto|isolate",
    "mask-type": "luminance|alpha",
    "color-interpolation-filters": "auto|srgb|linearrgb",
    "shape-rendering": "auto|optimizespeed|crispedges|geometricprecision",
    "image-rendering": "auto|optimizespeed|optimizequality",
    "text-rendering": "auto|optimizespeed|optimizelegibility|geometricprecision",
    "font": rf"(?:[a-z0-9-]+\s+){{0,5}}{_LENGTH}(?:/[\w.%]+)?\s+[^()]+",
    "font-size": rf"{_LENGTH}|{_SIZE_WORDS}",
    "font-weight": r"normal|bold|bolder|lighter|\d{1,4}",
    "font-style": "normal|italic|oblique",
    "font-stretch": "[a-z-]+",
    "font-variant": "normal|small-caps",
    "text-anchor": "start|middle|end",
    "text-decoration": r"none|(?:underline|overline|line-through)(?:\s+(?:underline|overline|line-through))*",
    "letter-spacing": rf"normal|{_LENGTH}",
    "word-spacing": rf"normal|{_LENGTH}",
    "baseline-shift": rf"baseline|sub|super|{_LENGTH}",
    "dominant-baseline": "[a-z-]+",
    "alignment-baseline": "[a-z-]+",
    "direction": "ltr|rtl",
    "writing-mode": "[a-z-]+",
}
"""Properties that both the rasteriser and browsers know, with the values that mean the same to both."""

_FONT_FAMILY = re.compile(r"(?:[\w\s,.'-]|\"[^\"<>]{0,200}\")*", re.IGNORECASE)
_NO_CHANGE = {
    "transform": "none",
    "transform-origin": r"(?:0|0px|0%)(?:\s+(?:0|0px|0%)){0,2}",
    "transform-box": "view-box|fill-box|border-box|content-box|stroke-box",
    "translate": "none",
    "rotate": "none|0(?:deg)?",
    "scale": "none|1",
    "offset-path": "none",
    "vector-effect": "none",
    "text-transform": "none",
    "clip": "auto",
    "zoom": "1|100%|normal",
    "color-interpolation": "auto|srgb",
    "content-visibility": "visible|auto",
    "background": "none|transparent",
    "background-color": "none|transparent|initial",
    "background-image": "none|initial",
    "text-shadow": "none",
    "all": "",
    **dict.fromkeys(
        ("mask-image", "mask-border", "backdrop-filter", "border", "outline", "box-shadow"), "none"
    ),
    **dict.fromkeys(("d", "x", "y", "cx", "cy", "r", "rx", "ry", "width", "height"), "auto"),
    **dict.fromkeys(("animation", "animation-name"), "none"),
}
"""Properties that browsers apply and the rasteriser does not. Only these values change nothing."""

_LIKE_CSS = frozenset(_DRAWN) - {"font"} | {
    "vector-effect",
    "transform-origin",
    "text-transform",
    "color-interpolation",
}
_LENGTHS = re.compile(rf"(?:auto|{_LENGTH}(?:[\s,]++{_LENGTH})*)?", re.IGNORECASE)
_GEOMETRY = frozenset(
    {
        "x",
        "y",
        "width",
        "height",
        "cx",
        "cy",
        "r",
        "rx",
        "ry",
        "x1",
        "x2",
        "y1",
        "y2",
        "fx",
        "fy",
        "fr",
        "dx",
        "dy",
    }
    | {"markerWidth", "markerHeight", "startOffset", "textLength"}
)
_SELECTOR = re.compile(
    r"(?P<compound>(?:[\w-]+|\*)?(?:[.#][\w-]+|\[[\w-]+(?:[~|^$*]?=(?:[\w-]+|\"[^\"\\]*\"|'[^'\\]*'))?\]|:first-child)*)"
)
_NEVER = re.compile(
    r":(?:hover|focus|focus-visible|focus-within|active|visited|target|before|after)\b|::", re.I
)
_BRACE = re.compile(r"[{}]")
_NOT_A_NAME = re.compile(r"\[[^\]]*\]|:[\w-]+(?:\([^)]*\))?")
_NAME = re.compile(r"[.#]?[\w-]+")
_IMPORTANT = re.compile(r"\s*!\s*important\s*\Z", re.IGNORECASE)
_LIGHT_DARK = "light-dark("
_MAX_SELECTOR_CHARS = 1024
_MAX_VALUE_CHARS = 4096


class Unknown(Exception):
    """Browsers may draw something that the rasteriser does not."""


@dataclass(frozen=True, slots=True)
class StyleRule:
    """The selectors of a rule as written, their names (`.a`, `#b`, `rect`), and a block of declarations."""

    selector: str
    names: frozenset[str]
    block: str


def rules(sheet: str) -> Iterator[StyleRule]:
    """Yield the rules of a style sheet, without those that never apply to a still picture.

    Raises:
        Unknown: it contains at-rules that a browser may apply.
    """
    if len(sheet) > MAX_SHEET_CHARS:
        raise Unknown("a long style sheet")
    sheet = _COMMENT.sub(" ", sheet).replace("<!--", " ").replace("-->", " ")
    at = 0
    while at < len(sheet):
        start, stop, end = _next_block(sheet, at)
        head = sheet[at:start].strip()
        at = end
        if head.startswith("@"):
            _require_idle(head)
        elif head:
            for selector in head.split(","):
                if len(selector) > _MAX_SELECTOR_CHARS:
                    raise Unknown("a long selector")
                if not _NEVER.search(selector):
                    yield StyleRule(selector.strip(), _names(selector), sheet[start + 1 : stop])
        elif start < len(sheet):
            raise Unknown("a block without a selector")


def _next_block(sheet: str, at: int) -> tuple[int, int, int]:
    """Return where the next block begins and ends, and where to continue. A statement without a block counts as a
    block."""
    start = sheet.find("{", at)
    statement = sheet.find(";", at, start if start >= 0 else len(sheet))
    if statement >= 0 and sheet[at:statement].lstrip().startswith("@"):
        return statement, statement, statement + 1
    if start < 0:
        return len(sheet), len(sheet), len(sheet)
    depth = 0
    for found in _BRACE.finditer(sheet, start):
        depth += 1 if found[0] == "{" else -1
        if not depth:
            return start, found.start(), found.end()
    return start, len(sheet), len(sheet)


_IDLE_AT_RULE = re.compile(
    r"@(?:charset|namespace|keyframes|-webkit-keyframes|-moz-keyframes|-o-keyframes|page)\b"
    r"|@media\s+(?:print|\(\s*prefers-color-scheme\s*:\s*dark\s*\))\s*\Z",
    re.IGNORECASE,
)


def _require_idle(head: str) -> None:
    # Key frames alone move nothing. An `animation` must name them.
    if not _IDLE_AT_RULE.match(head):
        raise Unknown(head[:40])


def _names(selector: str) -> frozenset[str]:
    return frozenset(_NAME.findall(_NOT_A_NAME.sub(" ", selector)))


def subject(selector: str) -> frozenset[str]:
    """Return the names that an element itself must have for the selector to match it."""
    return _names(re.split(r"[\s>+~]+", selector.strip())[-1])


def require_known(selector: str) -> None:
    """Raise `Unknown` for a selector that the rasteriser would match differently from a browser."""
    for part in re.split(r"\s*>\s*|\s+", selector.strip()):
        found = _SELECTOR.fullmatch(part)
        if not part or found is None:
            raise Unknown(f"selector {selector[:40]}")


def attribute(name: str, text: str) -> str | None:
    """Return the value of an attribute for the rasteriser, or None to leave the attribute out.

    Raises:
        Unknown: a browser may draw something that the rasteriser does not.
    """
    if name in _LIKE_CSS:
        return known(name, text)
    if name in _GEOMETRY and not _LENGTHS.fullmatch(text.strip()):
        raise Unknown(f"{name}={text[:60]}")
    return text


def ground(block: str) -> tuple[str, str]:
    """Return the colour that the root's style paints below the drawing, and the rest of the block."""
    colour, rest = "", []
    for item in _split(_COMMENT.sub(" ", block)):
        name, _, text = item.partition(":")
        value = _light(text.strip()) if name.strip().lower() in {"background", "background-color"} else ""
        if value and _compiled(_COLOUR).fullmatch(value):
            colour = value
        else:
            rest.append(item)
    return colour, ";".join(rest)


@functools.lru_cache(maxsize=1024)
def declarations(block: str, *, on_root: bool = False) -> str:
    """Return the drawn declarations of a block as CSS. `on_root`: the block may apply to the root.

    Raises:
        Unknown: a declaration is not drawn as in a browser.
    """
    kept = []
    for item in _split(_COMMENT.sub(" ", block)):
        name, colon, text = item.partition(":")
        name = name.strip().lower()
        important = _IMPORTANT.search(text)
        size = on_root and name in {"width", "height"}
        ground = not on_root and name.startswith("background")
        value = known(name, _IMPORTANT.sub("", text)) if colon and not size and not ground else None
        if value is not None:
            kept.append(f"{name}:{value}{'!important' if important else ''}")
    return ";".join(kept)


def _split(block: str) -> Iterator[str]:
    """Yield the parts between semicolons that stand outside brackets and quotes."""
    if "{" in block:
        raise Unknown("nested rules")
    depth, start, quote = 0, 0, ""
    for found in re.finditer(r"[\"'();]", block):
        mark = found[0]
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'":
            quote = mark
        elif mark == ";" and not depth:
            yield block[start : found.start()]
            start = found.end()
        else:
            depth += {"(": 1, ")": -1}.get(mark, 0)
    yield block[start:]


@functools.lru_cache(maxsize=4096)
def known(name: str, text: str) -> str | None:
    """Return the value of a property for the rasteriser, or None if the property has no effect in a still picture.

    Raises:
        Unknown: a browser may draw something that the rasteriser does not.
    """
    value = text.strip()
    if name == "font-family":
        return value if _FONT_FAMILY.fullmatch(value) else None
    name = name.removeprefix("-webkit-")
    pattern = _DRAWN.get(name, _NO_CHANGE.get(name))
    if pattern is None:
        return None
    value = _light(value)
    if value.lower() == "inherit" and name in _DRAWN:
        return "inherit"
    if not _compiled(pattern).fullmatch(value):
        raise Unknown(f"{name}: {value[:60]}")
    return value if name in _DRAWN else None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{pattern})?", re.IGNORECASE)


def _light(value: str) -> str:
    """Return a value with each `light-dark()` replaced by its first colour, which a page without a dark scheme
    shows."""
    if len(value) > _MAX_VALUE_CHARS:
        raise Unknown("a long value")
    while (start := value.lower().find(_LIGHT_DARK)) >= 0:
        inner = start + len(_LIGHT_DARK)
        depth, comma, end = 1, -1, -1
        for found in re.finditer(r"[(),]", value[inner:]):
            depth += {"(": 1, ")": -1, ",": 0}[found[0]]
            if found[0] == "," and depth == 1 and comma < 0:
                comma = inner + found.start()
            if not depth:
                end = inner + found.start()
                break
        if comma < 0 or end < 0:
            raise Unknown("light-dark()")
        value = value[:start] + value[inner:comma].strip() + value[end + 1 :]
    return value
