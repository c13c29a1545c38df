"""Identifies the dialect of a request to this service by its mount or by the requested host. Pure.

good   /imgproxy/_/w:300/plain/http://h/a.png     imgproxy, `_/w:300/…`
good   /?url=h/a.png&w=300                        weserv; `/?http://h/a.png` is the worker's
bad    /imgproxy                                  none
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.dialects.base.grammar import Grammar
from proxy.dialects.base.opened import query_items
from proxy.dialects.grammars.worker import is_worker
from proxy.dialects.known import GRAMMARS

SERVED: dict[str, Grammar] = {
    name: grammar for name, grammar in GRAMMARS.items() if grammar.serve is not None
}
"""Every served dialect by name."""

_BY_SEGMENT = {grammar.mount.split("/")[1]: grammar for grammar in SERVED.values()}


@dataclass(frozen=True, slots=True)
class Mounted:
    """A dialect, and the text after its mount or its host, including the query."""

    grammar: Grammar
    rest: str


def mounted(target: str, *, root: str = "") -> Mounted | None:
    """Return the dialect of `target` (origin-form, as on the wire) and its rest, or None for no dialect.

    root: the dialect of the requested host, empty for the service's own.
    """
    if root:
        return Mounted(SERVED[root], target[1:])
    segment = target[1:].partition("?")[0].partition("/")[0]
    grammar = _BY_SEGMENT.get(segment)
    if grammar is not None and target.startswith(grammar.mount):
        rest = target[len(grammar.mount) :]
        if grammar.mount.endswith("/") or rest[:1] in ("", "/", "?"):
            return Mounted(grammar, rest)
    path, _, query = target.partition("?")
    if path == "/" and not is_worker(query) and any(name == "url" for name, _ in query_items(query)):
        return Mounted(GRAMMARS["weserv"], f"?{query}")
    return None


def is_help(mount: Mounted) -> bool:
    """Return whether the request is for cors-anywhere's help page, which names no source."""
    return mount.grammar.name == "cors-anywhere" and mount.rest in ("", "iscorsneeded")
