"""Conditional and range requests: RFC 9110 §8.8, §13 and §14 as functions of header texts. Pure.

Decides whether a request proceeds, and which part of a body it asks for. Does not know requests, responses or files.
Input that cannot be read is ignored, as the RFC requires, and nothing raises.

    good   If-None-Match: W/"a,b", "c"       Range: bytes=0-0
    bad    If-None-Match: abc                Range: bytes=5-2, lines=1-2       (no match; ignored)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from cache.http.httpdate import parse_http_date

Decision = Literal["proceed", "not_modified", "precondition_failed"]
Unsatisfiable = Literal["unsatisfiable"]

_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"')
_RANGE_UNIT = re.compile(r"bytes[ \t]*=(.*)\Z", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"([0-9]{0,4000})-([0-9]{0,4000})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ETag:
    """An entity tag (§8.8.3): the text between the quotes, and whether it is weak."""

    opaque: str
    weak: bool = False

    def strongly_equals(self, other: ETag) -> bool:
        """§8.8.3.2: both strong and the same text."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def weakly_equals(self, other: ETag) -> bool:
        """§8.8.3.2: the same text."""
        return self.opaque == other.opaque


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a body: the bytes `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of bytes, at least 1."""
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the value of `Content-Range` for a body of `size` bytes (§14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_etag(text: str | None) -> ETag | None:
    """Parse an entity tag; return None when `text` is not one."""
    match = _ETAG.fullmatch(text.strip(" \t")) if text else None
    return ETag(match[2], match[1] is not None) if match else None


def evaluate(  # noqa: PLR0913 - the four conditions of RFC 9110 §13.1 and two validators, by name
    method: str,
    *,
    if_match: str | None = None,
    if_none_match: str | None = None,
    if_modified_since: str | None = None,
    if_unmodified_since: str | None = None,
    etag: str | None,
    last_modified: str | None,
) -> Decision:
    """Decide a conditional request for a picture that exists, in the order of §13.2.2.

    `etag` and `last_modified` are the header values of the answer. None means that the header is absent.
    """
    current = parse_etag(etag)
    # §13.1.1, §13.1.4: If-Match first; If-Unmodified-Since only without it.
    if if_match is not None:
        if not _lists(if_match, current, strong=True):
            return "precondition_failed"
    elif if_unmodified_since is not None and _modified_after(last_modified, if_unmodified_since) is True:
        return "precondition_failed"
    reads = method in {"GET", "HEAD"}
    # §13.1.2, §13.1.3: If-None-Match first; If-Modified-Since only without it and only for reading.
    if if_none_match is not None:
        if _lists(if_none_match, current, strong=False):
            return "not_modified" if reads else "precondition_failed"
    elif (
        reads and if_modified_since is not None and _modified_after(last_modified, if_modified_since) is False
    ):
        return "not_modified"
    return "proceed"


def if_range_matches(if_range: str, *, etag: str | None, last_modified: str | None) -> bool:
    """Return whether the client's part belongs to the current body (§13.1.5): tags strongly, dates literally equal."""
    asked = parse_etag(if_range)
    if asked is not None:
        current = parse_etag(etag)
        return current is not None and asked.strongly_equals(current)
    moment = parse_http_date(if_range)
    return moment is not None and moment == parse_http_date(last_modified)


def parse_range(header: str | None, size: int) -> Range | Unsatisfiable | None:
    """Return the part of a body of `size` bytes that a `Range` header asks for.

    None means the whole body: no header, another unit, a malformed one, or several ranges (§14.2 lets a
    server ignore them; answering many overlapping ones is an attack on the server).
    """
    match = _RANGE_UNIT.match(header.strip(" \t")) if header else None
    parts = [part.strip(" \t") for part in match[1].split(",")] if match else []
    if len(parts) != 1:
        return None
    bounds = _RANGE.match(parts[0])
    if bounds is None or bounds[0] == "-":
        return None
    return _suffix(int(bounds[2]), size) if not bounds[1] else _from(int(bounds[1]), bounds[2], size)


def _suffix(length: int, size: int) -> Range | Unsatisfiable:
    # §14.1.2: a suffix of zero bytes, or of an empty body, cannot be satisfied.
    return Range(max(0, size - length), size) if length and size else "unsatisfiable"


def _from(start: int, last: str, size: int) -> Range | Unsatisfiable | None:
    if last and int(last) < start:
        return None
    if start >= size:
        return "unsatisfiable"
    return Range(start, min(int(last) + 1, size) if last else size)


def _lists(header: str, current: ETag | None, *, strong: bool) -> bool:
    if header.strip(" \t") == "*":
        return True
    if current is None:
        return False
    listed = (ETag(match[2], match[1] is not None) for match in _ETAG.finditer(header))
    return any(tag.strongly_equals(current) if strong else tag.weakly_equals(current) for tag in listed)


def _modified_after(last_modified: str | None, since: str) -> bool | None:
    modified, moment = parse_http_date(last_modified), parse_http_date(since)
    return None if modified is None or moment is None else modified > moment
