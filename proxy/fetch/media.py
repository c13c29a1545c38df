"""Determines the media type of a body from its first bytes. The origin's own type counts only for text. Pure.

Follows the WHATWG MIME Sniffing standard and adds to it: more signatures (`proxy.signatures`), and SVG and HTML after
byte order marks, comments and prologs. Whether a picture can be decoded is decided elsewhere.

    good   89 50 4E 47 …  called text/html   ->  image/png
    good   a{color:red}   called text/css    ->  text/css
    bad    <html> …       called image/png   ->  text/html
    bad    00 01 02 …     called text/css    ->  application/octet-stream
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.prolog import root_of
from proxy.signatures import BINARY, BINARY_BYTE, media_type_of

SNIFFED_BYTES = 4096
"""How much of a body `decide` should get. The standard needs 1,445 bytes, but prologs of HTML may be longer."""
SVG = "image/svg+xml"

_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))
# Each alternative can end in one way only, because this matches hostile text.
_BEFORE_ROOT = re.compile(
    r"\s+|<!--.*?-->|<\?.*?\?>|<!doctype(?!\s+html\b)\s[^>\[]*(?:\[[^\]]*\]\s*)?>",
    re.DOTALL | re.IGNORECASE,
)
# WHATWG MIME Sniffing §7.1, and tags that can contain scripts.
_HTML_ROOT = re.compile(
    r"<!doctype\s+html|<!--|<(?:[\w.-]+:)?(?:html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|img|"
    r"meta|link|form|object|embed|base|video|audio|math|template)(?=[\s/>])",
    re.IGNORECASE,
)
_ESSENCE = re.compile(
    r"[ \t\r\n]*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t\r\n]*(?:;|\Z)"
)
_TEXT = re.compile(
    r"text/.+|(?!image/).+\+(?:json|xml|yaml)|(?:audio|application)/(?:x-|vnd\.apple\.)?mpegurl"
    r"|application/(?:json|xml|(?:x-)?javascript|ecmascript|(?:x-)?yaml|toml|x-sh|x-subrip|rtf)"
)


def decide(head: bytes, claimed: str | None, *, root: str | None = None) -> str:
    """Return the media type of a body that begins with `head`, when its origin calls it `claimed`.

    Return an empty text for an empty body. `head` should be the first `SNIFFED_BYTES`, or the whole body. `root` is the
    name of the root element if more than `head` was searched for it (`proxy.prolog.RootFinder`).
    """
    if not head:
        return ""
    found = media_type_of(head)
    if found is not None:
        return found
    if (root_of(head) if root is None else root) == "svg":
        return SVG
    text = _as_text(head)
    if text is None:
        return BINARY
    return _markup(text, essence(claimed)) or _claimed_text(essence(claimed))


def essence(claimed: str | None) -> str | None:
    """Return type and subtype of a Content-Type in lower case, or None if it cannot be read."""
    match = _ESSENCE.match(claimed or "")
    return match[1].lower() if match else None


def admitted(media_type: str, types: Iterable[str]) -> bool:
    """Return whether a media type is in one of the ranges (`image/*`, `text/css`, `*/*`)."""
    kind, slash, _ = media_type.partition("/")
    return bool(slash) and any(text in {media_type, f"{kind}/*", "*/*"} for text in types)


def _as_text(head: bytes) -> str | None:
    for bom, encoding in _BOMS:
        if head.startswith(bom):
            return head[len(bom) :].decode(encoding, "replace")
    return None if BINARY_BYTE.search(head) else head.decode("latin-1")


def _markup(text: str, claimed: str | None) -> str | None:
    is_xml = False
    position = 0
    while match := _BEFORE_ROOT.match(text, position):
        is_xml = is_xml or match[0][:5].lower() == "<?xml"
        position = match.end()
    if _HTML_ROOT.match(text, position):
        return "text/html"
    return "text/xml" if is_xml and (claimed is None or not _TEXT.fullmatch(claimed)) else None


def _claimed_text(claimed: str | None) -> str:
    return claimed if claimed is not None and _TEXT.fullmatch(claimed) else "text/plain"
