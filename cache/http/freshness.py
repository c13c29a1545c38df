"""Freshness: RFC 9111 §4.2 as functions of kept headers and times. Pure.

Computes how long an original may be served without asking its origin again. It does not decide whether an original may
be kept, because a mirror keeps originals permanently. The directives have these meanings:

    s-maxage, max-age, Expires, heuristic   the lifetime, in this order (§4.2.1); ours is a shared cache
    no-cache, no-store, private             lifetime 0: kept, but revalidated each time (unless `min_fresh` is set)
    no-store with must-understand           no-store does not count: the statuses we keep are understood (§5.2.2.3)
    stale-while-revalidate                  for this time after, answered at once and refreshed afterwards (RFC 5861 §3)
    must-revalidate, proxy-revalidate       no stale-while-revalidate; no effect on stale-if-error, because a kept
                                            original wins over a failed refresh
    immutable, public, stale-if-error       no effect: a fresh answer is never revalidated, and the operator decides how
                                            long a kept original wins
    Vary: *                                 lifetime 0: the answer depends on unknown conditions (§4.1)
    Vary with names                         no effect: we always send every origin the same fields

A valid `CDN-Cache-Control` replaces Cache-Control, Expires and Pragma (RFC 9213). The operator's `min_fresh_seconds`
overrides all of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import http_sf

from cache.base.entry import Entry
from cache.http.httpdate import parse_http_date

Headers = Iterable[tuple[str, str]]

HEURISTIC_FRACTION = 0.1
"""RFC 9111 §4.2.2 suggests 10 % of the time since the last modification."""

HEURISTIC_MAX_SECONDS = 7 * 86400.0
"""Upper bound on heuristic freshness, so that an old picture is not fresh for years without the origin saying so."""

CLOCK_TOLERANCE_SECONDS = 60.0
"""An answer from further in the future was received with a wrong clock. It counts as stale, not as fresh forever."""

HEURISTICALLY_CACHEABLE = frozenset({200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501})
"""RFC 9110 §15.1, without 206."""

_NEVER_REUSED = frozenset({206, 304})
"""206 and 304: a part of an answer, and an answer to a condition. Neither is a complete answer."""

_UNDERSTOOD = frozenset(map(int, HTTPStatus))
"""Statuses of IANA's registry, for must-understand (§5.2.2.3)."""

MAX_DELTA_SECONDS = 1 << 31
"""RFC 9111 §1.2.2: a larger number counts as this one."""

_DIRECTIVE = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?')
_NUMBER = re.compile(r"[0-9]+\Z", re.ASCII)
_LIFETIMES = frozenset({"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error"})
_NEVER_STALE = frozenset({"must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"})


@dataclass(frozen=True, slots=True)
class FreshnessRules:
    """The operator's settings for freshness."""

    min_fresh_seconds: float = 0.0
    heuristic_fraction: float = HEURISTIC_FRACTION
    heuristic_max_seconds: float = HEURISTIC_MAX_SECONDS


def cache_control(headers: Headers) -> Mapping[str, str | None]:
    """Return the directives of all `Cache-Control` lines, names in lower case; the first of a name counts."""
    headers = tuple(headers)
    targeted = _cdn_cache_control(headers)
    if targeted is not None:
        return targeted
    found: dict[str, str | None] = {}
    for name, value in headers:
        if name == "cache-control":
            for match in _DIRECTIVE.finditer(value):
                argument = match[2] if match[2] is not None else match[3]
                found.setdefault(match[1].lower(), argument)
    return found


def freshness_lifetime(
    headers: Headers, *, response_time: float, policy: FreshnessRules | None = None
) -> float:
    """Return for how many seconds after its generation the answer is fresh (§4.2.1)."""
    headers = tuple(headers)
    directives = cache_control(headers)
    if _asks_each_time(headers, directives) or _varies_unknowably(headers):
        return 0.0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            # §4.2.1: invalid freshness information counts as stale.
            return _delta_seconds(directives[name]) or 0.0
    date = _date(headers, response_time=response_time)
    expires = [value for name, value in headers if name == "expires"]
    if expires and _cdn_cache_control(headers) is None:
        # §5.3: an invalid date, "0" above all, lies in the past; so do several that are not the same (§4.2.1).
        moment = parse_http_date(expires[0]) if len(set(expires)) == 1 else None
        return 0.0 if moment is None else max(0.0, moment - date)
    return _heuristic(headers, date=date, policy=policy or FreshnessRules())


def current_age(headers: Headers, *, request_time: float, response_time: float, now: float) -> float:
    """Return how many seconds ago the origin made or confirmed the answer (§4.2.3)."""
    headers = tuple(headers)
    apparent_age = max(0.0, response_time - _date(headers, response_time=response_time))
    response_delay = max(0.0, response_time - request_time)
    # §5.1: the first member of a list or of several lines counts; a value that is not a number is ignored.
    age_value = _delta_seconds((_first(headers, "age") or "").split(",")[0]) or 0.0
    corrected_age = age_value + response_delay
    resident = max(0.0, now - response_time)
    return max(apparent_age, corrected_age) + resident


def remaining_seconds(entry: Entry, *, now: float, min_fresh_seconds: float) -> float:
    """Return for how many seconds from `now` the entry is fresh; 0 when it is stale. May be infinite."""
    policy = FreshnessRules(min_fresh_seconds=min_fresh_seconds)
    return max(0.0, _by_operator(entry, now=now, policy=policy), _by_origin(entry, now=now, policy=policy))


def stale_seconds(entry: Entry, *, now: float, min_fresh_seconds: float) -> float:
    """Return for how many seconds until `now` the entry has been stale (RFC 5861 §4); 0 while it is fresh."""
    policy = FreshnessRules(min_fresh_seconds=min_fresh_seconds)
    remaining = _by_origin(entry, now=now, policy=policy)
    if min_fresh_seconds > 0:
        remaining = max(remaining, _by_operator(entry, now=now, policy=policy))
    return max(0.0, -remaining)


def reusable_seconds(
    headers: Headers, *, status: int, request_time: float, response_time: float, now: float
) -> float:
    """Return for how many seconds from `now` an answer with another status than 200 may be given again (§3, §4.2).

    Without explicit freshness only statuses that are heuristically cacheable, or an answer called public, have any.
    """
    headers = tuple(headers)
    directives = cache_control(headers)
    if kept_against_wish(headers) or not (200 <= status < 600) or status in _NEVER_REUSED:
        return 0.0
    if status not in _UNDERSTOOD and "must-understand" in directives:
        return 0.0
    explicit = (
        not directives.keys().isdisjoint({"max-age", "s-maxage"}) or _first(headers, "expires") is not None
    )
    if not (explicit or status in HEURISTICALLY_CACHEABLE or "public" in directives):
        return 0.0
    age = current_age(headers, request_time=request_time, response_time=response_time, now=now)
    return max(0.0, freshness_lifetime(headers, response_time=response_time) - age)


def may_refresh_behind(entry: Entry, *, now: float, min_fresh_seconds: float) -> bool:
    """Return whether a stale entry may be answered while it is refreshed (RFC 5861 §3, stale-while-revalidate)."""
    directives = cache_control(entry.headers)
    window = _delta_seconds(directives.get("stale-while-revalidate")) or 0.0
    # RFC 9111 §4.2.4: not where a directive prohibits stale answers; s-maxage implies proxy-revalidate (§5.2.2.10).
    if not window or not directives.keys().isdisjoint(_NEVER_STALE):
        return False
    return stale_seconds(entry, now=now, min_fresh_seconds=min_fresh_seconds) < window


def kept_against_wish(headers: Headers) -> str:
    """Return the directive by which the origin asked shared caches not to keep the answer; empty when it did not.

    A mirror keeps the answer nevertheless, because that is its purpose. It says so in `Cache-Status`.
    """
    directives = cache_control(headers)
    if "no-store" in directives and "must-understand" not in directives:
        return "no-store"
    return "private" if "private" in directives and not directives["private"] else ""


def _by_operator(entry: Entry, *, now: float, policy: FreshnessRules) -> float:
    since = now - entry.validated_at
    if since < -CLOCK_TOLERANCE_SECONDS:
        return 0.0
    return policy.min_fresh_seconds - max(0.0, since)


def _by_origin(entry: Entry, *, now: float, policy: FreshnessRules) -> float:
    if now - entry.response_time < -CLOCK_TOLERANCE_SECONDS:
        return 0.0
    lifetime = freshness_lifetime(entry.headers, response_time=entry.response_time, policy=policy)
    times = {"request_time": entry.request_time, "response_time": entry.response_time}
    return lifetime - current_age(entry.headers, now=now, **times)


def _asks_each_time(headers: Headers, directives: Mapping[str, str | None]) -> bool:
    # §5.2.2.4, §5.2.2.7: the forms with field names speak of those fields only, and we pass none of them down.
    if kept_against_wish(headers) or ("no-cache" in directives and not directives["no-cache"]):
        return True
    # §5.4: Pragma counts only where Cache-Control is absent.
    return not directives and "no-cache" in (_first(headers, "pragma") or "").lower()


def _varies_unknowably(headers: Headers) -> bool:
    listed = ",".join(value for name, value in headers if name == "vary")
    return "*" in (member.strip(" \t") for member in listed.split(","))


def _cdn_cache_control(headers: Headers) -> Mapping[str, str | None] | None:
    """Return the directives of `CDN-Cache-Control`; None when there is none that is valid (RFC 9213 §2.1)."""
    lines = [value for name, value in headers if name == "cdn-cache-control"]
    if not lines:
        return None
    try:
        text = ",".join(lines).encode("latin-1")
        members = cast("Mapping[str, object]", http_sf.parse(text, tltype="dictionary"))
    except ValueError:
        return None
    found = {name: _argument(member) for name, member in members.items()}
    # "caches MUST ignore" directives with the wrong type: a lifetime is a whole number.
    return {
        name: argument
        for name, argument in found.items()
        if name not in _LIFETIMES or (argument and _NUMBER.match(argument))
    } or None


def _argument(member: object) -> str | None:
    value = member[0] if isinstance(member, tuple) else member
    return None if value is True else repr(value) if isinstance(value, str) else str(value)


def _heuristic(headers: Headers, *, date: float, policy: FreshnessRules) -> float:
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
