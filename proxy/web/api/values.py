"""Values that several endpoints answer, and how values become JSON. Pure."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from proxy.errors import MirrorError

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A moment as RFC 3339 in UTC: `2024-01-31T12:00:00Z`."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""The SHA-256 of a body in hexadecimal digits."""

PRIVATE_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer. No CORS header: unlike the pictures, the API is not for other sites."""

MAX_SOURCE_LENGTH = 16_384
"""More than any request line can hold."""

SourceText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_SOURCE_LENGTH,
        pattern="^[Hh][Tt][Tt][Pp][Ss]?:/",
        description="The address of a picture. Wrappers of other proxies are removed.",
        examples=["https://host.example/a.png"],
    ),
]


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """The one shape of errors. code: for programs, listed in docs/api.md. message: for people."""

    code: str
    message: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error that is part of an answer, such as why the last refresh of a picture failed."""

    code: str
    status: int
    message: str

    @classmethod
    def of(cls, error: MirrorError) -> Trouble:
        """Return an error as a value."""
        return cls(error.code, error.status, error.message)


def moment(seconds: float | None) -> str | None:
    """Return a time in Unix seconds as text; None if it is unknown or not a date."""
    if seconds is None or seconds <= 0:
        return None
    try:
        found = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return found.isoformat(timespec="seconds").replace("+00:00", "Z")


def as_json(answer: object) -> bytes:
    """Return an answer as JSON in ASCII, because names of articles may hold bytes that are not UTF-8."""
    return json.dumps(_plain(answer), allow_nan=False).encode("ascii")


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
