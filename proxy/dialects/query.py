"""Wrappers that carry the source in a query value: `https://HOST/PATH?url=<source>` (docs/url-api.md). Pure.

The value is percent-decoded once, as a query value is; `+` stays `+`. Keys that are not the wrapper's own
belong, as a rule, to a source that was not encoded: such an address is reported, not guessed at.

    good   https://api.allorigins.win/raw?url=http%3A%2F%2Fh%2Fa.png%3Fx%3D1%26y%3D2
    good   https://image.baidu.com/search/down?url=http://h/a.png
    bad    https://api.allorigins.win/raw?url=http://h/a.png?x=1&y=2       whose is y?
"""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.dialects.address import Address
from proxy.dialects.opened import Opened, open_query


@dataclass(frozen=True, slots=True)
class QueryWrapper:
    """One service: where it answers, the key of the source, and options of its own."""

    path: str
    key: str
    known: frozenset[str] = field(default_factory=frozenset)


_ALLORIGINS = frozenset({"callback", "charset", "disablecache", "cachemaxage"})
_BAIDU = frozenset({"tn", "word", "ie", "fr", "thumburl", "ipn"})
_WEBP_SE = frozenset({"width", "height", "w", "h", "q", "quality"})

SERVICES = {
    "api.allorigins.win": QueryWrapper("/raw", "url", _ALLORIGINS),
    "api.codetabs.com": QueryWrapper("/v1/proxy", "quest"),
    "cors-proxy.htmldriven.com": QueryWrapper("/", "url"),
    "corsproxy.io": QueryWrapper("/", "url", frozenset({"key"})),
    "image.baidu.com": QueryWrapper("/search/down", "url", _BAIDU),
    "fly.webp.se": QueryWrapper("/", "url", _WEBP_SE),
}


def open_address(address: Address) -> Opened | None:
    """Open the address of a known service.

    Raises:
        AmbiguousWrapper: keys that are not the service's.
    """
    service = SERVICES.get(address.host)
    if service is None or address.path.rstrip("/") != service.path.rstrip("/"):
        return None
    return open_query(address.query, service.key, known=service.known)
