"""The CORS worker's addresses: `https://HOST/?URL` (Zibri/cloudflare-cors-anywhere). Pure.

Text after the first `?` is the source, taken verbatim when it begins with `http:` or `https:`: the worker
decodes twice, which damages sources that carry escapes, and no article was found that needs it.

    good   http://h/a.png?x=1&y=2       ->  http://h/a.png?x=1&y=2
    good   http%3A%2F%2Fh%2Fa.png        ->  http://h/a.png            (decoded once; twice for %253A)
    bad    h/a.png                       ->  InvalidSource             (no scheme is ever added)
    bad    url=http://h/a.png            ->  weserv's, not the worker's
"""

from __future__ import annotations

import re

from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.asked import Options
from proxy.dialects.base.escapes import percent_decode, read_source
from proxy.dialects.base.grammar import Grammar, written
from proxy.dialects.base.opened import OpenedWrapper
from proxy.source import Source, looks_encoded

_BEGINS = re.compile(r"https?(?::|%(?:25)?3A)", re.IGNORECASE)

HOSTS = frozenset(
    {
        "cors.zfour.workers.dev",
        "test.cors.workers.dev",
        "cors-proxy.seckinturkmen.workers.dev",
        "corsproxy.io",
        "cors.io",
    }
)
"""Public deployments found in articles."""


def is_worker(raw_query: str) -> bool:
    """Tell whether a query is the worker's: a source and nothing else."""
    return _BEGINS.match(raw_query) is not None


def parse(raw_query: str) -> Source:
    """Return the source that the raw query of `/?URL` names.

    Raises:
        InvalidSource, SourceNotAllowed: not one that can be served.
    """
    return read_source(target(raw_query))


def target(raw_query: str) -> str:
    """Return the text of the source, decoded as often as it was escaped as a whole: never, once or twice."""
    for _ in range(2):
        if not looks_encoded(raw_query):
            break
        raw_query = percent_decode(raw_query)
    return raw_query


def build(base_url: str, source: Source) -> str:
    """Write the address as the worker's users do: nothing encoded."""
    return f"{base_url}/?{source.url}"


def unwrap(url: str) -> str | None:
    """Return the address that a known worker's address carries, or None when it is no such address."""
    address = SplitAddress.parse(url)
    opened = open_address(address) if address else None
    return opened.target if opened else None


def open_address(address: SplitAddress) -> OpenedWrapper | None:
    """Open the address of a known worker; its path is ignored."""
    if address.host not in HOSTS or not is_worker(address.query):
        return None
    return OpenedWrapper(target(address.query))


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open what stands behind a worker's host; its path is ignored."""
    query = rest.partition("?")[2]
    return OpenedWrapper(target(query)) if is_worker(query) else None


def _build(mount: str, source: str, options: Options) -> str:
    written(options, {}, "worker")
    return f"{mount}/?{source}"


GRAMMAR = Grammar("worker", read, build=_build, pictures_only=False)


def looks_like_worker(url: str) -> bool:
    """Tell whether `url` has a worker's form on a host that nobody has named as one."""
    address = SplitAddress.parse(url) if ".workers.dev" in url.lower() else None
    if address is None or address.host in HOSTS:
        return False
    return address.host.endswith(".workers.dev") and is_worker(address.query)
