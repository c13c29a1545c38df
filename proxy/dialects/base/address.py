"""Splits an absolute or protocol-relative address into the parts that identify a wrapper. Pure.

The result is not a source: nothing is decoded, checked or repaired. The fragment stays in place, because in
`https://worker/?http://h/a.png#x` only the wrapper's grammar knows to which address it belongs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# The host does not end before an `@`: what stands there is a user name, and the host comes after it.
_ADDRESS = re.compile(
    r"(?:(?P<scheme>https?):)?[/\\]{2}(?P<host>[^/?#\\\s@]++)(?!@)(?P<path>[^?#]*)(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_DEFAULT_PORT = re.compile(r":(?:80|443)?\Z")


@dataclass(frozen=True, slots=True)
class SplitAddress:
    """The parts of an address.

    `host` is lower-case, without a default port and trailing dot; `path` begins with a slash; `query` is raw
    and may hold a fragment; `mark` is the question mark before it, if there is one.
    """

    scheme: str
    host: str
    path: str
    query: str
    mark: str = ""

    @classmethod
    def parse(cls, text: str) -> SplitAddress | None:
        """Return the parts of an http(s) or protocol-relative address, or None."""
        match = _ADDRESS.match(text)
        if match is None:
            return None
        host = match["host"].lower()
        host = (_DEFAULT_PORT.sub("", host) if ":" in host else host).rstrip(".")
        mark = "" if match["query"] is None else "?"
        return cls((match["scheme"] or "").lower(), host, match["path"] or "/", match["query"] or "", mark)

    @classmethod
    def of_site(cls, text: str) -> SplitAddress | None:
        """Return the parts of an absolute path, whose site is unknown; None for other text."""
        if not text.startswith("/") or text[1:2] in ("/", "\\"):
            return None
        path, mark, query = text.partition("?")
        return cls("", "", path.partition("#")[0], query, mark)

    @property
    def site(self) -> str:
        """Scheme and host to which paths are relative; empty when the site is unknown."""
        return f"{self.scheme or 'https'}://{self.host}" if self.host else ""

    @property
    def rest(self) -> str:
        """Everything after the host's slash, including the query. Prefix wrappers take it as their target."""
        return self.path[1:] + self.mark + self.query
