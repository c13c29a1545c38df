"""Wrappers that take everything after a prefix as the source: cors-anywhere and its kin. Pure.

The rest is taken verbatim, its query included; one that was escaped as a whole is decoded. Only services that
add a scheme themselves are given sources without one.

    good   https://crossorigin.me/http://h/a.png?x=1     ->  http://h/a.png?x=1
    good   https://cors-anywhere.herokuapp.com/h.org/a    ->  http://h.org/a
    bad    https://crossorigin.me/about                   ->  None
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.dialects.address import Address
from proxy.dialects.opened import Opened
from proxy.dialects.worker import is_worker, target

_BARE_HOST = re.compile(r"(?://)?(?P<host>[^/?#:]+\.[A-Za-z]{2,})(?P<port>:\d+)?(?:[/?#]|\Z)")


@dataclass(frozen=True, slots=True)
class PrefixWrapper:
    """One service: what its paths begin with, and whether it takes sources without a scheme."""

    path: str
    adds_scheme: bool = False


SERVICES = {
    "cors-anywhere.herokuapp.com": PrefixWrapper("/", adds_scheme=True),
    "thingproxy.freeboard.io": PrefixWrapper("/fetch/"),
    "yacdn.org": PrefixWrapper("/proxy/"),
    "crossorigin.me": PrefixWrapper("/"),
    "proxy.cors.sh": PrefixWrapper("/"),
    "corsproxy.io": PrefixWrapper("/"),
}


def open_address(address: Address) -> Opened | None:
    """Open the address of a known service."""
    service = SERVICES.get(address.host)
    if service is None:
        return None
    return open_rest(address, service.path, adds_scheme=service.adds_scheme)


def open_rest(address: Address, path: str, *, adds_scheme: bool = False) -> Opened | None:
    """Open an address whose path begins with `path` and goes on with a source."""
    whole = "/" + address.rest
    if not whole.startswith(path):
        return None
    rest = whole[len(path) :]
    if is_worker(rest):
        return Opened(target(rest))
    bare = _BARE_HOST.match(rest) if adds_scheme else None
    if bare is None:
        return None
    # Rob--W/cors-anywhere: http, but https when the port is 443.
    scheme = "https" if bare["port"] == ":443" else "http"
    return Opened(f"{scheme}://{rest.removeprefix('//')}")
