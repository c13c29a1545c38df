"""Converts HTTP dates to Unix seconds and back (RFC 9110 §5.6.7). Pure.

For `Date`, `Last-Modified`, `Expires` and `If-Modified-Since`. Strict: text in none of the three formats gives None,
never a guess, and callers ignore it as the RFC requires. Only case does not matter (RFC 9111 §4.2).

    good   Sun, 06 Nov 1994 08:49:37 GMT      Sunday, 06-Nov-94 08:49:37 GMT      Sun Nov  6 08:49:37 1994
    bad    0      1994-11-06T08:49:37Z
"""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMATS = (
    re.compile(
        rf"[A-Za-z]{{3}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Za-z]{{3}}) (?P<year>[0-9]{{4}}) {_TIME} (?i:GMT)"
    ),
    re.compile(
        rf"[A-Za-z]{{6,9}}, (?P<day>[0-9]{{2}})-(?P<month>[A-Za-z]{{3}})-(?P<year>[0-9]{{2}}) {_TIME} (?i:GMT)"
    ),
    re.compile(rf"[A-Za-z]{{3}} (?P<month>[A-Za-z]{{3}}) (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def parse_http_date(text: str | None) -> float | None:
    """Return the Unix seconds of `text`, or None when it is not an HTTP date."""
    if text is None or len(text) > 64:
        return None
    for pattern in _FORMATS:
        if match := pattern.fullmatch(text.strip(" \t")):
            return _moment(match)
    return None


def format_http_date(seconds: float) -> str:
    """Return a moment as an IMF-fixdate, in whole seconds."""
    moment = datetime.fromtimestamp(int(seconds), UTC)
    day, month = _DAYS[moment.weekday()], _MONTHS[moment.month - 1]
    return f"{day}, {moment.day:02d} {month} {moment.year:04d} {moment:%H:%M:%S} GMT"


def _moment(match: re.Match[str]) -> float | None:
    month = match["month"].title()
    if month not in _MONTHS:
        return None
    try:
        # Unix time has no leap seconds, so 60 counts as 59.
        second = min(int(match["second"]), 59) if match["second"] == "60" else int(match["second"])
        day, hour, minute = int(match["day"]), int(match["hour"]), int(match["minute"])
        moment = datetime(
            _year(match["year"]), _MONTHS.index(month) + 1, day, hour, minute, second, tzinfo=UTC
        )
    except ValueError:
        return None
    return float(calendar.timegm(moment.utctimetuple()))


def _year(text: str) -> int:
    year = int(text)
    if len(text) == 4:
        return year
    # RFC 9110 asks for "the most recent past year"; a fixed pivot needs no clock and agrees until 2069.
    return year + (1900 if year >= 70 else 2000)
