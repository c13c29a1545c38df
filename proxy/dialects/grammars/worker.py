"""Addresses of the CORS worker: `https://HOST/?URL` (Zibri/cloudflare-cors-anywhere). Pure.

The text after the first `?` is the source. If it begins with `http:` or `https:`, it is taken verbatim. The worker
itself decodes it twice, but that damages sources with escapes, and we found no article that needs it.

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
"""Public deployments that occur in articles."""


def is_worker(raw_query: str) -> bool:
    """Return whether a query has the worker's form: a source and nothing else."""
    return _BEGINS.match(raw_query) is not None


def parse(raw_query: str) -> Source:
    """Return the source in the raw query of `/?URL`.

    Raises:
        InvalidSource, SourceNotAllowed: the source is invalid or has another scheme.
    """
    return read_source(target(raw_query))


def target(raw_query: str) -> str:
    """Return the text of the source, decoded as often as it was escaped as a whole (at most twice)."""
    for _ in range(2):
        if not looks_encoded(raw_query):
            break
        raw_query = percent_decode(raw_query)
    return raw_query


def build(base_url: str, source: Source) -> str:
    """Write the address without any encoding, as users of the worker do."""
    return f"{base_url}/?{source.url}"


def unwrap(url: str) -> str | None:
    """Return the address inside the address of a known worker, or None when `url` is not such an address."""
    address = SplitAddress.parse(url)
    opened = open_address(address) if address else None
    return opened.target if opened else None


def open_address(address: SplitAddress) -> OpenedWrapper | None:
    """Open the address of a known worker; its path is ignored."""
    if address.host not in HOSTS or not is_worker(address.query):
        return None
    return OpenedWrapper(target(address.query))


def read(rest: str, site: str) -> OpenedWrapper | None:
    """Open the text after a worker's host; its path is ignored."""
    query = rest.partition("?")[2]
    return OpenedWrapper(target(query)) if is_worker(query) else None


def _build(mount: str, source: str, options: Options) -> str:
    written(options, {}, "worker")
    return f"{mount}/?{source}"


GRAMMAR = Grammar("worker", read, build=_build, pictures_only=False)


def looks_like_worker(url: str) -> bool:
    """Return whether `url` has the worker's form, but its host is not known as a worker."""
    address = SplitAddress.parse(url) if ".workers.dev" in url.lower() else None
    if address is None or address.host in HOSTS:
        return False
    return address.host.endswith(".workers.dev") and is_worker(address.query)
