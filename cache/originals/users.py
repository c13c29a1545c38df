"""Users: finds the entries that use a body, by the lists of `refs.py` and by the entries themselves. Blocking.

The lists may name too many users or be lost, so nothing is deleted before the entries that they name have been checked.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Set

from cache.across.seams import UserLists
from cache.base.entry import Entry
from cache.originals.entryfiles import EntryFiles
from cache.originals.refs import ListUnreadable

log = logging.getLogger(__name__)

KEYS_PER_USER = 4
"""How many keys to check for each wanted user, because the keys of purged entries stay in a list."""

MAX_JUDGED = 64
"""The most users of a body whose entries are read, once, to learn whether any of them set it aside."""


class BodyUsers:
    """The users of bodies. The caller holds the lock of a body whose users change."""

    def __init__(self, entries: EntryFiles, refs: UserLists) -> None:
        self._entries = entries
        self._refs = refs

    def add(self, sha256: str, entry: Entry, *, body_is_new: bool) -> None:
        """Record that `entry` is about to use a body. The record is durable before the entry is, see `refs.py`.

        The entries of other users are not read, except once for a list of an earlier version.
        """
        self._refs.add(
            sha256,
            entry.key,
            body_is_new=body_is_new,
            aside=_sets_aside(entry, sha256),
            judge=lambda: any(_sets_aside(other, sha256) for other in self.find(sha256, MAX_JUDGED)),
        )

    def note_aside(self, entry: Entry, known: Entry | None) -> None:
        """Record which bodies `entry`, which is about to be written, sets aside and `known` did not."""
        for item in entry.history:
            if item.note and not (known is not None and _sets_aside(known, item.body_sha256)):
                self._refs.mark_aside(item.body_sha256)

    def is_shared(self, sha256: str) -> bool:
        """Return whether more than one entry may name a body."""
        try:
            first = list(itertools.islice(self._refs.keys(sha256), 2))
        except ListUnreadable:
            return True
        return len(first) > 1 or not self._refs.is_complete(sha256)

    def find(self, sha256: str, most: int) -> list[Entry]:
        """Return entries that name a body, as far as the index knows them. Checks at most four times as many keys."""
        found: list[Entry] = []
        with contextlib.suppress(ListUnreadable):
            for key in itertools.islice(self._refs.keys(sha256), most * KEYS_PER_USER):
                entry = self._entries.entry(key)
                if entry is not None and sha256 in entry.digests:
                    found.append(entry)
                if len(found) == most:
                    break
        return found

    def who_set_aside(self, sha256: str, most: int) -> list[Entry]:
        """Return entries that set a body aside, like `find`. For nearly every body this costs one short file."""
        if self._refs.aside(sha256) is False:
            return []
        return [entry for entry in self.find(sha256, most) if _sets_aside(entry, sha256)]

    def came_since(self, sha256: str) -> bool:
        """Return whether an entry names a body that no entry named when all of them were read.

        A commit adds the entry to the list before it writes the entry, so the list shows entries that were added since.
        """
        try:
            return any(self._entries.names(key, sha256) for key in self._refs.keys(sha256))
        except ListUnreadable:
            return any(True for _ in self._entries.naming(sha256))

    def forget(self, sha256: str) -> None:
        """Delete the list of a body that is gone."""
        self._refs.remove(sha256)

    def is_needed(
        self, sha256: str, key: str, *, gone: Set[str] = frozenset(), remember: bool = True
    ) -> bool:
        """Return whether an entry other than `key` and those in `gone` names a body."""
        if self._refs.covers(sha256, key):
            with contextlib.suppress(ListUnreadable):
                others = (other for other in self._refs.others(sha256, key) if other not in gone)
                return any(self._entries.names(other, sha256) for other in others)
        log.info("the users of body %s are not known; reading all entries", sha256)
        found = frozenset(self._entries.naming(sha256)) - {key}
        if found and remember:
            self._refs.replace(sha256, found, complete=True)
        return not found <= gone


def _sets_aside(entry: Entry, sha256: str) -> bool:
    return any(item.body_sha256 == sha256 and item.note for item in entry.history)
