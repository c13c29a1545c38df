"""Addresses of weserv: `https://wsrv.nl/?url=<source>&w=…` (weserv/images, docs/url-api.md). Pure.

The value of `url` is decoded once; `ssl:host` means https, no scheme means http. The server ends the value at
the first `&`, so an inner `&` that is not encoded was never part of the source: what follows it are weserv's
own options when it knows the name, and otherwise nobody can tell.

    good   //wsrv.nl/?url=ssl:h/a.png&w=300             ->  https://h/a.png, dropped: w
    good   images.weserv.nl/?url=h/a.png?v=4&h=64       ->  http://h/a.png?v=4, dropped: h
    bad    wsrv.nl/?url=http://h/a.php?id=1&file=2      ->  whose is `file`?
"""

from __future__ import annotations

import re

from proxy.dialects.address import Address
from proxy.dialects.opened import Opened, open_query
from proxy.source import looks_encoded

HOSTS = frozenset({"images.weserv.nl", "wsrv.nl", "www.wsrv.nl", "www.images.weserv.nl"})

OPTIONS = frozenset(
    """
    w h dpr fit cbg we a fpx fpy cx cy cw ch precrop crop trim tbg mask mtrim mbg flip flop ro rbg bg blur con
    filt start stop gam mod sat hue sharp sharpf sharpj tint bri output q l ll il af page n loop delay fsol
    maxage default filename encoding width height align level quality lossless pages shape strim or t
    errorredirect
    """.split()  # noqa: SIM905 - a list of sixty quoted names is not read by anybody
)
"""Names and synonyms (src/api/parsers/query.cpp)."""

_SCHEME = re.compile(r"https?:|[a-z][a-z0-9+.\-]*://", re.IGNORECASE)


def open_address(address: Address) -> Opened | None:
    """Open a weserv address.

    Raises:
        AmbiguousWrapper: keys that are not weserv's.
    """
    if address.host not in HOSTS or address.path != "/":
        return None
    opened = open_query(address.query, "url", known=OPTIONS)
    return Opened(with_scheme(opened.target), opened.dropped) if opened else None


def with_scheme(text: str) -> str:
    """Return the source with the scheme that weserv would fetch it by."""
    if _SCHEME.match(text) or looks_encoded(text):
        return text
    if text[:4].lower() == "ssl:":
        return "https://" + text[4:].lstrip("/")
    if text.startswith("//"):
        return "https:" + text
    return "http://" + text.lstrip("/")
