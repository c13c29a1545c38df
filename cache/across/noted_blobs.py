"""Blobs whose changes are noted for the catalogue. Blocking."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from cache.across.seams import Blobs, BlobState, ChangeNotes, Kind, OpenBlob


class NoNotes:
    """Notes for a store that has no catalogue."""

    def changing(self, _kind: Kind, _key: str) -> AbstractContextManager[None]:
        """Return a block that takes no note."""
        return nullcontext()


class NotedBlobs:
    """The blobs of a room, each change of which is noted; see `Blobs` for the contract of each method."""

    def __init__(self, blobs: Blobs, notes: ChangeNotes, kind: Kind) -> None:
        self._blobs = blobs
        self._notes = notes
        self._kind = kind
        self.where = blobs.where
        self.state = blobs.state
        self.read = blobs.read
        self.settle = blobs.settle
        self.adopt = blobs.adopt
        self.shards = blobs.shards
        self.irregular = blobs.irregular
        self.list = blobs.list

    def opened(self, name: str) -> AbstractContextManager[OpenBlob]:
        """Open a blob."""
        return self._blobs.opened(name)

    def write(self, name: str, content: bytes | Path, *, known: BlobState | None) -> None:
        """Note and write a blob."""
        with self._notes.changing(self._kind, name):
            self._blobs.write(name, content, known=known)

    def take_back(self, name: str, aside: Path) -> None:
        """Note and undo a write."""
        with self._notes.changing(self._kind, name):
            self._blobs.take_back(name, aside)

    def delete(self, name: str, *, known: BlobState | None) -> bool:
        """Note and delete a blob."""
        with self._notes.changing(self._kind, name):
            return self._blobs.delete(name, known=known)
