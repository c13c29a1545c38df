"""Entry files: reads the entries of a store, intact or damaged. Blocking.

`keeper.py` decides who may change them and in which order.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import compile as pattern

from cache.across.seams import Blobs, BlobState
from cache.base.entry import MAX_ENTRY_BYTES, Entry, Former
from cache.base.errors import EntryUnreadable
from cache.base.keys import source_key
from cache.base.opening import read_regular

log = logging.getLogger(__name__)

_MEDIA_TYPE = pattern(rb'"media_type": "([a-z0-9.+-]+/[a-z0-9.+-]+)"')
_UNKNOWN_TYPE = "application/octet-stream"
_MAX_TOLD = 1024
"""The most faults to remember, so that each is logged once."""

_ANY_DIGEST = pattern(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """What a writer knows of an entry. entry: None if there is none or it cannot be read. state: the state of its
    blob."""

    entry: Entry | None
    state: BlobState | None


class EntryFiles:
    """The entries of a store, by the keys of their sources."""

    def __init__(self, entries: Blobs, bodies: Blobs) -> None:
        self._entries = entries
        self._bodies = bodies
        self._told: dict[str, tuple[str, BlobState | None]] = {}

    def entry(self, key: str) -> Entry | None:
        """Return an entry, or None if there is none or it cannot be read."""
        return self._read(key).entry

    def is_unreadable(self, key: str) -> bool:
        """Return whether something lies in the place of an entry that cannot be read as one."""
        try:
            self._entries.read(key, 1)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return self.entry(key) is None

    def known(self, key: str) -> KnownEntry:
        """Return an entry that is about to be changed.

        Raises:
            OSError: it cannot be determined whether there is one.
        """
        known = self._read(key)
        return known if known.state is not None else KnownEntry(None, self._entries.state(key))

    def previous(self, url: str) -> KnownEntry:
        """Return `known` of a source, or else `salvaged`. A source that is not kept costs one look-up.

        Raises:
            OSError: as for `known`.
        """
        key = source_key(url)
        if self._entries.state(key) is None:
            return KnownEntry(None, None)
        known = self.known(key)
        return known if known.entry is not None else KnownEntry(self.salvaged(url), known.state)

    def salvaged(self, url: str) -> Entry | None:
        """Return what can be recovered of a damaged entry: its type, and those of its bodies that exist.

        The first digest in the text of an entry is that of its current body. The others are its history.
        """
        try:
            text = self._text(source_key(url))
            states = {digest: self._bodies.state(digest) for digest in named_in(text)}
        except OSError:
            return None
        media_type = _MEDIA_TYPE.search(text)
        bodies = [
            Former(digest, state.size, media_type[1].decode("ascii") if media_type else _UNKNOWN_TYPE, 0.0)
            for digest, state in states.items()
            if state is not None
        ]
        return Entry.of_body(url, bodies[0], tuple(bodies[1:])) if bodies else None

    def named_bodies(self, key: str) -> tuple[str, ...]:
        """Return the bodies that an entry names, even if the entry is damaged."""
        entry = self.entry(key)
        if entry is not None:
            return entry.digests
        with contextlib.suppress(OSError):
            return named_in(self._text(key))
        return ()

    def names(self, key: str, sha256: str) -> bool:
        """Return whether an entry names a body. A digest in an unreadable entry counts, because no body is deleted on a
        guess."""
        try:
            return sha256.encode("ascii") in self._text(key)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def naming(self, sha256: str) -> Iterator[str]:
        """Yield the key of every entry that names a body, by reading all entries, and of each that cannot be read."""
        for key in itertools.chain((key for key, _ in self._entries.list()), self._entries.irregular()):
            # Searching the text for the digest also finds damaged entries.
            if self.names(key, sha256):
                yield key

    def _text(self, key: str) -> bytes:
        return self._entries.read(key, MAX_ENTRY_BYTES + 1).data

    def _read(self, key: str) -> KnownEntry:
        try:
            blob = self._entries.read(key, MAX_ENTRY_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return KnownEntry(None, None)
        except OSError as error:
            self._tell(key, f"cannot be read: {error}", None)
            return KnownEntry(None, None)
        try:
            entry = Entry.from_json(blob.data)
        except EntryUnreadable as error:
            self._tell(key, f"cannot be read: {error}", blob.state)
            return KnownEntry(None, blob.state)
        if entry.key != key:
            self._tell(key, "is that of another source", blob.state)
            return KnownEntry(None, blob.state)
        self._told.pop(key, None)
        return KnownEntry(entry, blob.state)

    def _tell(self, key: str, fault: str, state: BlobState | None) -> None:
        """Log a fault, once for each state of an entry: one request reads it several times."""
        if self._told.get(key) == (fault, state):
            return
        if len(self._told) >= _MAX_TOLD:
            self._told.clear()
        self._told[key] = fault, state
        log.warning("the entry %s %s", self._entries.where(key), fault)


def read_bounded(path: Path) -> bytes:
    """Return the bytes of an entry file. One byte more than an entry may have is enough to detect a longer file."""
    return read_regular(path, MAX_ENTRY_BYTES + 1)


def named_in(text: bytes) -> tuple[str, ...]:
    """Return every digest in the text of an entry, whether the text is valid or not."""
    return tuple(dict.fromkeys(digest.decode("ascii") for digest in _ANY_DIGEST.findall(text)))
