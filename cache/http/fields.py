"""Header fields of an origin's answer: which are kept with an original, and what a 304 changes (RFC 9111 §3). Pure.

An entry keeps every end-to-end field, as a record of the origin's answer. The web room decides which few are passed to
clients. Never kept:

    about one connection      Connection and what it lists, Keep-Alive, TE, Transfer-Encoding, Upgrade, Proxy-*
    about the bytes sent      Content-Encoding, Content-Length: the kept bytes are decoded, the entry has their size
    about one visitor         Set-Cookie: with a profile's login it may be a secret, and entries are files that travel
    unreadable                values with control characters
"""

from __future__ import annotations

from collections.abc import Iterable

Fields = tuple[tuple[str, str], ...]

MAX_BYTES = 8 * 1024
"""Limit on the names and values of one entry. Fields that freshness and validation need come first."""

NEEDED = frozenset(
    {
        "age", "cache-control", "cdn-cache-control", "content-language", "content-type", "date", "etag", "expires",
        "last-modified", "pragma", "vary",
    }
)  # fmt: skip

NEVER_KEPT = frozenset(
    {
        # RFC 9110 §7.6.1, RFC 9111 §3.1
        "connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
        "content-encoding", "content-length",
        "set-cookie", "set-cookie2",
    }
)  # fmt: skip

_CONTROLS = frozenset(map(chr, (*range(0x20), 0x7F))) - {"\t"}


def kept_fields(received: Iterable[tuple[str, str]]) -> Fields:
    """Return the fields of an answer to keep, sorted by name in lower case. Lines of one name keep their order.

    Beyond `MAX_BYTES`, fields that are not needed are dropped, the last ones first.
    """
    received = tuple(received)
    dropped = NEVER_KEPT | _listed_in_connection(received)
    fields = [item for item in received if item[0] not in dropped and _CONTROLS.isdisjoint(item[1])]
    # Stable: the needed ones first, each group as it came.
    fields.sort(key=lambda item: item[0] not in NEEDED)
    kept, room = [], MAX_BYTES
    for name, value in fields:
        room -= len(name) + len(value)
        if room < 0 and name not in NEEDED:
            break
        kept.append((name, value))
    return tuple(sorted(kept, key=lambda item: item[0]))


def merged_fields(kept: Fields, received: Iterable[tuple[str, str]]) -> Fields:
    """Return the fields of an entry after a 304 with the fields `received` (RFC 9111 §3.2, §4.3.4)."""
    new = kept_fields(received)
    replaced = {name for name, _ in new}
    # The age of the answer before is not the age of this one.
    replaced.add("age")
    return kept_fields((*new, *(item for item in kept if item[0] not in replaced)))


def _listed_in_connection(fields: Fields) -> frozenset[str]:
    lists = (value for name, value in fields if name == "connection")
    return frozenset(option.strip(" \t").lower() for value in lists for option in value.split(",")) - NEEDED
