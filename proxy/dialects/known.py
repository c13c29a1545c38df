"""Identifies the grammar of an address by its host, or by a form that cannot mean anything else. Pure.

good   https://i0.wp.com/…                        photon, by its host
good   https://any.example/_next/image?url=…      next, by its form
bad    https://any.example/?url=…                 nothing shows that this is weserv
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from proxy.dialects import prefix, services
from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.grammar import Grammar
from proxy.dialects.base.opened import OpenedWrapper
from proxy.dialects.base.trace import Trace, trace_of
from proxy.dialects.grammars import (
    camo,
    cloudflare,
    encoded,
    framework,
    imageproxy,
    imgproxy,
    ipx,
    thumbor,
    worker,
)
from proxy.dialects.grammars.hosted import cloudinary, photon, statically, weserv

Opener = Callable[[SplitAddress], OpenedWrapper | None]
Named = tuple[str, Opener]

GRAMMARS: dict[str, Grammar] = {
    grammar.name: grammar
    for grammar in (
        worker.GRAMMAR,
        prefix.PREFIX,
        prefix.CORS_ANYWHERE,
        weserv.GRAMMAR,
        imgproxy.GRAMMAR,
        thumbor.THUMBOR,
        thumbor.IMAGOR,
        cloudflare.GRAMMAR,
        imageproxy.GRAMMAR,
        photon.GRAMMAR,
        camo.GRAMMAR,
        framework.NEXT,
        framework.VERCEL,
        framework.NETLIFY,
        framework.ASTRO,
        ipx.GRAMMAR,
        encoded.MINIFLUX,
        encoded.IMAGEFLOW,
        encoded.HIVE,
        cloudinary.GRAMMAR,
        statically.GRAMMAR,
    )
}
"""Every grammar by name. These are the dialects that `rewrite.wrappers` can name."""


@dataclass(frozen=True, slots=True)
class _Hosted:
    """A grammar at public hosts, behind a path."""

    grammar: Grammar
    hosts: tuple[str, ...]
    path: re.Pattern[str]

    def open_address(self, address: SplitAddress) -> OpenedWrapper | None:
        whole = "/" + address.rest
        match = self.path.match(whole)
        return self.grammar.read(whole[match.end() :], address.site) if match else None


_HOSTED = (
    _Hosted(weserv.GRAMMAR, weserv.HOSTS, re.compile("/")),
    _Hosted(photon.GRAMMAR, photon.HOSTS, re.compile("/")),
    _Hosted(camo.GRAMMAR, camo.HOSTS, re.compile("/")),
    _Hosted(statically.GRAMMAR, statically.HOSTS, re.compile("/img/")),
    _Hosted(cloudinary.GRAMMAR, ("res.cloudinary.com",), re.compile("/[^/]+/image/fetch/")),
    _Hosted(cloudinary.GRAMMAR, ("substackcdn.com", "cdn.substack.com"), re.compile("/image/fetch/")),
    _Hosted(encoded.HIVE, services.HIVE_HOSTS, re.compile("/p/")),
    _Hosted(cloudflare.GRAMMAR, ("media*.dev.to",), re.compile("/dynamic/image/")),
)

_FORM = re.compile(
    r"(?:/[\w.~-]{1,60}){0,3}?"
    r"(?:(?P<cloudflare>/cdn-cgi/image/)|(?P<ipx>/_ipx/)|(?P<thumbor>/unsafe/)"
    r"|(?P<framework>/_next/image|/_vercel/image|/\.netlify/images|/_image)/?(?=\?))"
)
_HINT = re.compile(r"/(?:_|cdn-cgi/|unsafe/|\.netlify/)")
"""Text that every such form contains. Searching for it is quick, and most addresses lack it."""
_SIGNED_FORM = re.compile(
    r"(?:/[\w.~-]{1,60}){0,2}?(?=/[\w=-]{1,90}/(?:[a-z_-]{1,40}(?::|%3A)[^/]*+/)*+plain/https?(?::|%3A))",
    re.IGNORECASE,
)
"""imgproxy's form: a signature, options, `plain` and an absolute source."""


def open_form(address: SplitAddress) -> tuple[str, OpenedWrapper] | None:
    """Open an address at any host that is identified by its form; also return the grammar's name."""
    whole = "/" + address.rest
    match = _FORM.match(whole) if _HINT.search(whole) else None
    if match is not None:
        grammar = _grammar_of(match, whole)
        if grammar is not None:
            behind = whole[match.end() - (len("unsafe/") if match["thumbor"] else 0) :]
            opened = grammar.read(behind, address.site)
            return (grammar.name, opened) if opened else None
    match = _SIGNED_FORM.match(whole) if "/plain/" in whole.lower() else None
    if match is None:
        return None
    opened = imgproxy.read(whole[match.end() + 1 :], address.site)
    return ("imgproxy", opened) if opened else None


def _grammar_of(match: re.Match[str], whole: str) -> Grammar | None:
    if match["cloudflare"]:
        return cloudflare.GRAMMAR
    if match["ipx"]:
        return ipx.GRAMMAR
    if match["framework"]:
        return framework.BY_MOUNT[match["framework"]]
    return thumbor.THUMBOR if thumbor.is_form(whole[match.end() :]) else None


@cache
def traces() -> tuple[Trace, ...]:
    """Return the traces of all known hosts; a text that contains none has no address at a known host."""
    found = [Trace(host) for host in sorted(worker.HOSTS)]
    found += [trace_of(host, hosted.path.pattern) for hosted in _HOSTED for host in hosted.hosts]
    found += [trace_of(host, service.path) for service in services.shipped() for host in service.hosts]
    return tuple(dict.fromkeys(found))


FORM_TRACES = (
    *(mount.strip("/") + end for mount in framework.BY_MOUNT for end in ("?", "/?")),
    "cdn-cgi/image/",
    "_ipx/",
    "unsafe/",
    "plain/http",
)
"""Texts of which every address identified by its form contains one, in lower case."""


@cache
def _by_host() -> tuple[dict[str, list[Named]], list[tuple[re.Pattern[str], Named]]]:
    exact: dict[str, list[Named]] = {}
    patterns: list[tuple[re.Pattern[str], Named]] = []
    for hosts, named in _openers():
        for host in hosts:
            if services.is_pattern(host):
                patterns.append((services.host_pattern(host), named))
            else:
                exact.setdefault(host, []).append(named)
    return exact, patterns


def _openers() -> Iterator[tuple[tuple[str, ...], Named]]:
    yield tuple(sorted(worker.HOSTS)), ("worker", worker.open_address)
    for hosted in _HOSTED:
        yield hosted.hosts, (hosted.grammar.name, hosted.open_address)
    for service in services.shipped():
        yield service.hosts, (service.name, service.open_address)


@cache
def _any_pattern() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _by_host()[1]))


@lru_cache(maxsize=1024)
def openers_of(host: str) -> tuple[Named, ...]:
    """Return the openers for addresses at `host`, with their names."""
    exact, patterns = _by_host()
    found = exact.get(host, [])
    if _any_pattern().fullmatch(host):
        found = [*found, *(named for pattern, named in patterns if pattern.fullmatch(host))]
    return tuple(found)
