"""Parses and builds our own addresses: `/image/{options}/{source}`, in Cloudflare's option grammar. Pure.

Splits the raw request target into options, signature and source. `proxy.images.transforms.transform` interprets the
options.
Encoding contract: the target is the text of the request line, not decoded.

    good   /image/width=640,format=auto/https://h/a.png?v=1     the query belongs to the source
    good   /image/original/https%3A%2F%2Fh%2Fa.png?x            escaped as a whole: our own query is ignored
    bad    /image/https://h/a.png                               no options
    bad    /image/headimg,sig=a,sig=b/http://h/a.png            an option twice
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from proxy.dialects.base.escapes import base64url_decode, percent_decode, read_source
from proxy.errors import InvalidRequest, InvalidSource, InvalidTransform
from proxy.source import Source, escape_bytes, looks_encoded

MOUNT = "/image/"
ORIGINAL = "original"
VERSION_MARK = "original@"
BASE64_MARK = "b64:"
LOOK = "desk"
"""The query behind an encoded source by which the desk says that its owner only looks at the picture."""
_VERSION = re.compile(r"original@[0-9a-f]{64}")
_UNIX_TIME = re.compile(r"[0-9]{1,12}")
_NOT_OPTIONS = re.compile(r"(?:https?|ftp|file|data):|https?%(?:25)?3A|b64:", re.IGNORECASE)
_ESCAPED_COMMA = re.compile(r"%2C(?=[a-z][a-z-]*=)", re.IGNORECASE)
"""An escaped comma before an option's name also separates, because some tag plugins split on raw commas."""

_RESERVED = {ord(char): f"%{ord(char):02X}" for char in "/?# "}


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """The parts of a native address. `options` is the text as written, without `sig` and `exp`.

    `original@<SHA-256>` requests the version of the original with that digest. is_look: this is no use of the picture.
    """

    options: str
    source: Source
    sig: str | None = None
    exp: int | None = None
    is_look: bool = False

    @property
    def is_original(self) -> bool:
        """Whether unchanged bytes are requested: the current original or another version."""
        return self.options == ORIGINAL or bool(self.version)

    @property
    def version(self) -> str:
        """The digest of the requested version; empty for the current one."""
        return self.options.removeprefix(VERSION_MARK) if self.options.startswith(VERSION_MARK) else ""


def parse(raw_path: str, *, mount: str = MOUNT) -> NativeRequest:
    """Parse a request target in origin-form.

    Raises:
        InvalidRequest: the target is not below `mount`.
        InvalidTransform: no options, a repeated option, an invalid `exp`, or `original` with other options.
        InvalidSource, SourceNotAllowed: no source, or one that cannot be served.
    """
    if not raw_path.startswith(mount):
        raise InvalidRequest(f"The address must begin with {mount}.")
    segment, slash, rest = raw_path[len(mount) :].partition("/")
    if not segment or _NOT_OPTIONS.match(segment):
        raise InvalidTransform(
            f"Options are missing: write {mount}{{options}}/{{source}}, or {mount}original/{{source}}."
        )
    if not slash or "?" in segment:
        raise InvalidSource(f"The address of the picture is missing: write {mount}{{options}}/{{source}}.")
    options, sig, exp = split_options(segment)
    is_encoded = rest.startswith(BASE64_MARK) or looks_encoded(rest)
    is_look = is_encoded and rest.partition("?")[2] == LOOK
    return NativeRequest(options, parse_source(rest), sig, exp, is_look)


def split_options(segment: str) -> tuple[str, str | None, int | None]:
    """Return the options without `sig` and `exp`, then `sig` and `exp`.

    Raises:
        InvalidTransform: as for `parse`.
    """
    kept: list[str] = []
    taken: dict[str, str] = {}
    for item in items(segment):
        name, _, value = item.partition("=")
        if name not in ("sig", "exp"):
            kept.append(item)
        elif name in taken:
            raise InvalidTransform(f"The option {name} is given twice.")
        else:
            taken[name] = escape_bytes(percent_decode(value))
    if not kept:
        raise InvalidTransform(f"Options are missing: write {MOUNT}{{options}}/{{source}}.")
    if len(kept) > 1 and any(item == ORIGINAL or item.startswith(VERSION_MARK) for item in kept):
        raise InvalidTransform("original takes no other options: it is the unchanged original.")
    require_version(kept[0])
    return ",".join(kept), taken.get("sig"), _expiry(taken.get("exp"))


def items(segment: str) -> list[str]:
    """Return the options of a segment as written, including `sig` and `exp`."""
    return _ESCAPED_COMMA.sub(",", segment).split(",")


def require_version(options: str) -> None:
    """Raise InvalidTransform when `options` names a version of an original with an invalid digest."""
    if options.startswith(VERSION_MARK) and not _VERSION.fullmatch(options):
        raise InvalidTransform("original@ takes the SHA-256 of a version: 64 digits of 0-9 and a-f.")


def parse_source(text: str) -> Source:
    """Parse the text after the options: plain, escaped as a whole, or `b64:` with base64url.

    Raises:
        InvalidSource, SourceNotAllowed: no source, or one that cannot be served.
    """
    if text.startswith(BASE64_MARK):
        return read_source(base64url_decode(_without_query(text[len(BASE64_MARK) :])))
    if looks_encoded(text):
        text = percent_decode(_without_query(text))
        return read_source(percent_decode(text) if looks_encoded(text) else text)
    return read_source(text)


def build(
    base_url: str, options: str, source: Source, *, sig: str | None = None, exp: int | None = None
) -> str:
    """Return the address of a variant with a plain source. `parse` reverses it."""
    return f"{base_url}{MOUNT}{_segment(options, sig, exp)}/{source.url}"


def build_look(options: str, source: Source, *, sig: str | None = None) -> str:
    """Return the address by which the desk shows a picture: with an escaped source, and a query that it ignores."""
    return f"{MOUNT}{_segment(options, sig, None)}/{quote(source.url, safe='')}?{LOOK}"


def _segment(options: str, sig: str | None, exp: int | None) -> str:
    parts = [options.translate(_RESERVED)]
    if sig is not None:
        parts.append(f"sig={sig}")
    if exp is not None:
        parts.append(f"exp={exp}")
    return ",".join(parts)


def _expiry(text: str | None) -> int | None:
    if text is None:
        return None
    if not _UNIX_TIME.fullmatch(text):
        raise InvalidTransform("exp is a Unix time in whole seconds.")
    return int(text)


def _without_query(text: str) -> str:
    return re.split(r"[?#]", text, maxsplit=1)[0].replace("%3D", "=")
