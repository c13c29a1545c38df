"""Wrapper prefixes of the configuration: `rewrite.wrappers`. Pure.

Without a named dialect, the last character of the prefix decides: `=` means a query value, `?` the worker's form,
anything else a plain prefix. The scheme is not compared. A prefix without a path covers exactly one host.

    good   https://proxy.example.org/?          then   https://proxy.example.org/?http://h/a.png
    good   proxy.example.org/get?u=             then   //proxy.example.org/get?u=http%3A%2F%2Fh%2Fa.png
    good   https://img.example.org/, thumbor    then   https://img.example.org/<signature>/300x0/h.org/a.png
    bad    https://proxy.example.org            then   https://proxy.example.org.evil.test/http://h/a.png
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dialects.base.address import SplitAddress
from proxy.dialects.base.asked import OptionKey, key, nothing
from proxy.dialects.base.grammar import Grammar
from proxy.dialects.base.opened import OpenedWrapper, open_query
from proxy.dialects.grammars.worker import is_worker, target
from proxy.dialects.known import GRAMMARS
from proxy.dialects.prefix import read as read_prefix


@dataclass(frozen=True, slots=True)
class ConfiguredWrapper:
    """One configured prefix; `grammar` is the dialect named with it."""

    host: str
    path: str
    query: str | None
    grammar: Grammar | None = None

    @classmethod
    def read(cls, prefix: str, dialect: str = "") -> ConfiguredWrapper | None:
        """Parse a prefix; return None when it has no host or the dialect is unknown."""
        text = prefix.strip()
        address = SplitAddress.parse(text if "//" in text.partition("?")[0] else "//" + text)
        grammar = GRAMMARS.get(dialect)
        if address is None or (dialect and grammar is None):
            return None
        query = address.query if "?" in text else None
        return cls(address.host, address.path, query, grammar)

    @property
    def name(self) -> str:
        """The name of this wrapper in a list of steps."""
        return self.grammar.name if self.grammar else "configured"

    def open_address(self, address: SplitAddress) -> OpenedWrapper | None:
        """Open an address that begins with this prefix.

        Raises:
            AmbiguousWrapper: query keys that may belong to the wrapper or to the source.
        """
        if address.host != self.host:
            return None
        whole = "/" + address.rest
        if self.grammar is None and self.query is not None:
            return self._open_query(address)
        if not whole.startswith(self.path):
            return None
        behind = whole[len(self.path) :]
        return self.grammar.open_rest(behind, address.site) if self.grammar else read_prefix(behind, "")

    def _open_query(self, address: SplitAddress) -> OpenedWrapper | None:
        if self.query is None or address.path != self.path:
            return None
        if self.query.endswith("="):
            return self._open_value(address)
        rest = address.query.removeprefix(self.query)
        if not address.query.startswith(self.query) or not is_worker(rest):
            return None
        return OpenedWrapper(target(rest))

    def _open_value(self, address: SplitAddress) -> OpenedWrapper | None:
        fixed, _, name = (self.query or "")[:-1].rpartition("&")
        if not address.query.startswith(self.query or ""):
            return None
        known: dict[str, OptionKey] = {
            item.partition("=")[0].lower(): key(item.partition("=")[0] or "-", nothing)
            for item in fixed.split("&")
        }
        opened = open_query(address.query, name, keys=known)
        return opened if opened and is_worker(opened.target) else None
