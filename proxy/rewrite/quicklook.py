"""Decides from the bytes of a text whether it needs to be parsed at all. Pure; linear.

Parsing takes a hundred times as long. The decision may err in one direction only: a text that is skipped must contain
nothing that would be replaced, reported or noted. So the search covers the text that each such address must contain,
its host or the mark of its form, in every spelling that a place allows. A text with a spelling that could hide one of
these characters is parsed.

    good   [a](https://h.org/b)                    skipped, unless all images are wanted
    good   {"a": "https:\\/\\/wsrv.nl\\/?url=…"}      parsed: searched without backslashes, too
    good   src="https://wsrv&#46;nl/?url=…"        parsed: the reference may be a letter, a digit or a dot
    bad    https://wsrv%2Enl/?url=…                skipped: no grammar decodes a host
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from html.entities import html5

from proxy.config import RewriteConfig
from proxy.dialects.known import FORM_TRACES, traces
from proxy.rewrite.base.charset import page_encoding
from proxy.rewrite.base.masking import is_wide

_LOOKALIKES = "\u0130\u0131\u017f\u212a"
"""Characters that Python's case-insensitive matching equates with i, s and k. Hosts are matched without case."""
_SPELLING = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-./:?\\_" + _LOOKALIKES)
"""The characters of hosts and marks."""


def _numbers(form: str) -> str:
    return "|".join(
        sorted({format(ord(char), form) for char in _SPELLING}, key=lambda text: (-len(text), text))
    )


_HEX, _HEX_OF_FOUR, _DECIMAL = _numbers("x"), _numbers("04x"), _numbers("d")
_NAMES = "|".join(sorted(name.lower() for name, text in html5.items() if not _SPELLING.isdisjoint(text)))
_REFERENCE = re.compile(
    rf"""&(?:amp;?|\#0*+38;?|\#x0*+26;?)*+
    (?:\#x(?:0*+(?:{_HEX})(?![0-9a-f])|0{{3,}}(?:{_HEX}))|\#(?:0*+(?:{_DECIMAL})(?![0-9])|0{{4,}}(?:{_DECIMAL}))|{_NAMES})
    """.encode("ascii"),
    re.VERBOSE,
)
"""A character reference to one of these, in lower case. It may follow `&amp;` in text that is decoded twice."""
_ESCAPE = re.compile(
    rf"\\(?:x(?:{_HEX})|u(?:0000)?(?:{_HEX_OF_FOUR})|0*+(?:{_HEX})(?![0-9a-f])|0{{2,}}(?:{_HEX}))".encode(
        "ascii"
    )
)
"""An escape of JSON, YAML or a style sheet for one of these, in lower case."""
_CONTINUED = re.compile(rb"\\(?:\r\n|[\r\n\f])")
"""A line continuation in a string of a style sheet."""
_SLASHES = re.compile(rb"[/\\]{2,}")
_AUTHORITY = re.compile(rb"//([^/?#\s]+)")
_HOST = re.compile(rb"[a-z0-9._-]+")
_LOOKALIKE = re.compile(rb"\xc4[\xb0\xb1]|\xc5\xbf|\xe2\x84\xaa")
_FOREIGN = re.compile(rb"[\x80-\xff\[]")
_OUR_FORM = re.compile(rb"/(?:i|\xc4[\xb0\xb1])mage/[^/?#\s]+/(?:http|b64:)")
_ABSOLUTE = re.compile(rb"//[^/\s]|https?:")
_ODD_HOST = re.compile(rb"(?:https?:/*+|//)[^/?#\s%\x80-\xff]{0,255}+[%\x80-\xff]")
"""A host with escapes or non-ASCII bytes, which is decoded before it is used."""
_PORT = re.compile(r":[0-9]*\Z")
_PLAIN_HOST = re.compile(r"[a-z0-9._-]+")
_CERTAIN = re.compile(r"[a-hjl-rt-z0-9/._-]+")
"""Characters with a single spelling. The path of a base URL is compared without case, too."""


class QuickLook:
    """Examines texts for one configuration. `base_url` is our own base URL, without a slash at its end."""

    def __init__(self, config: RewriteConfig, *, base_url: str, all_images: bool = False) -> None:
        self._all_images = all_images
        self._hosts: dict[bytes, set[bytes]] = {}
        self._pieces: dict[bytes, set[bytes]] = {b".workers.dev": {b""}}
        self._marks = tuple(mark.encode() for mark in FORM_TRACES)
        for trace in traces():
            table = self._hosts if trace.whole else self._pieces
            table.setdefault(trace.host.encode(), set()).add(trace.path.encode())
        prefixes = (item if isinstance(item, str) else item[0] for item in config.prefixes)
        self._has_foreign_host = False
        for url in (base_url, *config.former_urls, *prefixes):
            self._add(url)

    def sees(self, data: bytes) -> bool:
        """Return whether a text must be parsed, because it may contain something to replace, report or note."""
        if is_wide(data):
            return True
        lower = data.lower()
        if page_encoding(data) and not data.isascii():
            return True
        if b"&" in lower and (_REFERENCE.search(lower) or (self._has_foreign_host and b"&#" in lower)):
            return True
        if b"\\" in lower and (_ESCAPE.search(lower) or self._has_foreign_host):
            return True
        return any(self._sees(text, bare) for text, bare in _spellings(lower))

    def _sees(self, text: bytes, bare: bytes) -> bool:
        """Return whether `text` contains a mark, or a host whose path is in `bare`."""
        if self._all_images and _ABSOLUTE.search(text):
            return True
        if any(mark in text for mark in self._marks) or _OUR_FORM.search(text):
            return True
        authorities = set(_AUTHORITY.findall(text))
        hosts = b" ".join(authorities)
        found = [paths for piece, paths in self._pieces.items() if piece in hosts]
        found += (self._hosts.get(host.strip(b"."), set()) for host in _HOST.findall(hosts))
        if any(path in bare for paths in found for path in paths):
            return True
        return (_FOREIGN if self._has_foreign_host else _LOOKALIKE).search(hosts) is not None

    def _add(self, url: str) -> None:
        """Also search for addresses below a base URL or the prefix of a wrapper."""
        text = url.strip().lower().replace("\\", "/").partition("?")[0]
        host, _, path = (text.partition("//")[2] if "//" in text else text).partition("/")
        host = _PORT.sub("", host).strip(".")
        if _PLAIN_HOST.fullmatch(host):
            piece = max(_CERTAIN.findall(path), key=len, default="")
            self._hosts.setdefault(host.encode(), set()).add(piece.encode())
        elif host:
            self._has_foreign_host = True


def _spellings(lower: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the possible meanings of backslashes in a text, each as (text to search for hosts, text for paths).

    A backslash may stand for a slash. It may also be an escape, so yield the text without backslashes: once as it is,
    and once with every run of slashes and backslashes reduced to the two slashes before a host.
    """
    if b"\\" not in lower:
        yield lower, lower
        return
    joined = _CONTINUED.sub(b"", lower) if _CONTINUED.search(lower) else lower
    bare = joined.replace(b"\\", b"")
    yield lower.replace(b"\\", b"/"), bare
    yield bare, bare
    yield _SLASHES.sub(b"//", joined).replace(b"\\", b""), bare


def may_name(data: bytes, hosts: Collection[str]) -> bool:
    """Return whether a text may contain an address at one of `hosts`, which are spelled as in canonical sources."""
    lower = data.lower()
    if (
        page_encoding(data)
        or _REFERENCE.search(lower)
        or _ESCAPE.search(lower)
        or any(map(_is_number, hosts))
    ):
        return True
    names = [host.encode() for host in hosts]
    for text, _ in _spellings(lower):
        # Browsers remove line ends and tabs from addresses.
        whole = text.translate(None, b"\t\r\n")
        if any(name in whole for name in names) or _ODD_HOST.search(text):
            return True
    return False


def _is_number(host: str) -> bool:
    # An IP address has many spellings.
    return host.startswith("[") or host.rpartition(".")[2].isdecimal()
