"""Percent-escapes and base64url of addresses inside addresses. Pure; runs anywhere.

Text represents the bytes on the wire. Bytes above 0x7F that are not UTF-8 are surrogate escapes, so that `%CD%BC` (GBK)
decodes to two bytes and back to `%CD%BC`, never to a replacement character.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from proxy.errors import InvalidSource
from proxy.source import Source

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


def percent_decode(text: str) -> str:
    """Decode every `%XX` once, and nothing else: `+` stays `+`."""
    return as_text(unquote_to_bytes(as_bytes(text)))


def as_bytes(text: str) -> bytes:
    """Return the bytes on the wire. A lone surrogate, which stands for no byte, becomes U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode("utf-8")


def as_text(data: bytes) -> str:
    """Return bytes as text from which `as_bytes` restores them."""
    return data.decode("utf-8", "surrogateescape")


def base64url_decode(text: str) -> str:
    """Decode an address in base64url; padding is optional (RFC 4648 §5).

    Raises:
        InvalidSource: a character outside the alphabet, or an impossible length.
    """
    bare = text.rstrip("=")
    if not _BASE64URL.fullmatch(bare):
        raise InvalidSource("The base64url address of the picture contains invalid characters.")
    try:
        return as_text(base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)))
    except binascii.Error as error:
        raise InvalidSource("The base64url address of the picture cannot be decoded.") from error


def read_source(text: str) -> Source:
    """Parse a source that may contain lone surrogates, which YAML escapes can spell.

    Raises:
        InvalidSource, SourceNotAllowed: as for `Source.parse`.
    """
    return Source.parse(as_bytes(text))
