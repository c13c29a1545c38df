"""Finds addresses in style sheets and `style` attributes: `url(…)`, `@import`, `image-set("…")`. Pure.

It scans for the few tokens that matter (CSS Syntax Level 3 §4): comments, strings, `url(`. It never fails and skips
anything else. It examines each character a constant number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.rewrite.base.spot import Use

_TOKEN = re.compile(
    r"""/\*|"|'|(?<![\w-])url\([\t\n\f\r ]*+|@import\b|@font-face\b|@namespace\b|(?<![\w-])image-set\(|[;}]""",
    re.IGNORECASE,
)
_STRING = {
    '"': re.compile(r'(?:[^"\\\n\r\f]++|\\(?:\r\n|[\s\S]))*+'),
    "'": re.compile(r"(?:[^'\\\n\r\f]++|\\(?:\r\n|[\s\S]))*+"),
}
_UNQUOTED = re.compile(r"""(?:[^"'()\\\t\n\f\r ]++|\\[^\n\r\f])*+""")
_CLOSING = re.compile(r"[\t\n\f\r ]*+(?:\)|\Z)")
_FONT = re.compile(r"\.(?:woff2?|ttf|otf|eot)(?:[?#]|\Z)", re.IGNORECASE)

STYLE_SHEETS = ("text/css",)
FONTS = ("font/*", "application/font-woff", "application/vnd.ms-fontobject")


@dataclass(frozen=True, slots=True)
class CssAddress:
    """An address at `start:end` of a style sheet. `quote` is empty for an unquoted `url()`."""

    start: int
    end: int
    quote: str
    use: Use
    media: tuple[str, ...]


def addresses(text: str, start: int, end: int) -> Iterator[CssAddress]:
    """Yield the addresses of `text[start:end]`."""
    position, rule = start, ""
    while (token := _TOKEN.search(text, position, end)) is not None:
        position = token.end()
        word = token[0].lower()
        if word == "/*":
            close = text.find("*/", position, end)
            position = close + 2 if close >= 0 else end
        elif word in "\"'":
            stop = _end_of(_STRING[word], text, position, end)
            if rule in ("@import", "image-set("):
                yield _address(text, position, stop, quote=word, rule=rule)
            position = stop + 1
        elif word.startswith("url("):
            quote = text[position] if position < end and text[position] in "\"'" else ""
            position += len(quote)
            stop = _end_of(_STRING[quote] if quote else _UNQUOTED, text, position, end)
            if _CLOSING.match(text, stop + len(quote), end):
                yield _address(text, position, stop, quote=quote, rule=rule)
                # Skip the closing quote. Read as the beginning of a string, it would hide the next address on its line.
                stop += len(quote)
            position = stop
        elif word == ";":
            rule = rule if rule == "@font-face" else ""
        else:
            rule = "" if word == "}" else word


def _end_of(pattern: re.Pattern[str], text: str, position: int, end: int) -> int:
    match = pattern.match(text, position, end)
    return match.end() if match else position


def _address(text: str, start: int, end: int, *, quote: str, rule: str) -> CssAddress:
    if rule == "@import":
        return CssAddress(start, end, quote, Use.ASSET, STYLE_SHEETS)
    if rule == "@font-face" or _FONT.search(text, start, end):
        return CssAddress(start, end, quote, Use.ASSET, FONTS)
    if rule == "@namespace":
        return CssAddress(start, end, quote, Use.LEAVE, ())
    return CssAddress(start, end, quote, Use.SHOW, ())
