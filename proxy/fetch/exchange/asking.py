"""What is sent to an origin: the address as it stands, our own headers, nothing of the client's. Pure.

Answers which headers a hop gets, by `fetch.profiles` and the profiles that are shipped. Refuses to know
connections and answers.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from multidict import CIMultiDict

from proxy.config import FetchConfig, ProfileConfig
from proxy.fetch.profiles import in_order
from proxy.patterns import Pattern
from proxy.source import Source

MAX_ORIGINS = 1_024
"""Origins whose profiles are remembered."""

_Profile = tuple[tuple[Pattern, ...], ProfileConfig]

LOOP_MARK = "imgmirror"
"""Our name in CDN-Loop (RFC 8586): a request that carries it came from one of us."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a kept original can be asked about (RFC 9110 §8.8), as the origin wrote it.

    They speak of one resource: `url` is the canonical address that gave them (after redirects); None means
    the source itself. Sent to another address, a 304 would vouch for other bytes.
    """

    etag: str | None = None
    last_modified: str | None = None
    url: str | None = None


class Asking:
    """The headers of requests under one configuration."""

    def __init__(self, config: FetchConfig, *, instance_id: str) -> None:
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
        """Return the same for addresses that somebody else chose: a profile may hold a secret of its host."""
        plain = copy.copy(self)
        plain._profiles, plain._at_origin = [], {}  # noqa: SLF001 - of this class
        return plain

    def headers(self, hop: Source, validators: Validators | None, *, cookies: str = "") -> CIMultiDict[str]:
        """Return the headers for `hop`; `validators` are those that speak of it, `cookies` those it has set."""
        headers = CIMultiDict(self._base)
        profile = self._profile(hop)
        if profile is not None:
            headers.update(_profile_headers(profile, hop))
        if cookies:
            # Behind the one that a profile may have.
            headers["Cookie"] = "; ".join(filter(None, (headers.get("Cookie"), cookies)))
        if validators is not None:
            headers.update(_conditions(validators))
        return headers

    def _profile(self, hop: Source) -> ProfileConfig | None:
        for patterns, profile in self._profiles_at(hop):
            if any(pattern.allows(hop) for pattern in patterns):
                return profile
        return None

    def _profiles_at(self, hop: Source) -> list[_Profile]:
        """Return the profiles with a pattern at the origin of `hop`; most origins have none."""
        found = self._at_origin.get(hop.origin)
        if found is None:
            found = [item for item in self._profiles if any(pattern.is_at(hop) for pattern in item[0])]
            if len(self._at_origin) >= MAX_ORIGINS:
                self._at_origin.clear()
            self._at_origin[hop.origin] = found
        return found


def _accept(types: tuple[str, ...]) -> str:
    # Some origins answer 406 to a narrow list; what may be kept is decided by the bytes anyway.
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
    # Both are sent (RFC 9110 §13.1.3); an origin that knows entity tags goes by them.
    pairs = {"If-None-Match": validators.etag, "If-Modified-Since": validators.last_modified}
    return {name: value for name, value in pairs.items() if value and value.isascii() and value.isprintable()}
