"""Removes secrets from log text, and characters that forge a line or control a terminal. Pure.

Addresses carry signatures and tokens in many spellings. All text passes through here before it is logged.

    good   hidden("/image/width=3,sig=abc/http://h/a")   ->  "/image/width=3,sig=***/http://h/a"
    good   hidden("http://u:p@h/a?X-Amz-Signature=1&w=2")  ->  "http://***@h/a?X-Amz-Signature=***&w=2"
    bad    hidden("/image/sigma=3")                      ->  as it was
    bad    plain("a\\nb")                                 ->  "a\\\\x0ab"
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

_NAMES = (
    r"(?:x-(?:amz|goog|oss|cos|tos|ms)-)?(?:signature|credential|security-token)|sig|sign|hmac|jwt|session|sid"
    r"|(?:access_|auth_|id_|refresh_)?token|auth|authorization|(?:api_?|access_?|secret_?)key|awsaccesskeyid"
    r"|ossaccesskeyid|googleaccessid|password|passwd|pwd|secret|client_secret"
)
_IS = r"(?:=|%3D|%253D)"
_IN_QUERY = re.compile(
    rf"((?:^|[?&;]|%3F|%26|%253F|%2526)(?:{_NAMES}){_IS})(?:(?!%26|%2526)[^&\s\"'<>#])+", re.IGNORECASE
)
_IN_OPTIONS = re.compile(
    rf"((?:[/,]|%2F|%2C|%252F|%252C)(?:{_NAMES}){_IS})(?:(?!%2F|%2C|%25)[^,/&\s\"'<>?#])+", re.IGNORECASE
)
_SHORT_NAME = re.compile(
    rf"((?:[?&]|%3F|%26)(?:s|h|key){_IS})[0-9a-z_-]{{16,}}(?=[&\s\"'<>#]|%26|$)", re.IGNORECASE
)
"""Names with two meanings: `s` is a size or a signature, `key` a name or a password. Secrets are long, without dots."""

_MOUNT = re.compile(
    r"(/(?:imgproxy|thumbor|imagor|camo|miniflux|proxy)/(?:proxy/)?)"
    r"(?!(?:unsafe|insecure|_|plain)/)[A-Za-z0-9_=-]{5,}(?=[/?])"
)
"""Mounts of grammars whose first path segment is the signature."""

_AT_ROOT = re.compile(r"((?:^|[\s\"'])/)(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{16,}={0,2}(?=[/?])")
"""The same grammars, mounted at the root of a host."""

_IMAGEPROXY = re.compile(r"([/,]s)[A-Za-z0-9_-]{43}=?(?=[,/])")
_HEADER = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=,]\s*b?['\"]?)[^\r\n'\"]+", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{4,}", re.IGNORECASE)
_USER = re.compile(
    r"((?:https?|socks[45]h?|ftp)(?::|%3A)(?:/|%2F){1,2})[^/?#\s\"'<>@]+(?:@|%40)", re.IGNORECASE
)

_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (_USER, rf"\1{MASK}@"),
    (_HEADER, rf"\1\2{MASK}"),
    (_SCHEME, rf"\1 {MASK}"),
    (_IN_QUERY, rf"\1{MASK}"),
    (_IN_OPTIONS, rf"\1{MASK}"),
    (_SHORT_NAME, rf"\1{MASK}"),
    (_MOUNT, rf"\1{MASK}"),
    (_AT_ROOT, rf"\1{MASK}"),
    (_IMAGEPROXY, rf"\1{MASK}"),
)


def hideable(secrets: Iterable[str]) -> tuple[str, ...]:
    """Return the secrets to give to `hidden`, the longest first. A short one would hide parts of ordinary words."""
    return tuple(sorted({text for text in secrets if len(text) >= 6}, key=len, reverse=True))


def hidden(text: str, secrets: Iterable[str] = ()) -> str:
    """Return `text` with signatures, tokens, passwords and the given `secrets` replaced by `***`."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    return text


def plain(text: str) -> str:
    """Return `text` as one line of printable characters; all others are escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
