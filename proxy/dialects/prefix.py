"""Wrappers that take everything after a prefix as the source: cors-anywhere and its kin. Pure.

The rest is taken verbatim, its query included; one that was escaped as a whole is decoded and ends at the query.
Only services that add a scheme themselves are given sources without one.

    good   http://h/a.png?x=1     ->  http://h/a.png?x=1
    good   h.org/a                 ->  http://h.org/a        (cors-anywhere)
    bad    about                   ->  None
"""

from __future__ import annotations

import re

from proxy.dialects.asked import Options
from proxy.dialects.grammar import Grammar, inside, written
from proxy.dialects.opened import ABSOLUTE, Opened

_BARE_HOST = re.compile(r"(?://)?(?P<host>[^/?#:]+\.[A-Za-z]{2,})(?P<port>:\d+)?(?:[/?#]|\Z)")


def read(rest: str, site: str) -> Opened | None:
    """Open a source with its scheme."""
    return Opened(inside(rest)) if ABSOLUTE.match(rest) else None


def read_adding_scheme(rest: str, site: str) -> Opened | None:
    """Open a source as cors-anywhere does: without a scheme http, https when the port is 443."""
    bare = None if ABSOLUTE.match(rest) else _BARE_HOST.match(rest)
    if bare is None:
        return read(rest, site)
    scheme = "https" if bare["port"] == ":443" else "http"
    return Opened(f"{scheme}://{rest.removeprefix('//')}")


def build(mount: str, source: str, options: Options) -> str:
    """Write the source behind the mount."""
    written(options, {}, "cors-anywhere")
    return f"{mount}/{source}"


PREFIX = Grammar("prefix", read, build=build)
CORS_ANYWHERE = Grammar("cors-anywhere", read_adding_scheme, build=build)
