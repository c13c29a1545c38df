"""Parses wrappers that take everything after a prefix as the source, such as cors-anywhere. Pure.

The source is taken verbatim, including its query. If it was escaped as a whole, it is decoded and ends at the query. A
source without a scheme is accepted only for services that add one themselves.

    good   http://h/a.png?x=1     ->  http://h/a.png?x=1
    good   h.org/a                 ->  http://h.org/a        (cors-anywhere)
    bad    about                   ->  None
"""

from __future__ import annotations

import re

from proxy.dialects.base.asked import Options
from proxy.dialects.base.grammar import Grammar, inside, written
from proxy.dialects.base.opened import ABSOLUTE, OpenedWrapper
from proxy.dialects.base.serving import Served
from proxy.errors import InvalidSource

_BARE_HOST = re.compile(r"(?://)?(?P<host>[^/?#:]+\.[A-Za-z]{2,})(?P<port>:\d+)?(?:[/?#]|\Z)")

_SERVED_HOST = re.compile(
    r"/{0,2}(?P<host>[^/?#:@]+\.(?:[A-Za-z]{2,}|xn--[A-Za-z0-9-]+)\.?|[0-9]{1,3}(?:\.[0-9]{1,3}){3})"
    r"(?P<port>:\d+)?(?:[/?#]|\Z)"
)


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open a source with its scheme."""
    return OpenedWrapper(inside(rest)) if ABSOLUTE.match(rest) else None


def read_adding_scheme(rest: str, site: str) -> OpenedWrapper | None:
    """Open a source as cors-anywhere does: the default scheme is http, or https for port 443."""
    bare = None if ABSOLUTE.match(rest) else _BARE_HOST.match(rest)
    if bare is None:
        return read(rest, site)
    scheme = "https" if bare["port"] == ":443" else "http"
    return OpenedWrapper(f"{scheme}://{rest.removeprefix('//')}")


def serve(rest: str) -> Served:
    """Read the text after cors-anywhere's slash, including the query."""
    if ABSOLUTE.match(rest):
        return Served(inside(rest))
    bare = _SERVED_HOST.match(rest)
    if bare is None:
        raise InvalidSource("Write the address of the picture after the slash: /cors/https://h.org/a.png")
    return Served(f"{'https' if bare['port'] == ':443' else 'http'}://{rest.lstrip('/')}")


def build(mount: str, source: str, options: Options) -> str:
    """Return the address with the source after the mount."""
    written(options, {}, "cors-anywhere")
    return f"{mount}/{source}"


PREFIX = Grammar("prefix", read, build=build, pictures_only=False)
CORS_ANYWHERE = Grammar(
    "cors-anywhere", read_adding_scheme, build=build, serve=serve, mount="/cors/", pictures_only=False
)
