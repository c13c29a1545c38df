"""Builds requests to an origin: the unchanged address, our own headers, nothing from the client. Pure, but for a trace.

Chooses the headers of a hop by `fetch.profiles` and the shipped profiles. Knows nothing of connections and answers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from multidict import CIMultiDict

from proxy.config import FetchConfig, ProfileConfig
from proxy.fetch.profiles import in_order
from proxy.patterns import Pattern
from proxy.source import Source

MAX_ORIGINS = 1_024
"""The most origins whose profiles are remembered."""

_Profile = tuple[tuple[Pattern, ...], ProfileConfig]

LOOP_MARK = "imgmirror"
"""Our name in CDN-Loop (RFC 8586). A request that carries it came from an imgmirror service."""


@dataclass(frozen=True, slots=True)
class Validators:
    """The validators of a kept original (RFC 9110 §8.8), as the origin wrote them.

    They belong to one resource. `url` is the canonical address that returned them (after redirects); None means the
    source itself. If they were sent to another address, its 304 would confirm different bytes.
    """

    etag: str | None = None
    last_modified: str | None = None
    url: str | None = None


class Asking:
    """The headers of requests under one configuration. trace: returns those that name the present trace, if any."""

    def __init__(
        self, config: FetchConfig, *, instance_id: str, trace: Callable[[], Mapping[str, str]] | None = None
    ) -> None:
        self._trace = trace
        self._base = (
            ("User-Agent", config.user_agent),
            ("Accept", _accept(config.types)),
            ("Accept-Encoding", "identity"),
            ("Via", f"1.1 {instance_id}"),
            ("CDN-Loop", LOOP_MARK),
        )
        self._profiles: list[_Profile] = [
            (tuple(Pattern.parse(text) for text in profile.hosts), profile)
            for profile in in_order(config.profiles)
        ]
        self._at_origin: dict[str, list[_Profile]] = {}

    def without_profiles(self) -> Asking:
        """Return a copy for addresses that someone else chose: a profile may hold a secret of its host."""
        plain = copy.copy(self)
        plain._profiles, plain._at_origin = [], {}  # noqa: SLF001 - of this class
        return plain

    def headers(self, hop: Source, validators: Validators | None, *, cookies: str = "") -> CIMultiDict[str]:
        """Return the headers for `hop`. `validators` are those of this address, and `cookies` those that it has set."""
        headers = CIMultiDict(self._base)
        profile = self._profile(hop)
        if profile is not None:
            headers.update(_profile_headers(profile, hop))
        if cookies:
            # They follow any cookies of the profile.
            headers["Cookie"] = "; ".join(filter(None, (headers.get("Cookie"), cookies)))
        if validators is not None:
            headers.update(_conditions(validators))
        if self._trace is not None:
            headers.update(self._trace())
        return headers

    def _profile(self, hop: Source) -> ProfileConfig | None:
        for patterns, profile in self._profiles_at(hop):
            if any(pattern.allows(hop) for pattern in patterns):
                return profile
        return None

    def _profiles_at(self, hop: Source) -> list[_Profile]:
        """Return the profiles with a pattern for the origin of `hop`. Most origins have none."""
        found = self._at_origin.get(hop.origin)
        if found is None:
            found = [item for item in self._profiles if any(pattern.is_at(hop) for pattern in item[0])]
            if len(self._at_origin) >= MAX_ORIGINS:
                self._at_origin.clear()
            self._at_origin[hop.origin] = found
        return found


def _accept(types: tuple[str, ...]) -> str:
    # Some origins answer 406 to a narrow list. The bytes decide anyway what may be kept.
    return ", ".join(types if "*/*" in types else (*types, "*/*;q=0.1"))


def _profile_headers(profile: ProfileConfig, hop: Source) -> dict[str, str]:
    headers = dict(profile.headers)
    if profile.user_agent:
        headers["User-Agent"] = profile.user_agent
    if profile.referer == "own":
        headers["Referer"] = hop.origin + "/"
    elif profile.referer not in {"", "none"}:
        headers["Referer"] = profile.referer
    return headers


def _conditions(validators: Validators) -> dict[str, str]:
    # Send both (RFC 9110 §13.1.3). An origin that knows entity tags uses these.
    pairs = {"If-None-Match": validators.etag, "If-Modified-Since": validators.last_modified}
    return {name: value for name, value in pairs.items() if value and value.isascii() and value.isprintable()}
