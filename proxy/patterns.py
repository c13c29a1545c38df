"""Patterns of sources, as `sources.allow` and `sources.deny` write them. Pure.

A pattern is a host (`example.com`: any scheme and port), `*.example.com` (every name below it, but not `example.com`)
or a URL prefix (`https://example.com/pictures/`, `http://example.com:8080`). Hosts are parsed as in sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from proxy.errors import MirrorError
from proxy.source import Source

_URL = re.compile(r"https?:", re.IGNORECASE)
_HOST = re.compile(r"\[[^\]\s]*\]|[^\s/\\?#@*:]*[^\s/\\?#@*:.]\.?")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9\-._~]")
_SLASH = re.compile(rb"[/\\]")
_SLASHES = re.compile(rb"[/\\]+")
_PARAMETERS = re.compile(rb";[^/\\]*")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One parsed entry of `sources.allow` or `sources.deny`.

    `scheme` and `port` are None for host patterns: they match on every port of either scheme.
    """

    text: str
    hostname: str
    below: bool = False
    scheme: str | None = None
    port: int | None = None
    path: str = "/"

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Parse one entry of `sources.allow` or `sources.deny`.

        Raises:
            ValueError: `text` is not a pattern; the message is a sentence for the operator.
        """
        if _URL.match(text):
            return _parse_prefix(text)
        return _parse_host(text)

    def allows(self, source: Source) -> bool:
        """Return whether `source` lies under the pattern in every way an origin may read its path."""
        return self.is_at(source) and all(self._matches_path(source))

    def denies(self, source: Source) -> bool:
        """Return whether `source` lies under the pattern in any way an origin may read its path."""
        return self.is_at(source) and any(self._matches_path(source))

    def is_at(self, source: Source) -> bool:
        """Return whether the pattern belongs to the origin of `source`, regardless of the path."""
        if self.scheme is not None and (self.scheme, self.port) != (source.scheme, source.port):
            return False
        if self.below:
            return source.hostname.endswith("." + self.hostname)
        return source.hostname == self.hostname

    def _matches_path(self, source: Source) -> Iterator[bool]:
        path = source.target.partition("?")[0]
        for read, rule in zip(_readings(path), _readings(self.path), strict=True):
            yield read.startswith(rule)


def pattern_problem(pattern: str) -> str | None:
    """Return what is wrong with an entry of `sources.allow` or `sources.deny`, or None."""
    try:
        Pattern.parse(pattern)
    except ValueError as error:
        return str(error)
    return None


def _parse_prefix(text: str) -> Pattern:
    try:
        source = Source.parse(text)
    except MirrorError as error:
        raise ValueError(f"{text!r}: {error.message}") from error
    if "#" in text or "?" in text:
        raise ValueError(f"{text!r}: a URL prefix must not have a query or fragment")
    if "*" in source.host:
        raise ValueError(f"{text!r}: a URL prefix must not have a wildcard in its host")
    path = source.target
    if not path.endswith("/"):
        raise ValueError(f"{text!r}: a URL prefix must end in '/'")
    return Pattern(text, source.hostname, scheme=source.scheme, port=source.port, path=path)


def _parse_host(text: str) -> Pattern:
    below = text.startswith("*.")
    name = text[2:] if below else text
    if not _HOST.fullmatch(name):
        raise ValueError(f"{text!r} is not a host, '*.host' or a URL prefix such as https://host/folder/")
    try:
        source = Source.parse(f"http://{name}/")
    except MirrorError as error:
        raise ValueError(f"{text!r}: {error.message}") from error
    if below and _is_address(source):
        raise ValueError(f"{text!r}: an IP address has no subdomains")
    return Pattern(text, source.hostname, below=below)


def _is_address(source: Source) -> bool:
    # WHATWG URL §4.1: a host whose last label is numeric is an IPv4 address, or no host at all.
    return ":" in source.hostname or source.hostname.rpartition(".")[2].isdigit()


def _readings(path: str) -> Iterator[bytes]:
    """Yield the ways in which common servers interpret a path, in a fixed order.

    Some servers decode it before they look for slashes and dots. A server behind another one decodes it twice. Some
    merge slashes. Servlet containers remove path parameters (`;a=b`) from every segment before they decode it and
    resolve `..`. So `/b/..;/a/x`, `/b/..%2Fa/x`, `/b//..%5Ca/x` and `/a;x/x` all mean `/a/x` to some server.
    """
    raw = path.encode()
    yield _ESCAPE.sub(_tidy_escape, path).encode()
    once = unquote_to_bytes(raw)
    twice = unquote_to_bytes(once)
    for read in (once, unquote_to_bytes(_bare(raw)), _bare(once), twice, _bare(twice)):
        yield _resolved(_SLASHES.split(read))
        yield _resolved(_SLASH.split(read))


def _tidy_escape(match: re.Match[str]) -> str:
    """Decode an escaped unreserved character; write any other escape in capitals (RFC 3986 §6.2.2)."""
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()


def _bare(path: bytes) -> bytes:
    return _PARAMETERS.sub(b"", path)


def _resolved(segments: list[bytes]) -> bytes:
    kept: list[bytes] = []
    for segment in segments[1:]:
        if segment == b"..":
            del kept[-1:]
        elif segment != b".":
            kept.append(segment)
    return b"/" + b"/".join(kept)
