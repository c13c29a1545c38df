"""References: records which entries use a body, so that a purge need not read every entry. Blocking.

This is an index that may be deleted at any time, completely or in part, and that may be outdated after a power loss. It
must never cause the deletion of a body that another entry uses. These rules ensure that:

    one file per list or part, replaced by rename   there is never half a file
    "complete" only if made together with the body, or by reading all entries
    a list made for an existing body                says "partial": a purge must read all entries
    adding to a list, and "partial", are durable before the entry is; a first list need not be durable: if it
    is lost, there is no list, and a purge must read all entries
    deleting a list is durable, so that it cannot reappear for a later body of the same bytes
    a list may name too many users: a purge checks each entry that it names

A list of more than MAX_KEYS keys is split into sixteen parts by the next digit of the key. A part that becomes too long
is split in the same way. Adding a user therefore rewrites one short file, regardless of their number. All sixteen parts
are durable before the list says that it is split. Only a list that says so has parts, so remains of an earlier list in
their folder are never read. A missing or torn part makes the whole list unreadable.

The first line also says whether any users may have set the body aside: `plain` for none, `aside` for some. Lists of
earlier versions have neither word. A commit thus learns without reading the entries of its users that a body is not a
placeholder. The word is a hint for judging, and no body is deleted because of it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from cache.base.durable import Durable, files_in, sync_folder
from cache.base.layout import Layout
from cache.base.opening import read_regular

MAX_KEYS = 64
"""Keys in one file: 4 KiB, one block of a disk. With fewer keys, splitting a list would sync more files."""

PARTS = "0123456789abcdef"
_KEY_DIGITS = 64
_ASIDE_WORDS = {None: "", False: "plain ", True: "aside "}


class ListUnreadable(Exception):
    """A list of users, or a part of it, is missing or torn. Only reading all entries shows who uses the body."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of a list or a part. `complete` and `aside` apply in the list itself only.

    aside: whether some of the users may have set the body aside; None if nobody has checked.
    """

    complete: bool
    is_split: bool = False
    aside: bool | None = None

    @property
    def line(self) -> str:
        word = "complete" if self.complete else "partial"
        return ("split " if self.is_split else "") + _ASIDE_WORDS[self.aside] + word


_HEADS = {
    head.line.encode("ascii"): head
    for head in (
        _Head(complete, is_split, aside)
        for complete, is_split, aside in itertools.product((True, False), (True, False), _ASIDE_WORDS)
    )
}
_PART = _Head(complete=True)


@dataclass(frozen=True, slots=True)
class _UserList:
    """A list or a part of one. One that is split has no keys."""

    keys: frozenset[str]
    head: _Head


class Refs:
    """The lists of all bodies. The caller holds the lock of the body whose list changes."""

    def __init__(self, layout: Layout, durable: Durable) -> None:
        self._layout = layout
        self._durable = durable

    # Reading

    def is_complete(self, sha256: str) -> bool:
        """Return whether the list of a body can be read and names every user, judging by its first file."""
        node = self._read(sha256, "")
        return node is not None and node.head.complete

    def aside(self, sha256: str) -> bool | None:
        """Return whether users of a body may have set it aside; None if there is no list, or the list does not say."""
        node = self._read(sha256, "")
        return None if node is None else node.head.aside

    def covers(self, sha256: str, key: str) -> bool:
        """Return whether the list of a body is complete and names `key`."""
        root = self._read(sha256, "")
        if root is None or not root.head.complete:
            return False
        try:
            return key in self._leaf_of(sha256, key, root)[1].keys
        except ListUnreadable:
            return False

    def keys(self, sha256: str) -> Iterator[str]:
        """Yield the keys in the list of a body, sorted. Files are read when they are needed.

        Raises:
            ListUnreadable: while iterating, at the first part that cannot be read.
        """
        return self._walk(sha256, "", above="")

    def others(self, sha256: str, key: str) -> Iterator[str]:
        """Yield all keys except `key`, beginning with those after it. A purge of all in this order finds the next user
        at once.

        Raises:
            ListUnreadable: as for `keys`.
        """
        before = itertools.takewhile(lambda other: other < key, self.keys(sha256))
        return itertools.chain(self._walk(sha256, "", above=key), before)

    # Writing

    def add(
        self, sha256: str, key: str, *, body_is_new: bool, aside: bool, judge: Callable[[], bool]
    ) -> None:
        """Record that the entry `key` is about to use the body, and whether it sets the body aside.

        `judge` is called for a list of an earlier version. It returns whether any of its users set the body aside.
        """
        root = self._read(sha256, "")
        if root is None:
            self._begin(sha256, key, body_is_new=body_is_new, aside=aside)
            return
        known = root.head.aside
        root = self._marked(sha256, root, aside=aside or (judge() if known is None else known))
        try:
            prefix, leaf = self._leaf_of(sha256, key, root)
        except ListUnreadable:
            self.replace(sha256, [key], complete=False, aside=root.head.aside)
            return
        if key in leaf.keys:
            # The process that added it may have died before the fsync.
            self._durable.settle(self._layout.ref_part(sha256, prefix).parent)
        elif len(leaf.keys) < MAX_KEYS:
            self._durable.write(self._layout.ref_part(sha256, prefix), _text({*leaf.keys, key}, leaf.head))
        else:
            self._split(sha256, prefix, {*leaf.keys, key}, leaf.head)

    def mark_aside(self, sha256: str) -> None:
        """Record that a user of a body sets it aside. A list that cannot be read is left unchanged."""
        root = self._read(sha256, "")
        if root is not None:
            self._marked(sha256, root, aside=True)

    def replace(self, sha256: str, keys: Iterable[str], *, complete: bool, aside: bool | None = None) -> None:
        """Replace the list of a body."""
        self._durable.write(self._layout.ref(sha256), _text(keys, _Head(complete=complete, aside=aside)))

    def remove(self, sha256: str) -> None:
        """Delete the list of a body that is about to be deleted."""
        self._durable.remove(self._layout.ref(sha256))
        # Without the list its parts have no meaning, so they may reappear.
        folder = self._layout.ref_parts(sha256)
        with contextlib.suppress(OSError):
            for path in files_in(folder):
                path.unlink(missing_ok=True)
            folder.rmdir()

    # Inside

    def _begin(self, sha256: str, key: str, *, body_is_new: bool, aside: bool) -> None:
        if body_is_new and not self._layout.ref(sha256).exists():
            first = _text([key], _Head(complete=True, aside=aside))
            self._durable.write_unsynced(self._layout.ref(sha256), first)
        else:
            self.replace(sha256, [key], complete=False, aside=aside)

    def _marked(self, sha256: str, root: _UserList, *, aside: bool) -> _UserList:
        if root.head.aside is aside:
            return root
        marked = _UserList(root.keys, replace(root.head, aside=aside))
        self._durable.write(self._layout.ref(sha256), _text(marked.keys, marked.head))
        return marked

    def _read(self, sha256: str, prefix: str) -> _UserList | None:
        try:
            return _parsed(read_regular(self._layout.ref_part(sha256, prefix)), prefix)
        except OSError:
            return None

    def _required(self, sha256: str, prefix: str) -> _UserList:
        node = self._read(sha256, prefix)
        if node is None:
            raise ListUnreadable(f"the users of {sha256} below {prefix!r}")
        return node

    def _leaf_of(self, sha256: str, key: str, root: _UserList) -> tuple[str, _UserList]:
        """Return the prefix and the keys of the file that names `key`, or would name it."""
        node = root
        for length in range(len(key)):
            if not node.head.is_split:
                return key[:length], node
            node = self._required(sha256, key[: length + 1])
        raise ListUnreadable(f"the users of {sha256}: parts for every digit")

    def _walk(self, sha256: str, prefix: str, *, above: str) -> Iterator[str]:
        node = self._required(sha256, prefix)
        yield from sorted(key for key in node.keys if key > above)
        if node.head.is_split and len(prefix) < len(sha256):
            for part in (prefix + digit for digit in PARTS):
                if part >= above[: len(part)]:
                    yield from self._walk(sha256, part, above=above)

    def _split(self, sha256: str, prefix: str, keys: set[str], head: _Head) -> None:
        """Divide keys into parts. A part that would be too long is divided again."""
        folder = self._layout.ref_parts(sha256)
        self._durable.ensure_folder(folder)
        if not prefix:
            # An earlier folder of this name that was deleted without fsync must not reappear behind the new list.
            sync_folder(folder.parent)
        parts = {}
        for digit in PARTS:
            those = {key for key in keys if key[len(prefix)] == digit}
            if len(those) > MAX_KEYS:
                self._split(sha256, prefix + digit, those, _PART)
            else:
                parts[self._layout.ref_part(sha256, prefix + digit)] = _text(those, _PART)
        self._durable.write_several(folder, parts)
        self._durable.write(self._layout.ref_part(sha256, prefix), _text((), replace(head, is_split=True)))


def _text(keys: Iterable[str], head: _Head) -> bytes:
    lines = [head.line, *sorted(keys)]
    # The count at the end distinguishes a torn file from a complete one.
    return "\n".join([*lines, f"end {len(lines) - 1}", ""]).encode("ascii")


def _parsed(text: bytes, prefix: str) -> _UserList | None:
    line, _, rest = text.partition(b"\n")
    head = _HEADS.get(line)
    lines, found, count = rest.rpartition(b"end ")
    if head is None or not found or _keys_below(prefix).fullmatch(lines) is None:
        return None
    keys = lines.decode("ascii").split()
    if count != b"%d\n" % len(keys) or (head.is_split and keys):
        return None
    return _UserList(frozenset(keys), head)


@functools.lru_cache(maxsize=1024)
def _keys_below(prefix: str) -> re.Pattern[bytes]:
    """Return a pattern of lines that hold one key with this prefix each. It is faster than a check of each key."""
    return re.compile(b"(?:%s[0-9a-f]{%d}\n)*+" % (prefix.encode("ascii"), _KEY_DIGITS - len(prefix)))
