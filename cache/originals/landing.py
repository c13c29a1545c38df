"""Landing: a body that a thread writes aside, as `Incoming` does on the event loop. Blocking.

It is for bodies from other files. They are hashed while they are read, and fsynced at their end.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from cache.base.durable import create_aside, refusal, sync_descriptor, write_all
from cache.base.layout import Layout
from cache.base.opening import LocalFile
from cache.originals.keeper import Arrived

BLOCK_BYTES = 256 * 1024
HEAD_BYTES = 4096


class Landing:
    """A body that is being written. Leaving the block removes it unless `finish` has given it away.

    Raises from every method: StoreFull, StoreUnwritable.
    """

    def __init__(self, layout: Layout) -> None:
        self.size = 0
        self.head = b""
        self._layout = layout
        self._digest = hashlib.sha256()
        self._pending = bytearray()
        self._descriptor = -1
        self._path: Path | None = None

    def __enter__(self) -> Self:
        try:
            self._descriptor, self._path = create_aside(
                self._layout.incoming, suffix=".part", modes=self._layout.modes
            )
        except OSError as error:
            raise refusal(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        if len(self.head) < HEAD_BYTES:
            self.head += piece[: HEAD_BYTES - len(self.head)]
        self._digest.update(piece)
        self.size += len(piece)
        self._pending += piece
        if len(self._pending) >= BLOCK_BYTES:
            self._flush()

    def finish(self) -> Landed:
        """Return the whole body, fsynced. The caller must close it."""
        self._flush()
        try:
            sync_descriptor(self._descriptor)
        except OSError as error:
            raise refusal(error) from error
        if self._path is None:
            raise ValueError("the body is not open")
        descriptor, self._descriptor = self._descriptor, -1
        arrived = Arrived(LocalFile(self._path), self._digest.hexdigest(), self.size, _on_disk_already)
        return Landed(arrived, self.head, descriptor)

    def _flush(self) -> None:
        block, self._pending = bytes(self._pending), bytearray()
        try:
            write_all(self._descriptor, block)
        except OSError as error:
            raise refusal(error) from error


def _on_disk_already() -> None:
    """Do nothing: `finish` has fsynced the body."""


class Landed:
    """A whole body aside. Its file is locked, so that nobody takes it for a leftover.

    head: its first 4 KiB. modified_at: when the file that it was copied from last changed, Unix seconds; 0 if unknown.
    """

    def __init__(self, arrived: Arrived, head: bytes, descriptor: int) -> None:
        self.arrived = arrived
        self.head = head
        self.modified_at = 0.0
        self._descriptor = descriptor

    def close(self) -> None:
        """Remove the file unless it was moved to its final place."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(OSError):
            self.arrived.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1
