"""Entry files: reading the entries of a store, whole or damaged. Blocking.

Refuses to know who may change them and in which order; see `keeper.py`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from re import compile as pattern

from cache.base.entry import MAX_ENTRY_BYTES, Entry, Former
from cache.base.errors import EntryUnreadable
from cache.base.keys import source_key
from cache.base.layout import Layout, size_of
from cache.base.opening import read_regular

log = logging.getLogger(__name__)

_MEDIA_TYPE = pattern(rb'"media_type": "([a-z0-9.+-]+/[a-z0-9.+-]+)"')
_UNKNOWN_TYPE = "application/octet-stream"
_ANY_DIGEST = pattern(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


class EntryFiles:
    """The entries of a store, by the keys of their sources."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def entry(self, key: str) -> Entry | None:
        """Return an entry, None when there is none or it cannot be read."""
        path = self._layout.entry(key)
        try:
            text = read_bounded(path)
            entry = Entry.from_json(text)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (EntryUnreadable, OSError) as error:
            log.warning("the entry %s cannot be read: %s", path, error)
            return None
        if entry.key != key:
            log.warning("the entry %s is that of another source", path)
            return None
        return entry

    def salvaged(self, url: str) -> Entry | None:
        """Return what can still be told of a damaged entry: its type and the bodies it names that are there.

        The first digest in the text of an entry is that of its present body, the others are its history.
        """
        try:
            text = read_bounded(self._layout.entry(source_key(url)))
            sizes = {digest: size_of(self._layout.body(digest)) for digest in named_in(text)}
        except OSError:
            return None
        media_type = _MEDIA_TYPE.search(text)
        bodies = [
            Former(digest, size, media_type[1].decode("ascii") if media_type else _UNKNOWN_TYPE, 0.0)
            for digest, size in sizes.items()
            if size is not None
        ]
        return Entry.of_body(url, bodies[0], tuple(bodies[1:])) if bodies else None

    def named_bodies(self, key: str) -> tuple[str, ...]:
        """Return the bodies that an entry names, also when the entry is damaged."""
        entry = self.entry(key)
        if entry is not None:
            return entry.digests
        with contextlib.suppress(OSError):
            return named_in(read_bounded(self._layout.entry(key)))
        return ()

    def names(self, key: str, sha256: str) -> bool:
        """Whether an entry names a body; also when it cannot be read, for a body is not deleted on a guess."""
        try:
            return sha256.encode("ascii") in read_bounded(self._layout.entry(key))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def naming(self, sha256: str) -> Iterator[str]:
        """Yield the key of every entry that names a body, reading all entries there are."""
        for path in self._layout.entries.glob("??/*.json"):
            # Looking for the digest in the text also finds damaged entries.
            if len(path.stem) == 64 and self.names(path.stem, sha256):
                yield path.stem


def read_bounded(path: Path) -> bytes:
    """Return the bytes of an entry file; one byte more than an entry may have is enough to know."""
    return read_regular(path, MAX_ENTRY_BYTES + 1)


def named_in(text: bytes) -> tuple[str, ...]:
    """Return every digest in the text of an entry, whether it can be read or not."""
    return tuple(dict.fromkeys(digest.decode("ascii") for digest in _ANY_DIGEST.findall(text)))
