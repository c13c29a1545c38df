"""Blobs as plain files, one for each. Blocking: runs in the store's threads.

The version of a blob is the inode, the size and the modification time of its file. A file of the store is replaced by
rename and never written to. Two changes within one tick of the filesystem's clock might look alike, but the holder of
the key sees only its own changes. Knows nothing of the meaning of the bytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cache.across.seams import Blob, BlobState
from cache.base.durable import Durable
from cache.base.errors import BlobChanged
from cache.base.layout import is_digest
from cache.base.opening import open_regular, read_whole, regular_status
from cache.base.shards import shards_of, sized_files

SHARD_DIGITS = 2


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file. It does not change when another file takes its name."""

    state: BlobState
    descriptor: int

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on, fewer at the end.

        Raises:
            OSError: they cannot be read.
        """
        return os.pread(self.descriptor, size, start)


class FileBlobs:
    """The blobs of one room of the store; see `Blobs` for the contract of each method.

    place: returns the path of a name: the room, its first two digits, and the name with a suffix.
    """

    def __init__(self, place: Callable[[str], Path], durable: Durable) -> None:
        sample = place("0" * 64)
        self._room = sample.parent.parent
        self._suffix = sample.suffix
        self._place = place
        self._durable = durable

    def where(self, name: str) -> str:
        """Return the path."""
        return str(self._place(name))

    def state(self, name: str) -> BlobState | None:
        """Return the state of a regular file."""
        status = regular_status(self._place(name))
        return None if status is None else _state_of(status)

    def read(self, name: str, max_bytes: int = -1) -> Blob:
        """Return the bytes of a regular file."""
        descriptor = open_regular(self._place(name))
        try:
            state = _state_of(os.fstat(descriptor))
            wanted = state.size if max_bytes < 0 else min(state.size, max_bytes)
            return Blob(read_whole(descriptor, wanted), state)
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[OpenFile]:
        """Open a regular file for a block."""
        descriptor = open_regular(self._place(name))
        try:
            yield OpenFile(_state_of(os.fstat(descriptor)), descriptor)
        finally:
            os.close(descriptor)

    def write(self, name: str, content: bytes | Path, *, known: BlobState | None) -> None:
        """Write aside unless the file is aside already, fsync, rename, fsync the folder."""
        self._require(name, known)
        if isinstance(content, bytes):
            self._durable.write(self._place(name), content)
        else:
            self._durable.place(content, self._place(name))

    def take_back(self, name: str, aside: Path) -> None:
        """Rename the file back."""
        with contextlib.suppress(OSError):
            self._place(name).replace(aside)

    def delete(self, name: str, *, known: BlobState | None) -> bool:
        """Unlink and fsync the folder."""
        self._require(name, known)
        return self._durable.remove(self._place(name))

    def settle(self, name: str) -> None:
        """Fsync the folder, unless this process has done so since its last change."""
        self._durable.settle(self._place(name).parent)

    def adopt(self, name: str) -> None:
        """Fsync the folder and its name in its parent, as `write` does."""
        self._durable.ensure_folder(self._place(name).parent)
        self.settle(name)

    def shards(self) -> Sequence[str]:
        """Return the names of the folders."""
        return shards_of(self._room)

    def irregular(self) -> Iterator[str]:
        """Search all folders for anything but regular files, such as a symbolic link."""
        for path in self._room.glob(f"??/*{self._suffix}"):
            name = path.name.removesuffix(self._suffix)
            if is_digest(name) and regular_status(path) is None:
                yield name

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Read the folders that the prefix allows, one after the other."""
        shard = prefix[:SHARD_DIGITS]
        for folder in [shard] if len(shard) == SHARD_DIGITS else self.shards():
            for file_name, size in sized_files(self._room / folder):
                name = file_name.removesuffix(self._suffix)
                is_ours = is_digest(name) and file_name == name + self._suffix and name.startswith(folder)
                if is_ours and name.startswith(prefix):
                    yield name, size

    def _require(self, name: str, known: BlobState | None) -> None:
        state = self.state(name)
        if state != known:
            raise BlobChanged(f"{self.where(name)} {_change(known, state)}")


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return a version that changes when a file is replaced or written to."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def _state_of(status: os.stat_result) -> BlobState:
    return BlobState(status.st_size, identity_of(status))


def _change(known: BlobState | None, state: BlobState | None) -> str:
    if known is None:
        return "is there already"
    return "is gone" if state is None else "was changed meanwhile"
