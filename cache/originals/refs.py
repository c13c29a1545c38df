"""References: which entries use a body, so that a purge need not read every entry. Blocking.

An index that may be deleted at any time, in whole or in part, and may come back old after a power loss. It must
never let a body be deleted that another entry uses. Hence the rules, and why they suffice:

    one file per list or part, replaced by rename   there is no half of a file
    "complete" only if made together with the body, or by reading all entries
    a list made for a body that was there before    says "partial": a purge must read all entries
    adding to a list, and "partial", are durable before the entry is; a first list need not be: when it is
    lost, there is no list, and a purge must read all entries
    deleting a list is durable, so that it cannot come back for a later body of the same bytes
    a list may name too many: a purge looks at each entry it names

A list of more than MAX_KEYS keys is split into sixteen parts by the next digit of the key, a part that grows too long
likewise, so adding a user rewrites one short file however many there are. All sixteen parts are durable before the
list says that it is split, and only a list that says so has parts: what an earlier list left in their folder is never
read. A part that is missing or torn makes the whole list unreadable.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cache.base.durable import Durable, files_in, sync_folder
from cache.base.layout import Layout, is_digest
from cache.base.opening import read_regular

MAX_KEYS = 256
"""Keys in one file: 16 KiB, which the disk writes about as fast as a single block."""

PARTS = "0123456789abcdef"
_HEADS = {
    "complete": (True, False),
    "partial": (False, False),
    "split complete": (True, True),
    "split partial": (False, True),
}


class ListUnreadable(Exception):
    """A list of users, or a part of it, is missing or torn: only reading all entries tells who uses the body."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A list or a part of one. `complete` counts in the list itself only; with `is_split` there are no keys."""

    keys: frozenset[str]
    complete: bool
    is_split: bool = False


class Refs:
    """The lists of all bodies. The caller holds the lock of the body whose list changes."""

    def __init__(self, layout: Layout, durable: Durable) -> None:
        self._layout = layout
        self._durable = durable

    # Reading

    def is_complete(self, sha256: str) -> bool:
        """Whether the list of a body can be read and names every user, as far as its first file tells."""
        node = self._read(sha256, "")
        return node is not None and node.complete

    def covers(self, sha256: str, key: str) -> bool:
        """Whether the list of a body is complete and names `key`."""
        try:
            return self.is_complete(sha256) and key in self._leaf_of(sha256, key)[1].keys
        except ListUnreadable:
            return False

    def keys(self, sha256: str) -> Iterator[str]:
        """Yield the keys that the list of a body names, sorted; files are read as they are needed.

        Raises:
            ListUnreadable: while iterating, at the first part that cannot be read.
        """
        return self._walk(sha256, "", above="")

    def others(self, sha256: str, key: str) -> Iterator[str]:
        """Yield the keys but `key`, those after it first: a purge of all in their order finds the next user at once.

        Raises:
            ListUnreadable: as `keys`.
        """
        before = itertools.takewhile(lambda other: other < key, self.keys(sha256))
        return itertools.chain(self._walk(sha256, "", above=key), before)

    # Writing

    def add(self, sha256: str, key: str, *, body_is_new: bool) -> None:
        """Note that the entry `key` is about to use the body."""
        try:
            prefix, leaf = self._leaf_of(sha256, key)
        except ListUnreadable:
            if body_is_new and not self._layout.ref(sha256).exists():
                first = _text([key], complete=True)
                self._durable.write_unsynced(self._layout.ref(sha256), first)
            else:
                self.replace(sha256, [key], complete=False)
            return
        if key in leaf.keys:
            # The process that added it may have died before the fsync.
            self._durable.settle(self._layout.ref_part(sha256, prefix).parent)
        elif len(leaf.keys) < MAX_KEYS:
            text = _text({*leaf.keys, key}, complete=leaf.complete)
            self._durable.write(self._layout.ref_part(sha256, prefix), text)
        else:
            self._split(sha256, prefix, {*leaf.keys, key}, complete=leaf.complete)

    def replace(self, sha256: str, keys: Iterable[str], *, complete: bool) -> None:
        """Write the list of a body anew."""
        self._durable.write(self._layout.ref(sha256), _text(keys, complete=complete))

    def remove(self, sha256: str) -> None:
        """Forget the list of a body that is about to be deleted."""
        self._durable.remove(self._layout.ref(sha256))
        # Without the list its parts mean nothing, so they may come back.
        folder = self._layout.ref_parts(sha256)
        with contextlib.suppress(OSError):
            for path in files_in(folder):
                path.unlink(missing_ok=True)
            folder.rmdir()

    # Inside

    def _read(self, sha256: str, prefix: str) -> _Node | None:
        try:
            return _parsed(read_regular(self._layout.ref_part(sha256, prefix)), prefix)
        except OSError:
            return None

    def _required(self, sha256: str, prefix: str) -> _Node:
        node = self._read(sha256, prefix)
        if node is None:
            raise ListUnreadable(f"the users of {sha256} below {prefix!r}")
        return node

    def _leaf_of(self, sha256: str, key: str) -> tuple[str, _Node]:
        """Return the prefix and the keys of the file that names `key`, or would."""
        for length in range(len(key)):
            node = self._required(sha256, key[:length])
            if not node.is_split:
                return key[:length], node
        raise ListUnreadable(f"the users of {sha256}: parts for every digit")

    def _walk(self, sha256: str, prefix: str, *, above: str) -> Iterator[str]:
        node = self._required(sha256, prefix)
        yield from sorted(key for key in node.keys if key > above)
        if node.is_split and len(prefix) < len(sha256):
            for part in (prefix + digit for digit in PARTS):
                if part >= above[: len(part)]:
                    yield from self._walk(sha256, part, above=above)

    def _split(self, sha256: str, prefix: str, keys: set[str], *, complete: bool) -> None:
        """Put keys into parts. One that is too long itself is split when the next key comes to it."""
        folder = self._layout.ref_parts(sha256)
        self._durable.ensure_folder(folder)
        if not prefix:
            # An earlier folder of this name, deleted without fsync, must not come back behind the new list.
            sync_folder(folder.parent)
        parts = {
            self._layout.ref_part(sha256, prefix + digit): _text(
                (key for key in keys if key[len(prefix)] == digit), complete=True
            )
            for digit in PARTS
        }
        self._durable.write_several(folder, parts)
        head = _text((), complete=complete, split=True)
        self._durable.write(self._layout.ref_part(sha256, prefix), head)


def _text(keys: Iterable[str], *, complete: bool, split: bool = False) -> bytes:
    head = next(name for name, meaning in _HEADS.items() if meaning == (complete, split))
    lines = [head, *sorted(keys)]
    # The count at the end tells a torn file from a whole one.
    return "\n".join([*lines, f"end {len(lines) - 1}", ""]).encode("ascii")


def _parsed(text: bytes, prefix: str) -> _Node | None:
    lines = text.decode("ascii", "replace").split("\n")
    if len(lines) < 3 or lines[0] not in _HEADS:
        return None
    complete, is_split = _HEADS[lines[0]]
    keys = lines[1:-2]
    if lines[-2:] != [f"end {len(keys)}", ""] or (is_split and keys):
        return None
    if not all(is_digest(key) and key.startswith(prefix) for key in keys):
        return None
    return _Node(frozenset(keys), complete, is_split)
