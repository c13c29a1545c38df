"""The cookies of one fetch. Some hosts set one and redirect the client to the same address. Pure.

A cookie goes only to the host that set it (RFC 6265 §5, without `Domain`) and ends with the fetch. It is never stored,
logged or passed down. Knows nothing of requests and answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from proxy.source import Source

MAX_COOKIES = 20
MAX_COOKIE_BYTES = 4096
"""The maximum length of name and value together."""

# RFC 6265 §4.1.1, and other characters in use. A control could begin another header, and other bytes would be changed.
_PAIR = re.compile(r"[\x20-\x3a\x3c\x3e-\x7e]+=[\x20-\x3a\x3c-\x7e]*")
_AGE = re.compile(r"-?[0-9]+")


class _Key(NamedTuple):
    host: str
    path: str
    name: str


@dataclass(frozen=True, slots=True)
class _Cookie:
    pair: str
    is_secure: bool


class Cookies:
    """The cookies that the answers of one fetch have set. If there are too many, the oldest are dropped."""

    def __init__(self) -> None:
        self._kept: dict[_Key, _Cookie] = {}

    def take(self, hop: Source, line: str) -> None:
        """Process a `Set-Cookie` from `hop`, as latin-1. One that cannot be read is ignored."""
        pair, *attributes = (part.strip(" \t") for part in line.split(";"))
        if not _PAIR.fullmatch(pair) or len(pair) > MAX_COOKIE_BYTES:
            return
        said = {
            name.strip().lower(): value.strip() for name, _, value in (a.partition("=") for a in attributes)
        }
        is_secure = "secure" in said
        if is_secure and hop.scheme != "https":
            return
        path = said.get("path", "")
        key = _Key(hop.host, path if path.startswith("/") else _folder(hop), pair.partition("=")[0].strip())
        self._kept.pop(key, None)
        if not _is_over(said.get("max-age", "")):
            self._kept[key] = _Cookie(pair, is_secure)
            if len(self._kept) > MAX_COOKIES:
                del self._kept[next(iter(self._kept))]

    def header(self, hop: Source) -> str:
        """Return the value of `Cookie` for `hop`; empty if there are none."""
        return "; ".join(
            cookie.pair
            for key, cookie in self._kept.items()
            if key.host == hop.host
            and _lies_under(hop.target.partition("?")[0], key.path)
            and (hop.scheme == "https" or not cookie.is_secure)
        )


def _folder(hop: Source) -> str:
    """Return the default path of a cookie (RFC 6265 §5.1.4)."""
    return hop.target.partition("?")[0].rpartition("/")[0] or "/"


def _lies_under(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder if folder.endswith("/") else folder + "/")


def _is_over(max_age: str) -> bool:
    return bool(_AGE.fullmatch(max_age)) and (max_age.startswith("-") or not max_age.strip("0"))
