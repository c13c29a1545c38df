"""Masks bytes so that the structure of text in any encoding can be read byte by byte. Pure.

In UTF-8 no byte of a longer character looks like ASCII. In GBK, Big5 and Shift JIS the second byte may look like
a backslash, a backtick or a bracket; such bytes are masked before the structure is read. Positions stay the same.
"""

from __future__ import annotations

import re

from proxy.rewrite.base.charset import page_encoding

_TWO_BYTES = {
    "gb18030": re.compile(r"[\x81-\xfe][\x40-\x7e\x80-\xfe]"),
    "big5hkscs": re.compile(r"[\x81-\xfe][\x40-\x7e\xa1-\xfe]"),
    "cp932": re.compile(r"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"),
}
_WIDE = re.compile(rb"\xff\xfe|\xfe\xff|(?:\0[^\0]|[^\0]\0){2}|\0\0\0[^\0]|[^\0]\0\0\0")
"""A byte order mark, or letters of two or four bytes."""


def is_wide(data: bytes) -> bool:
    """Return whether an article is in UTF-16 or UTF-32, which cannot be read byte by byte."""
    return _WIDE.match(data) is not None


def structure(data: bytes) -> str:
    """Return `data` as byte text in which only real markup looks like markup; empty for UTF-16 and UTF-32."""
    if is_wide(data):
        return ""
    text = data.decode("latin-1")
    if data.isascii() or _is(data, "utf-8"):
        return text
    encoding = page_encoding(data) or next((name for name in _TWO_BYTES if _is(data, name)), "")
    return _TWO_BYTES[encoding].sub(_masked, text) if encoding in _TWO_BYTES else text


def _masked(match: re.Match[str]) -> str:
    # Letters stay: they are no markup, and where the encoding was guessed wrongly an address may begin with one.
    second = match[0][1]
    return match[0] if second >= "\x80" or second.isalpha() else match[0][0] + "x"


def _is(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
