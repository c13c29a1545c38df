"""Sources: canonical URLs of remote pictures. Pure; runs anywhere.

Encoding contract: the input is text from the wire or from an article, not decoded before. It may hold any character
(non-ASCII is encoded as UTF-8; surrogate escapes as the bytes they stand for). The output is printable ASCII, without
`" < > ^ { | }` and backtick in path and query. Escapes are never decoded, because `%CD%BC` (GBK) has no other spelling.

    good   HTTP://例え.jp:80/a b.png#x   ->  http://xn--r8jz45g.jp/a%20b.png
    good   http:/h/%CD%BC.png?u=%2F       ->  http://h/%CD%BC.png?u=%2F     (one slash is repaired)
    bad    http://user@h/a.png            ->  InvalidSource (userinfo)
    bad    ftp://h/a.png                  ->  SourceNotAllowed (scheme)

The host is read by the WHATWG rules (library ada-url): IDNA, percent-escapes, numeric and hexadecimal IPv4.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

import ada_url

from proxy.errors import InvalidSource, SourceNotAllowed

MAX_URL_LENGTH = 8192
"""Longest canonical URL. Servers and browsers stop between 2 and 64 KiB; nginx reads 8 KiB by default."""

MAX_REMEMBERED_LENGTH = 1024
MAX_REMEMBERED_HOST = 253

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_HTTP = re.compile(r"(https?):[/\\]*", re.IGNORECASE)
_ENCODED_HTTP = re.compile(r"https?%(25)?3A", re.IGNORECASE)
_PORT = re.compile(r":([0-9]*)\Z")
# Controls, spaces, bytes above 0x7F, and what Caddy and others escape before they hand an address on.
_TO_ESCAPE = re.compile(r'[^\x21-\x7e]|["<>^`{|}]')
_PLAIN = frozenset(chr(byte) for byte in range(0x80) if not _TO_ESCAPE.match(chr(byte)))
_FORBIDDEN_AROUND = "".join(map(chr, range(0x21)))
_SINGLE_DOT = {".", "%2e"}
_DOUBLE_DOT = {"..", ".%2e", "%2e.", "%2e%2e"}


@dataclass(frozen=True, slots=True)
class Source:
    """The address of a remote picture.

    `url` is canonical; two sources are the same picture exactly when their URLs are equal.
    `host` is lower-case ASCII, IPv6 in brackets; `port` is the effective port.
    """

    url: str
    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str | bytes) -> Source:
        """Parse `text` and return its source.

        Raises:
            InvalidSource: invalid host or port, userinfo, no scheme, or too long.
            SourceNotAllowed: a scheme other than http and https.
        """
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        return _parse(text)

    @property
    def origin(self) -> str:
        """Scheme, host and port in one text (RFC 6454): the unit of politeness and allow-lists."""
        if self.port == _DEFAULT_PORTS[self.scheme]:
            return f"{self.scheme}://{self.host}"
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def hostname(self) -> str:
        """The host without brackets and without a trailing dot, as policies compare it."""
        return self.host.strip("[]").rstrip(".")

    @property
    def target(self) -> str:
        """Path and query, as sent in the request line."""
        return self.url[len(self.origin) :]

    def join(self, reference: str | bytes) -> Source:
        """Resolve a `Location` value against this source (RFC 9110 §10.2.2, RFC 3986 §5.2).

        Raises:
            InvalidSource, SourceNotAllowed: as for `parse`.
        """
        text = reference.decode("utf-8", "surrogateescape") if isinstance(reference, bytes) else reference
        text = _strip(text)
        if _HTTP.match(text) or _SCHEME.match(text):
            return _parse(text)
        if text.startswith(("//", "\\\\", "/\\", "\\/")):
            return _parse(f"{self.scheme}:{text}")
        path = self.target.partition("?")[0]
        if text.startswith(("/", "\\")):
            return _parse(self.origin + text)
        if text.startswith("?"):
            return _parse(self.origin + path + text)
        if not text or text.startswith("#"):
            return self
        return _parse(self.origin + path.rpartition("/")[0] + "/" + text)

    def __str__(self) -> str:
        return self.url


def base_in_a_labels(base_url: str) -> str:
    """Return a base URL with its host in A-labels (UTS #46), its path escaped and no slashes at its end.

    Nothing else changes in an ASCII URL.

    Raises:
        InvalidSource, SourceNotAllowed: as for `Source.parse`.
    """
    if base_url.isascii():
        return base_url.rstrip("/")
    base = Source.parse(base_url)
    return base.origin + base.target.rstrip("/")


def base_spellings(base_urls: Iterable[str]) -> tuple[str, ...]:
    """Return each base URL and, where its host is not ASCII, its spelling in A-labels. Empty URLs are left out.

    Raises:
        InvalidSource, SourceNotAllowed: as for `Source.parse`.
    """
    given = [url for url in base_urls if url]
    return tuple(dict.fromkeys([*given, *(base_in_a_labels(url) for url in given if not url.isascii())]))


def origin_of(url: str) -> str:
    """Return the origin of a kept source, or an empty text when `url` is invalid, as in an edited entry."""
    try:
        return Source.parse(url).origin
    except (InvalidSource, SourceNotAllowed):
        return ""


def escape_bytes(text: str) -> str:
    """Percent-encode the bytes that web servers in front of us escape; leave all others unchanged."""
    if not _TO_ESCAPE.search(text):
        return text
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        # Half of a surrogate pair, from JSON or YAML, has no UTF-8 encoding.
        raise InvalidSource("The address of the picture contains an invalid character.") from error
    return "".join(chr(byte) if chr(byte) in _PLAIN else f"%{byte:02X}" for byte in raw)


def _parse(text: str) -> Source:
    # Long URLs are not cached: clients can invent any number of them and would fill the memory.
    return _remembered(text) if len(text) <= MAX_REMEMBERED_LENGTH else _read(text)


@functools.lru_cache(maxsize=4096)
def _remembered(text: str) -> Source:
    return _read(text)


def _read(text: str) -> Source:
    text = _strip(text)
    match = _HTTP.match(text)
    if match is None:
        raise _not_http(text)
    scheme = match[1].lower()
    rest = text[match.end() :].partition("#")[0]
    authority, tail = _split_authority(rest)
    host, port = _host_and_port(authority, scheme=scheme)
    path, mark, query = tail.partition("?")
    path = _without_dot_segments(escape_bytes(path.replace("\\", "/")))
    netloc = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    url = f"{scheme}://{netloc}{path}{mark}{escape_bytes(query)}"
    if len(url) > MAX_URL_LENGTH:
        raise InvalidSource(f"The address of the picture has more than {MAX_URL_LENGTH} characters.")
    return Source(url, scheme, host, port)


def _strip(text: str) -> str:
    # WHATWG URL §4.4: strip controls and spaces at both ends, remove tabs and line ends anywhere.
    text = text.strip(_FORBIDDEN_AROUND)
    return text.translate({9: None, 10: None, 13: None})


def _not_http(text: str) -> Exception:
    scheme = _SCHEME.match(text)
    if scheme and not text[scheme.end() :][:1].isdigit() and "." not in scheme[1]:
        return SourceNotAllowed("Only http and https sources are served.")
    return InvalidSource("The address of the picture must begin with http:// or https://.")


def _split_authority(rest: str) -> tuple[str, str]:
    end = re.search(r"[/\\?]", rest)
    if end is None:
        return rest, "/"
    tail = rest[end.start() :]
    return rest[: end.start()], tail if tail[0] != "?" else "/" + tail


def _host_and_port(authority: str, *, scheme: str) -> tuple[str, int]:
    if "@" in authority:
        raise InvalidSource("An address with a user name or password is not accepted.")
    port = _DEFAULT_PORTS[scheme]
    match = _PORT.search(authority)
    if match:
        authority = authority[: match.start()]
        if match[1]:
            port = int(match[1]) if len(match[1].lstrip("0")) <= 5 else 65536
    if ":" in authority.rpartition("]")[2]:
        # The rest would be split into host and port again: http://2001::1 is invalid, not 0.0.7.209.
        raise InvalidSource("The host of the picture's address cannot be read.")
    if not 0 < port < 65536:
        raise InvalidSource("The port of the picture's address is not between 1 and 65535.")
    # Long hosts are not cached, for the same reason as long URLs.
    return (_host if len(authority) <= MAX_REMEMBERED_HOST else _host.__wrapped__)(authority), port


@functools.lru_cache(maxsize=4096)
def _host(text: str) -> str:
    try:
        # ada accepts UTF-8 only. A surrogate stands for a byte that is not UTF-8; no host contains one.
        host = ada_url.URL(f"http://{text}/").hostname
    except (ValueError, UnicodeError) as error:
        raise InvalidSource("The host of the picture's address cannot be read.", detail=str(error)) from error
    if not host or not host.isascii() or len(host) > 255:
        raise InvalidSource("The host of the picture's address cannot be read.")
    return host


def _without_dot_segments(path: str) -> str:
    """Resolve `.` and `..`, also when escaped (WHATWG URL §4.4), so that prefix rules see the path that is fetched."""
    if "/." not in path and "%2" not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for position, segment in enumerate(segments, 1):
        lowered = segment.lower()
        if lowered in _DOUBLE_DOT:
            del kept[-1:]
        elif lowered not in _SINGLE_DOT:
            kept.append(segment)
            continue
        if position == len(segments):
            kept.append("")
    return "/" + "/".join(kept)


def looks_encoded(text: str) -> bool:
    """Return whether `text` begins with `http%3A` or `http%253A`, a source that was escaped as a whole."""
    return _ENCODED_HTTP.match(text) is not None
