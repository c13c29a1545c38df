"""Decodes and encodes the spelling of addresses: entities, backslashes, quotes. Pure; byte text in, byte text out.

Each layer is decoded exactly once. An address is written back in its original style: `&#038;` stays `&#038;`, `''`
stays `''`, `\\/` stays `\\/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from html.entities import html5

from proxy.rewrite.base.spot import Layer, byte_text

_PUNCTUATION = r"!-/:-@\[-`{-~"
_ATTRIBUTE_ENTITY = re.compile(
    r"&(?:#(?:[0-9]{1,8}|[xX][0-9a-fA-F]{1,6});?|[A-Za-z][A-Za-z0-9]{1,31}(?:;|(?![A-Za-z0-9=])))"
)
_MARKDOWN_ENTITY = r"&(?:#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})|[A-Za-z][A-Za-z0-9]{1,31});"
_MARKDOWN_ESCAPE = re.compile(rf"\\([{_PUNCTUATION}])|{_MARKDOWN_ENTITY}")
_MARKDOWN_AMPERSAND = re.compile(r"(?<!\\)&(?:amp|#0{0,5}38|#[xX]0{0,4}26);")
_AMPERSAND = re.compile(r"&(?:amp;?|#0*38;?|#[xX]0*26;?)", re.IGNORECASE)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})(?:\r\n|[ \t\r\n\f])?|(\r\n|[\r\n\f])|(.))", re.DOTALL)
_DOUBLE_QUOTED_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_SINGLE_LETTERS = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    "N": "\xc2\x85", "_": "\xc2\xa0", "L": "\xe2\x80\xa8", "P": "\xe2\x80\xa9",
}  # fmt: skip
"""YAML 1.2.2 §5.7, as byte text. JSON and TOML have a subset."""


def attribute(raw: str, quote: str) -> Layer:
    """Return the layer of an HTML attribute value, with the ampersand's spelling found in `raw`."""
    found = _AMPERSAND.search(raw)
    ampersand = found[0] if found else "&"
    unsafe = quote or "\"'<>=` "
    if not quote and "=" in raw[1:]:
        # `=` was part of the unquoted value, so it may stay. Markdown does not allow it, so otherwise write `&#61;`.
        unsafe = unsafe.replace("=", "")

    def spelled(text: str, ampersand: str) -> str:
        text = text.replace("&", ampersand)
        return "".join(f"&#{ord(char)};" if char in unsafe else char for char in text)

    def encode(text: str) -> str:
        result = spelled(text, ampersand)
        return result if decode_attribute(result) == text else spelled(text, "&amp;")

    return Layer(decode_attribute, encode)


def xml_text(raw: str) -> Layer:
    """Return the layer of text between XML tags, with the ampersand's spelling found in `raw`."""
    found = _AMPERSAND.search(raw)
    ampersand = found[0] if found else "&amp;"

    def encode(text: str) -> str:
        return text.replace("&", ampersand).replace("<", "&lt;").replace(">", "&gt;")

    return Layer(decode_attribute, encode)


def decode_attribute(raw: str) -> str:
    """Decode character references as in an attribute value (HTML §13.2.5.73: `&copy=` is none)."""
    return _ATTRIBUTE_ENTITY.sub(_entity, raw) if "&" in raw else raw


def attribute_map(raw: str) -> tuple[str, list[int] | None]:
    """Decode an attribute value; also return the position of each character, or None when nothing was decoded."""
    if "&" not in raw or not _ATTRIBUTE_ENTITY.search(raw):
        return raw, None
    pieces: list[str] = []
    origins: list[int] = []
    position = 0
    for match in _ATTRIBUTE_ENTITY.finditer(raw):
        pieces.append(raw[position : match.start()])
        origins.extend(range(position, match.start()))
        decoded = _entity(match)
        pieces.append(decoded)
        origins.extend([match.start()] * len(decoded))
        position = match.end()
    pieces.append(raw[position:])
    origins.extend(range(position, len(raw) + 1))
    return "".join(pieces), origins


def _entity(match: re.Match[str]) -> str:
    text = match[0]
    if text[1] != "#" and text[1:] not in html5:
        return text
    return byte_text(unescape(text))


def markdown(raw: str) -> Layer:
    """Return the layer of a bare Markdown destination (CommonMark 0.31 §6.3)."""
    escapes_parentheses = "\\(" in raw or "\\)" in raw
    plain_pipe = re.search(r"(?<!\\)\|", raw) is not None
    escape = _markdown_escapes(raw)

    def encode(text: str) -> str:
        spelled = escape(text)
        if escapes_parentheses or not balanced(text):
            spelled = spelled.replace("(", "\\(").replace(")", "\\)")
        return spelled if plain_pipe else spelled.replace("|", "\\|")

    return Layer(decode_markdown, encode)


def markdown_angle(raw: str) -> Layer:
    """Return the layer of a Markdown destination between `<` and `>`."""
    escape = _markdown_escapes(raw)

    def encode(text: str) -> str:
        return escape(text).replace("<", "\\<").replace(">", "\\>")

    return Layer(decode_markdown, encode)


def decode_markdown(raw: str) -> str:
    """Decode backslash escapes and entities of a Markdown destination, each once."""
    if "\\" not in raw and "&" not in raw:
        return raw
    return _MARKDOWN_ESCAPE.sub(lambda match: match[1] or _entity(match), raw)


def bare(raw: str) -> Layer:
    """Return the layer of a bare address in text: entities, but no backslashes."""
    found = _MARKDOWN_AMPERSAND.search(raw)

    def decode(text: str) -> str:
        return re.sub(_MARKDOWN_ENTITY, _entity, text)

    def encode(text: str) -> str:
        if found:
            return text.replace("&", found[0])
        return text if decode(text) == text else text.replace("&", "&amp;")

    return Layer(decode, encode)


def hold_bare(url: str) -> str:
    """Percent-encode characters that would end a bare address in text."""
    url = _hold_bare(url)
    return url if balanced(url) or not url.endswith(")") else url[:-1] + "%29"


def _markdown_escapes(raw: str) -> Callable[[str], str]:
    """Return a function that escapes backslashes and entities; ampersands are spelled as in `raw`, if it has one."""
    found = _MARKDOWN_AMPERSAND.search(raw)

    def escape(text: str) -> str:
        text = re.sub(rf"\\(?=[{_PUNCTUATION}])|\\\Z", r"\\\\", text)
        if found:
            return text.replace("&", found[0])
        return re.sub(rf"(?={_MARKDOWN_ENTITY})&", r"\\&", text)

    return escape


def balanced(text: str) -> bool:
    """Return whether parentheses are balanced, as deep as CommonMark follows them."""
    depth = 0
    for char in re.findall(r"[()]", text):
        depth += 1 if char == "(" else -1
        if not 0 <= depth <= 32:
            return False
    return depth == 0


def css(quote: str) -> Layer:
    """Return the layer of a CSS string or, without a quote, of an unquoted `url()` (CSS Syntax §4.3)."""
    unsafe = re.compile(rf"[\\{quote}]" if quote else r"[\\\"'() \t\n\r\f]")

    def encode(text: str) -> str:
        return unsafe.sub(lambda match: "\\" + match[0], text)

    return Layer(decode_css, encode)


def decode_css(raw: str) -> str:
    """Decode CSS escapes: hexadecimal, line continuation, any other character."""

    def character(match: re.Match[str]) -> str:
        if match[1]:
            return _code_point(match[1])
        return "" if match[2] else match[3]

    return _CSS_ESCAPE.sub(character, raw) if "\\" in raw else raw


def single_quoted() -> Layer:
    """Return the layer of a YAML single-quoted scalar."""
    return Layer(lambda raw: raw.replace("''", "'"), lambda text: text.replace("'", "''"))


def double_quoted(raw: str) -> Layer:
    """Return the layer of a double-quoted string of YAML, JSON or TOML."""
    escapes_slashes = "\\/" in raw

    def encode(text: str) -> str:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        return text.replace("/", "\\/") if escapes_slashes else text

    return Layer(decode_double_quoted, encode)


def decode_double_quoted(raw: str) -> str:
    """Decode the escapes of a double-quoted string; surrogate pairs as JSON spells them."""
    if "\\" not in raw:
        return raw
    joined = re.sub(r"\\u(d[89ab]..)\\u(d[c-f]..)", _surrogates, raw, flags=re.IGNORECASE)
    return _DOUBLE_QUOTED_ESCAPE.sub(_double_quoted_character, joined)


def _surrogates(match: re.Match[str]) -> str:
    try:
        high, low = int(match[1], 16), int(match[2], 16)
    except ValueError:
        return match[0]
    return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def _double_quoted_character(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    return _code_point(digits) if digits else _SINGLE_LETTERS.get(match[4], match[4])


def _code_point(digits: str) -> str:
    value = int(digits, 16)
    return byte_text(chr(value) if 0 < value <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}")


def percent(forbidden: str) -> Callable[[str], str]:
    """Return a `hold` that percent-encodes every character that the pattern `forbidden` matches."""
    pattern = re.compile(forbidden)

    def hold(url: str) -> str:
        return pattern.sub(lambda match: "".join(f"%{ord(char):02X}" for char in match[0]), url)

    return hold


_hold_bare = percent(r"[^!#$%&()*+,\-./0-9:;=?@A-Za-z_~]|[?!.,:;*_~]\Z")
