"""Exclusion by key across tasks, event loops of threads, and processes, without lock files to clean up.

A single file holds all locks. The lock of a key is one byte far out in it, at an offset made of the key's digest (62
bits; two keys that share a byte, which is most unlikely, only wait for each other). The kernel releases the locks of a
process that dies. It uses open-file-description locks if they exist (Linux), else POSIX record locks. Runs on the event
loop: taking a free lock takes two system calls and never blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import logging
import math
import os
import random
import struct
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cache.base.errors import StoreBusy
from cache.base.opening import make_private, open_regular

log = logging.getLogger(__name__)

LONGEST_HOLD_SECONDS = 60.0
"""How long another process of ours may hold a key: a fetch and its render, both at their limits."""

FOREIGN_HOLD_SECONDS = 2.0
"""How long to wait for a lock that no process of ours can have taken."""

BUSY_SECONDS = 300.0
FIRST_WAIT_SECONDS = 0.002
LONGEST_WAIT_SECONDS = 0.025
_OFFSET_BITS = 62
_FLOCK = "hhqqi4x"
"""`struct flock` of Linux: type, whence, start, length, pid (0 for these locks) and padding."""

_GET_LOCK: int | None = getattr(fcntl, "F_OFD_GETLK", None) if sys.platform == "linux" else None
_SET_LOCK: int | None = getattr(fcntl, "F_OFD_SETLK", None) if sys.platform == "linux" else None


@dataclass(slots=True)
class _Waiters:
    """The tasks of this process that want the same key."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    count: int = 0


@dataclass(slots=True)
class _LockFile:
    """An open lock file. It is closed when no lock in it is held any more and a newer file has replaced it."""

    descriptor: int
    identity: tuple[int, int]
    pid: int
    held: int = 0
    retired: bool = False


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key that is held until `release`. waited: whether somebody held it before."""

    locks: KeyLocks
    key: str
    waiters: _Waiters
    file: _LockFile
    offset: int
    waited: bool

    def release(self) -> None:
        """Release the key."""
        self.locks.let_go(self)


class KeyLocks:
    """Locks keys.

    1. The tasks of a process queue at an `asyncio.Lock`, so that only one of them asks the kernel.
    2. The kernel is asked without blocking. While another process holds the key, we wait 2 ms and then longer, up to 25
       ms. Each wait varies at random, so that many waiters do not ask at the same time.
    3. When the key is held, the file is compared with the one at its path. If the file has vanished or was replaced,
       the new one is opened and the key is taken there, so that we agree with processes that start later. Processes
       that held keys in the old file at that moment are not excluded; this cannot be avoided.
    4. No wait is longer than any work of ours. A lock that we never take, because it is shared or covers more than one
       byte, belongs to another program that can read the file. We give up on it after two seconds.

    Raises OSError if no lock file can be made (read-only disk), and StoreBusy if a key is not released.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: _LockFile | None = None
        self._waiters: dict[str, _Waiters] = {}
        self._busy_at = -math.inf

    @property
    def lately_busy(self) -> bool:
        """Whether a key was not released during the last minutes."""
        return time.monotonic() - self._busy_at < BUSY_SECONDS

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[bool]:
        """Exclude every other holder of `key` on this machine; yield whether somebody held it. Not re-entrant."""
        held = await self.acquire(key)
        try:
            yield held.waited
        finally:
            held.release()

    async def acquire(self, key: str) -> HeldKey:
        """Take `key` like `hold`. The caller must release it."""
        waiters = self._waiters.setdefault(key, _Waiters())
        waiters.count += 1
        try:
            return await self._taken(key, waiters)
        except BaseException:
            self._leave(key, waiters)
            raise

    async def _taken(self, key: str, waiters: _Waiters) -> HeldKey:
        offset = offset_of(key)
        waited = waiters.lock.locked()
        if waiters.count == 1 and (free := self._try(offset)) is not None:
            # Nobody else in this process wants the key, so this does not wait and needs no timer.
            await waiters.lock.acquire()
            return HeldKey(self, key, waiters, free, offset, waited=False)
        try:
            async with asyncio.timeout(LONGEST_HOLD_SECONDS):
                await waiters.lock.acquire()
                try:
                    file = self._try(offset)
                    if file is None:
                        waited, file = True, await self._acquired(offset)
                except BaseException:
                    waiters.lock.release()
                    raise
        except TimeoutError:
            raise self._busy(key) from None
        return HeldKey(self, key, waiters, file, offset, waited=waited)

    def _leave(self, key: str, waiters: _Waiters) -> None:
        waiters.count -= 1
        if not waiters.count:
            self._waiters.pop(key, None)

    @contextlib.asynccontextmanager
    async def held_if_free(self, key: str) -> AsyncIterator[bool]:
        """Exclude every other holder of `key` and yield True, or yield False at once if there is one."""
        waiters = self._waiters.setdefault(key, _Waiters())
        waiters.count += 1
        try:
            if waiters.lock.locked():
                yield False
                return
            async with waiters.lock:
                offset = offset_of(key)
                file = self._try(offset)
                try:
                    yield file is not None
                finally:
                    if file is not None:
                        self._let_go(file, offset)
        finally:
            self._leave(key, waiters)

    def close(self) -> None:
        """Close the file as soon as no lock is held."""
        self._retire()

    def _busy(self, key: str) -> StoreBusy:
        self._busy_at = time.monotonic()
        log.error("the lock of %r in %s is not released; is it held by another program?", key, self._path)
        return StoreBusy(f"a lock in {self._path} is not released")

    async def _acquired(self, offset: int) -> _LockFile:
        wait, waited = FIRST_WAIT_SECONDS, 0.0
        while True:
            waited += wait
            if waited > FOREIGN_HOLD_SECONDS and self._is_foreign(offset):
                raise TimeoutError
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            file = self._try(offset)
            if file is not None:
                return file
            wait = min(wait * 1.6, LONGEST_WAIT_SECONDS)

    def _try(self, offset: int) -> _LockFile | None:
        file = self._current()
        if not _lock(file.descriptor, offset):
            return None
        if file.identity != _identity(self._path):
            _unlock(file.descriptor, offset)
            self._retire()
            return self._try_again(offset)
        file.held += 1
        return file

    def _is_foreign(self, offset: int) -> bool:
        """Return whether a key is blocked by a kind of lock that we never take."""
        if _GET_LOCK is None:
            return False
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
        try:
            found = fcntl.fcntl(self._current().descriptor, _GET_LOCK, asked)
        except OSError:
            return False
        kind, _, _, length, _ = struct.unpack(_FLOCK, found)
        return bool(kind == fcntl.F_RDLCK or (kind == fcntl.F_WRLCK and length != 1))

    def _try_again(self, offset: int) -> _LockFile | None:
        file = self._current()
        if not _lock(file.descriptor, offset):
            return None
        file.held += 1
        return file

    def let_go(self, held: HeldKey) -> None:
        """Release a key; called by `HeldKey.release`."""
        try:
            self._let_go(held.file, held.offset)
        finally:
            held.waiters.lock.release()
            self._leave(held.key, held.waiters)

    def _let_go(self, file: _LockFile, offset: int) -> None:
        _unlock(file.descriptor, offset)
        file.held -= 1
        if file.retired and not file.held:
            _close(file.descriptor)

    def _current(self) -> _LockFile:
        # After a fork, the child shares the parent's open file and with it the parent's locks. It needs its own file.
        if self._file is not None and self._file.pid != os.getpid():
            self._file = None
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_regular(self._path, os.O_RDWR | os.O_CREAT)
            # A user who can read the file can lock it, and a single shared lock would block everybody.
            make_private(descriptor)
            status = os.fstat(descriptor)
            self._file = _LockFile(descriptor, (status.st_dev, status.st_ino), os.getpid())
        return self._file

    def _retire(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        file.retired = True
        if not file.held:
            _close(file.descriptor)


def offset_of(key: str) -> int:
    """Return the offset of the byte that represents `key` in the lock file."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - _OFFSET_BITS)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _lock(descriptor: int, offset: int) -> bool:
    try:
        _set(descriptor, fcntl.F_WRLCK, offset)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def _close(descriptor: int) -> None:
    # A network disk may report an error here. The descriptor is closed all the same.
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _unlock(descriptor: int, offset: int) -> None:
    with contextlib.suppress(OSError):
        _set(descriptor, fcntl.F_UNLCK, offset)


def _set(descriptor: int, kind: int, offset: int) -> None:
    if _SET_LOCK is None:
        command = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(descriptor, command, 1, offset, os.SEEK_SET)
        return
    fcntl.fcntl(descriptor, _SET_LOCK, struct.pack(_FLOCK, kind, os.SEEK_SET, offset, 1, 0))
