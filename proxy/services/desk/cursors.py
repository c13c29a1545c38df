"""Cursors: where the next page of a list begins, as opaque ASCII that a client sends back. Pure.

A cursor is the base64url of a JSON array: the name of the list with its sorting, and the values of the last row. Names
of articles may hold bytes that are not UTF-8; JSON writes them as escapes.
"""

from __future__ import annotations

import base64
import json
import math

from proxy.errors import InvalidRequest

MAX_LENGTH = 65_536
_LARGEST = (1 << 63) - 1
"""The largest number that SQLite takes."""

CursorValue = float | str


def cursor(name: str, *values: CursorValue) -> str:
    """Return the cursor after the row of a list with these values."""
    text = json.dumps([name, *values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def behind(
    text: str, name: str, *kinds: type[int] | type[float] | type[str]
) -> tuple[CursorValue, ...] | None:
    """Return the values in a cursor of the list `name`; None for an empty text.

    Raises:
        InvalidRequest: it is not a cursor of this list.
    """
    if not text:
        return None
    try:
        found = json.loads(_decoded(text), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _foreign() from error
    if not isinstance(found, list) or len(found) != len(kinds) + 1 or found[0] != name:
        raise _foreign()
    values = found[1:]
    if not all(_is(value, kind) for value, kind in zip(values, kinds, strict=True)):
        raise _foreign()
    return tuple(values)


def _decoded(text: str) -> bytes:
    if len(text) > MAX_LENGTH or not text.isascii():
        raise ValueError("too long, or no ASCII")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _no_constant(text: str) -> object:
    raise ValueError(text)


def _is(value: object, kind: type[int] | type[float] | type[str]) -> bool:
    if isinstance(value, bool):
        return False
    if kind is float and isinstance(value, float):
        return math.isfinite(value)
    if kind in (int, float) and isinstance(value, int):
        return abs(value) <= _LARGEST
    return kind is str and isinstance(value, str)


def _foreign() -> InvalidRequest:
    return InvalidRequest("after: this is not the `next` of a page of this list.")
