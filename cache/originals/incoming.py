"""Incoming: a body that is being received, written aside and hashed as it arrives.

Does not decide what the bytes are or whether they are kept. Runs on the event loop, files in the store's threads. If
the store's disk accepts no more, the body moves to a folder that the owner named, or to the system's temporary folder.
It can then be read and served, but not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cache.across.elsewhere import Elsewhere
from cache.base.durable import create_aside, refusal, sync_descriptor, write_all
from cache.base.errors import NotKept, StoreHangs, StoreUnwritable
from cache.base.layout import Layout, size_of
from cache.base.opening import LocalFile
from cache.base.threads import StoreThreads
from cache.originals.keeper import Arrived

log = logging.getLogger(__name__)

BLOCK_BYTES = 1024 * 1024
"""How many bytes to collect before a thread hashes and writes them. A change of thread costs as much as some hundred
KB."""


@dataclass(frozen=True, slots=True)
class _Begun:
    """A file aside that contains the first block, and the digest so far."""

    descriptor: int
    path: Path
    digest: hashlib._Hash


class Incoming:
    """A body that is being received.

    1. `write` collects blocks, hashes and appends them. The first block creates the file.
    2. `finish` flushes. From here on `path` can be read by anyone, and `sha256` is known.
    3. `sync` makes the disk write it, unless the store has these bytes already. Readers need not wait for that.
    4. `Originals.commit` renames it. Leaving the block removes a body that was not committed.

    `refusal` says why the body cannot be kept, once that is known. A failed fsync is final: the kernel reports it once,
    and a second fsync would wrongly report success.
    """

    def __init__(self, layout: Layout, threads: StoreThreads, elsewhere: Elsewhere | None = None) -> None:
        self.path = LocalFile(Path())
        self.size = 0
        self.refusal: NotKept | None = None
        self._layout = layout
        self._elsewhere = elsewhere
        self._threads = threads
        self._digest = hashlib.sha256()
        self._sha256: str | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: io.BufferedWriter | None = None
        self._temporary: Path | None = None
        self._synced = False
        self._is_on_disk = False
        self._was_kept_before = False
        self._syncing = asyncio.Lock()
        self._commit: asyncio.Task[None] | None = None

    @property
    def sha256(self) -> str:
        """The digest of the whole body.

        Raises:
            ValueError: it is not finished.
        """
        if self._sha256 is None:
            raise ValueError("the body is not finished")
        return self._sha256

    @property
    def may_lie_in_place(self) -> bool:
        """Whether a body of this digest at its final place may be this one: it can be committed, and there was no
        other."""
        return self._synced and not self._was_kept_before

    async def __aenter__(self) -> Self:
        # Nothing is opened yet, because many bodies may wait for their origins and descriptors are few.
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._commit is not None and not self._commit.done():
            self._threads.keep(asyncio.create_task(self._discard_after(self._commit)))
        elif self._file is not None or self._temporary is not None:
            await self._threads.write_later(self._discard)

    async def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            StoreUnwritable: neither the store nor the temporary folder accepts them.
        """
        if self._sha256 is not None:
            raise ValueError("the body is finished")
        self._pending.append(chunk)
        self._pending_bytes += len(chunk)
        self.size += len(chunk)
        if self._pending_bytes >= BLOCK_BYTES:
            await self._flush()

    async def finish(self) -> None:
        """Write the remaining bytes. The body is then complete and readable at `path`."""
        await self._flush()
        self._sha256 = self._digest.hexdigest()

    async def sync(self) -> None:
        """Make the disk write the body, unless one of its digest and size is kept. Later calls wait for the first one.

        Raises:
            StoreFull, StoreUnwritable: the disk reported an error, now or before.
        """
        async with self._syncing:
            if not self._synced and self.refusal is None:
                await self._sync_once()
        if self.refusal is not None:
            raise self.refusal

    def arrived(self) -> Arrived:
        """Return the body as the keeper takes it."""
        return Arrived(self.path, self.sha256, self.size, self._write_out)

    def outlive(self, commit: asyncio.Task[None]) -> None:
        """Stay open until a commit that continues by itself has ended."""
        self._commit = commit

    def settle(self, path: Path) -> None:
        """Record that the file has its final place `path`, and close it. Blocking: in one of the store's threads."""
        self.path, self._temporary = LocalFile(path), None
        self._close()

    def follow(self, path: Path) -> bool:
        """Record that the file is at `path` if it is gone from its former place; return whether that was so."""
        if self.path != path and (size_of(self.path) is not None or size_of(path) is None):
            return False
        self.path, self._temporary = LocalFile(path), None
        return True

    async def _sync_once(self) -> None:
        if self._file is None:
            raise ValueError("the body is not open")
        descriptor = self._file.fileno()
        try:
            await self._threads.try_write(lambda: self._written_out(descriptor))
        except StoreHangs as error:
            log.error("fsync of an incoming body does not end")
            self.refusal = error
        except OSError as error:
            log.error("fsync of an incoming body failed: %s", error)
            self.refusal = refusal(error)
        else:
            self._synced = True

    async def _flush(self) -> None:
        block, self._pending, self._pending_bytes = self._pending, [], 0
        if self._file is None and await self._begun(block):
            return
        # The page cache accepts a block even while the disk is busy with fsync.
        await self._threads.read(self._take, block)

    async def _begun(self, block: list[bytes]) -> bool:
        """Create the file with its first block, in one job; return whether the block is in it."""
        try:
            begun = await self._threads.try_write(lambda: self._create(block), late=_dropped)
        except (OSError, StoreHangs) as error:
            log.warning("nothing can be kept: %s", error)
            self.refusal = refusal(error) if isinstance(error, OSError) else error
            await self._threads.read(self._open_elsewhere)
            return False
        self._use(begun.descriptor, begun.path)
        self._digest = begun.digest
        return True

    async def _discard_after(self, commit: asyncio.Task[None]) -> None:
        await asyncio.wait((commit,))
        await self._threads.write_later(self._discard)

    # In threads

    def _create(self, block: list[bytes]) -> _Begun:
        descriptor, path = create_aside(self._layout.incoming, suffix=".part", modes=self._layout.modes)
        begun = _Begun(descriptor, path, hashlib.sha256())
        try:
            for chunk in block:
                begun.digest.update(chunk)
            write_all(descriptor, block[0] if len(block) == 1 else b"".join(block))
        except BaseException:
            _dropped(begun)
            raise
        return begun

    def _written_out(self, descriptor: int) -> None:
        # Ask here, because this precedes every commit of the body.
        kept_bytes = None
        with contextlib.suppress(OSError):
            kept_bytes = size_of(self._layout.body(self.sha256))
            # The kernel now knows whether there is a list. A look-up soon afterwards needs no thread (`History`).
            size_of(self._layout.ref(self.sha256))
        self._was_kept_before = kept_bytes is not None
        # The keeper uses the kept bytes, if they are whole. If they are not, it asks for these (`arrived`).
        if kept_bytes != self.size:
            sync_descriptor(descriptor)
            self._is_on_disk = True

    def _write_out(self) -> None:
        if self._is_on_disk:
            return
        if self._file is None:
            raise ValueError("the body is not open")
        try:
            sync_descriptor(self._file.fileno())
        except OSError as error:
            self.refusal = refusal(error)
            raise
        self._is_on_disk = True

    def _take(self, block: list[bytes]) -> None:
        for chunk in block:
            self._digest.update(chunk)
        try:
            self._append(block)
        except OSError as error:
            self._move_elsewhere(error, block)

    def _append(self, block: list[bytes]) -> None:
        if self._file is None:
            raise StoreUnwritable("the body is not open")
        self._file.writelines(block)
        self._file.flush()

    def _move_elsewhere(self, error: OSError, block: list[bytes]) -> None:
        if self.refusal is not None:
            raise StoreUnwritable(f"nothing takes the body: {error.strerror}") from error
        log.warning("the store takes no more bytes: %s", error)
        self.refusal = refusal(error)
        self._move(self.size - sum(map(len, block)))
        try:
            self._append(block)
        except OSError as again:
            raise StoreUnwritable(f"nothing takes the body: {again.strerror}") from again

    def _open_elsewhere(self) -> None:
        try:
            if self._elsewhere is not None:
                descriptor, path = self._elsewhere.create()
            else:
                descriptor, name = tempfile.mkstemp(prefix="imgmirror-")
                path = Path(name)
        except OSError as error:
            raise StoreUnwritable(f"no temporary file can be made: {error.strerror}") from error
        self._use(descriptor, path)

    def _use(self, descriptor: int, path: Path) -> None:
        self.path = self._temporary = LocalFile(path)
        self._file = os.fdopen(descriptor, "wb")

    def _move(self, written: int) -> None:
        try:
            with self.path.open("rb") as reader:
                before = reader.read(written)
            self._discard()
            self._open_elsewhere()
            if self._file is not None:
                self._file.write(before)
        except OSError as error:
            raise StoreUnwritable(f"nothing takes the body: {error.strerror}") from error

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            # Bytes that a full disk refused are still buffered, and closing tries to write them again.
            with contextlib.suppress(OSError):
                file.close()

    def _discard(self) -> None:
        self._close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            self._temporary = None


def _dropped(begun: _Begun) -> None:
    """Remove a file that is not needed after all."""
    with contextlib.suppress(OSError):
        begun.path.unlink(missing_ok=True)
    os.close(begun.descriptor)
