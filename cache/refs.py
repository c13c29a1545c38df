"""References: which entries use a body, so that a purge need not read every entry. Blocking.

An index that may be deleted at any time, in whole or in part, and may come back old after a power loss. It must
never let a body be deleted that another entry uses. Hence the rules, and why they suffice:

    one file per body, replaced by rename         there is no half of a list
    "complete" only if made together with the body, or by reading all entries
    a list made for a body that was there before  says "partial": whoever purges must read all entries
    adding to a list, and "partial", are durable before the entry is; a first list need not be: when it is
    lost, there is no list, and whoever purges must read all entries
    deleting a list is durable, so that it cannot come back for a later body of the same bytes
    a list may name too many: whoever purges looks at each entry it names
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cache.durable import Durable
from cache.layout import Layout, is_digest
from cache.opening import read_regular


@dataclass(frozen=True, slots=True)
class Users:
    """Keys of the entries that may use a body, and whether none is missing."""

    keys: frozenset[str]
    complete: bool


class Refs:
    """The lists of all bodies. The caller holds the lock of the body it asks about."""

    def __init__(self, layout: Layout, durable: Durable) -> None:
        self._layout = layout
        self._durable = durable

    def users(self, sha256: str) -> Users | None:
        """Return the list of a body, None when there is none that can be read."""
        try:
            return _parsed(read_regular(self._layout.ref(sha256)))
        except OSError:
            return None

    def add(self, sha256: str, key: str, *, body_is_new: bool) -> None:
        """Note that the entry `key` is about to use the body."""
        known = self.users(sha256)
        if known is None and body_is_new and not self._layout.ref(sha256).exists():
            self._durable.write_unsynced(self._layout.ref(sha256), _text([key], complete=True))
        elif known is None:
            self.replace(sha256, [key], complete=False)
        elif key not in known.keys:
            self.replace(sha256, {*known.keys, key}, complete=known.complete)

    def replace(self, sha256: str, keys: Iterable[str], *, complete: bool) -> None:
        """Write the list of a body anew."""
        self._durable.write(self._layout.ref(sha256), _text(keys, complete=complete))

    def remove(self, sha256: str) -> None:
        """Forget the list of a body that is about to be deleted."""
        self._durable.remove(self._layout.ref(sha256))


def _text(keys: Iterable[str], *, complete: bool) -> bytes:
    lines = ["complete" if complete else "partial", *sorted(keys)]
    # The count at the end tells a torn file from a whole one.
    return "\n".join([*lines, f"end {len(lines) - 1}", ""]).encode("ascii")


def _parsed(text: bytes) -> Users | None:
    lines = text.decode("ascii", "replace").split("\n")
    if len(lines) < 3 or lines[0] not in {"complete", "partial"}:
        return None
    keys = lines[1:-2]
    if lines[-2:] != [f"end {len(keys)}", ""] or not all(map(is_digest, keys)):
        return None
    return Users(frozenset(keys), lines[0] == "complete")
