"""Freshness: RFC 9111 §4.2 as pure functions of kept headers and times.

Answers how long an original may be served without asking its origin again. It refuses to know whether it may
be kept: a mirror keeps for good. So the directives mean here:

    s-maxage, max-age, Expires, heuristic   the lifetime, in this order (§4.2.1); ours is a shared cache
    no-cache, no-store, private             lifetime 0: kept, but asked about each time (unless `min_fresh` is set)
    must-revalidate, proxy-revalidate       nothing: a kept original wins over a failed refresh (stale-if-error)
    immutable, public, stale-*, others      nothing: what is fresh is never asked about anyway

`min_fresh_seconds` is the operator's word and stands above all of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cache.entry import Entry
from cache.httpdate import parse_http_date

Headers = Iterable[tuple[str, str]]

HEURISTIC_FRACTION = 0.1
"""RFC 9111 §4.2.2 suggests 10 % of the time since the last modification."""

HEURISTIC_MAX_SECONDS = 7 * 86400.0
"""An old picture is not fresh for years only because its origin says nothing."""

CLOCK_TOLERANCE_SECONDS = 60.0
"""An answer that came later than now by more than this came by a wrong clock: it is stale, not fresh for ever."""

MAX_DELTA_SECONDS = 1 << 31
"""RFC 9111 §1.2.2: a larger number counts as this one."""

_DIRECTIVE = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?')
_NUMBER = re.compile(r"[0-9]+\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Policy:
    """How the operator reads freshness."""

    min_fresh_seconds: float = 0.0
    heuristic_fraction: float = HEURISTIC_FRACTION
    heuristic_max_seconds: float = HEURISTIC_MAX_SECONDS


def cache_control(headers: Headers) -> Mapping[str, str | None]:
    """Return the directives of all `Cache-Control` lines, names in lower case; the first of a name counts."""
    found: dict[str, str | None] = {}
    for name, value in headers:
        if name == "cache-control":
            for match in _DIRECTIVE.finditer(value):
                argument = match[2] if match[2] is not None else match[3]
                found.setdefault(match[1].lower(), argument)
    return found


def freshness_lifetime(headers: Headers, *, response_time: float, policy: Policy | None = None) -> float:
    """Return for how many seconds after its generation the answer is fresh (§4.2.1)."""
    headers = tuple(headers)
    directives = cache_control(headers)
    if _asks_each_time(headers, directives):
        return 0.0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            # §4.2.1: invalid freshness information counts as stale.
            return _delta_seconds(directives[name]) or 0.0
    date = _date(headers, response_time=response_time)
    expires = _first(headers, "expires")
    if expires is not None:
        # §5.3: an invalid date, "0" above all, lies in the past.
        moment = parse_http_date(expires)
        return 0.0 if moment is None else max(0.0, moment - date)
    return _heuristic(headers, date=date, policy=policy or Policy())


def current_age(headers: Headers, *, request_time: float, response_time: float, now: float) -> float:
    """Return how many seconds ago the origin made or confirmed the answer (§4.2.3)."""
    headers = tuple(headers)
    apparent_age = max(0.0, response_time - _date(headers, response_time=response_time))
    response_delay = max(0.0, response_time - request_time)
    corrected_age = (_delta_seconds(_first(headers, "age")) or 0.0) + response_delay
    resident = max(0.0, now - response_time)
    return max(apparent_age, corrected_age) + resident


def remaining_seconds(entry: Entry, *, now: float, min_fresh_seconds: float) -> float:
    """Return for how many seconds from `now` the entry is fresh; 0 when it is stale. May be infinite."""
    policy = Policy(min_fresh_seconds=min_fresh_seconds)
    return max(0.0, _by_operator(entry, now=now, policy=policy), _by_origin(entry, now=now, policy=policy))


def stale_seconds(entry: Entry, *, now: float, min_fresh_seconds: float) -> float:
    """Return for how many seconds until `now` the entry has been stale (RFC 5861 §4); 0 while it is fresh."""
    policy = Policy(min_fresh_seconds=min_fresh_seconds)
    remaining = _by_origin(entry, now=now, policy=policy)
    if min_fresh_seconds > 0:
        remaining = max(remaining, _by_operator(entry, now=now, policy=policy))
    return max(0.0, -remaining)


def _by_operator(entry: Entry, *, now: float, policy: Policy) -> float:
    since = now - entry.validated_at
    if since < -CLOCK_TOLERANCE_SECONDS:
        return 0.0
    return policy.min_fresh_seconds - max(0.0, since)


def _by_origin(entry: Entry, *, now: float, policy: Policy) -> float:
    if now - entry.response_time < -CLOCK_TOLERANCE_SECONDS:
        return 0.0
    lifetime = freshness_lifetime(entry.headers, response_time=entry.response_time, policy=policy)
    times = {"request_time": entry.request_time, "response_time": entry.response_time}
    return lifetime - current_age(entry.headers, now=now, **times)


def _asks_each_time(headers: Headers, directives: Mapping[str, str | None]) -> bool:
    # §5.2.2.4, §5.2.2.7: the forms with field names speak of those fields only, and we pass none of them down.
    if "no-store" in directives or any(
        name in directives and not directives[name] for name in ("no-cache", "private")
    ):
        return True
    # §5.4: Pragma counts only where Cache-Control is absent.
    return not directives and "no-cache" in (_first(headers, "pragma") or "").lower()


def _heuristic(headers: Headers, *, date: float, policy: Policy) -> float:
    modified = parse_http_date(_first(headers, "last-modified"))
    if modified is None or modified >= date:
        return 0.0
    return min((date - modified) * policy.heuristic_fraction, policy.heuristic_max_seconds)


def _date(headers: Headers, *, response_time: float) -> float:
    # RFC 9110 §6.6.1: without a usable Date, the moment of arrival counts.
    date = parse_http_date(_first(headers, "date"))
    return response_time if date is None else date


def _first(headers: Headers, wanted: str) -> str | None:
    return next((value for name, value in headers if name == wanted), None)


def _delta_seconds(text: str | None) -> float | None:
    text = (text or "").strip()
    if not _NUMBER.match(text):
        return None
    # The length is looked at first: Python refuses to read numbers of more than 4,300 digits.
    return float(MAX_DELTA_SECONDS) if len(text) > 18 else float(min(int(text), MAX_DELTA_SECONDS))
