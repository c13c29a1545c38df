"""Wrapper prefixes of the configuration: `rewrite.wrappers`. Pure.

The last character tells the grammar: `=` a query value, `?` the worker's, anything else a prefix. The scheme
is not compared; a prefix without a path covers the whole host and no other host.

    good   https://proxy.example.org/?          then   https://proxy.example.org/?http://h/a.png
    good   proxy.example.org/get?u=             then   //proxy.example.org/get?u=http%3A%2F%2Fh%2Fa.png
    bad    https://proxy.example.org            then   https://proxy.example.org.evil.test/http://h/a.png
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dialects.address import Address
from proxy.dialects.opened import Opened, open_query
from proxy.dialects.prefix import open_rest
from proxy.dialects.worker import is_worker, target


@dataclass(frozen=True, slots=True)
class ConfiguredWrapper:
    """One prefix; `open_address` has the shape that all grammars share."""

    host: str
    path: str
    query: str | None

    @classmethod
    def read(cls, prefix: str) -> ConfiguredWrapper | None:
        """Return the wrapper that a prefix means, or None when it names no host."""
        text = prefix.strip()
        address = Address.parse(text if "//" in text.partition("?")[0] else "//" + text)
        if address is None:
            return None
        query = address.query if "?" in text else None
        return cls(address.host, address.path, query)

    def open_address(self, address: Address) -> Opened | None:
        """Open an address that begins with this prefix.

        Raises:
            AmbiguousWrapper: query keys that nobody can assign.
        """
        if address.host != self.host:
            return None
        if self.query is None:
            return open_rest(address, self.path)
        if address.path != self.path:
            return None
        if self.query.endswith("="):
            return self._open_value(address)
        rest = address.query.removeprefix(self.query)
        if not address.query.startswith(self.query) or not is_worker(rest):
            return None
        return Opened(target(rest))

    def _open_value(self, address: Address) -> Opened | None:
        fixed, _, key = (self.query or "")[:-1].rpartition("&")
        if not address.query.startswith(self.query or ""):
            return None
        known = frozenset(item.partition("=")[0].lower() for item in fixed.split("&"))
        opened = open_query(address.query, key, known=known)
        return opened if opened and is_worker(opened.target) else None
