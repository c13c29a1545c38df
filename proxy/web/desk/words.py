"""Writes figures for people: bytes, counts, shares, moments. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def in_bytes(size: float) -> str:
    """Return a size with at most three significant digits: `1.24 MB`."""
    amount, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if abs(amount) < 999.5 or unit == _UNITS[-1]:
            break
        amount /= 1000
    digits = 0 if unit == "B" or amount >= 99.95 else 1 if amount >= 9.995 else 2
    return f"{amount:.{digits}f} {unit}"


def in_thousands(count: float) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{round(count):,}".replace(",", "\u202f")


def in_percent(share: float | None) -> str:
    """Return a share of one as a percentage; a dash when it is unknown."""
    if share is None:
        return "–"
    return f"{share * 100:.1f} %" if share < 0.9995 else f"{share * 100:.0f} %"


def as_moment(seconds: float | None) -> str:
    """Return Unix seconds as a date and time in UTC; a dash when it is unknown."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds else "–"
    except (OverflowError, ValueError, OSError):
        return "–"


def as_machine_time(seconds: float) -> str:
    """Return Unix seconds for the attribute `datetime`; empty when it is no date."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def shortened(text: str, most: int = 90) -> str:
    """Return a text without its middle when it is long, because both ends of an address are informative."""
    return text if len(text) <= most else f"{text[: most * 2 // 3]}…{text[-(most // 3 - 1) :]}"


def in_pieces(text: str) -> list[tuple[bool, str]]:
    """Return the pieces of a text, each with whether it stood between backticks and so is code."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return [(False, text)]
    return [(number % 2 == 1, piece) for number, piece in enumerate(pieces) if piece]


def in_query(text: str) -> str:
    """Return a text as a value of a query. Bytes that are not UTF-8 stay what they are."""
    try:
        return quote(text.encode("utf-8", "surrogateescape"), safe="")
    except UnicodeEncodeError:
        # No file name decodes to this, and no query can carry it.
        return quote(text.encode("utf-8", "replace"), safe="")


def file_name(address: str) -> str:
    """Return the last part of an address's path, shortened, or its host."""
    path = address.partition("?")[0].rstrip("/")
    return shortened(path.rpartition("/")[2], 40)


FILTERS: dict[str, Callable[..., Any]] = {
    "bytes": in_bytes,
    "count": in_thousands,
    "percent": in_percent,
    "moment": as_moment,
    "machine_time": as_machine_time,
    "short": shortened,
    "pieces": in_pieces,
    "query": in_query,
    "file_name": file_name,
}
