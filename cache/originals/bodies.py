"""Bodies: whether their bytes are still those that were kept, and the files in which others read them.

A body is compared with its digest the first time this process reads it, and again when its version changed. Refuses to
know what to do about damage. `Bodies` is blocking and runs in the store's threads; `BodyFiles` runs on the event loop.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import aiofiles

from cache.across.seams import Blobs, OpenBlob, Version
from cache.base.layout import Layout
from cache.base.opening import LocalFile, open_regular, regular_status
from cache.base.page_cache import FileState, KeptFile, PageCache
from cache.base.threads import StoreThreads

log = logging.getLogger(__name__)

MAX_LOOKED_AT = 16_384
"""Bodies remembered, some 450 bytes each. The ones read longest ago are forgotten, and compared once more when read."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a body was found to be: whether its digest agrees, its size, and the version of it that was read."""

    is_sound: bool
    size: int
    identity: Version


class Bodies:
    """The bodies that this process has read. `on_damage` hears of each that is damaged, once for each state."""

    def __init__(self, blobs: Blobs, on_damage: Callable[[str, Condition], None]) -> None:
        self._blobs = blobs
        self._on_damage = on_damage
        self._known: OrderedDict[str, Condition] = OrderedDict()
        self._turn = threading.Lock()

    def condition(self, sha256: str) -> Condition:
        """Return the condition of a body.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        condition, is_news = self._compared(sha256)
        if is_news and not condition.is_sound:
            log.error("the body %s is not as it was kept", self._blobs.where(sha256))
            self._on_damage(sha256, condition)
        return condition

    def is_whole(self, sha256: str) -> bool:
        """Whether a body is there as it was kept; of one that is not, nobody hears: it is about to be replaced."""
        try:
            condition, _ = self._compared(sha256, remember_damage=False)
        except OSError:
            return False
        return condition.is_sound

    def _compared(self, sha256: str, *, remember_damage: bool = True) -> tuple[Condition, bool]:
        """Return the condition of a body, and whether its bytes had to be read for that."""
        known = self._known.get(sha256)
        with self._blobs.opened(sha256) as body:
            state = body.state
            if known is not None and known.identity == state.version:
                self._remember(sha256, known)
                return known, False
            is_sound = hashlib.file_digest(_BlobReader(body), "sha256").hexdigest() == sha256
        condition = Condition(is_sound, state.size, state.version)
        if is_sound or remember_damage:
            self._remember(sha256, condition)
        return condition, True

    def _remember(self, sha256: str, condition: Condition) -> None:
        with self._turn:
            self._known[sha256] = condition
            self._known.move_to_end(sha256)
            while len(self._known) > MAX_LOOKED_AT:
                self._known.popitem(last=False)


class BodyFiles:
    """Bodies as files of this machine: the one place where they leave `cache` as paths.

    A store whose bodies lie on another machine has to bring a body here in `local`, `opened` and `found`.
    """

    def __init__(self, layout: Layout, threads: StoreThreads) -> None:
        self.folder = LocalFile(layout.bodies)
        self._layout = layout
        self._threads = threads
        self._page_cache = PageCache(layout.root)

    async def local(self, sha256: str) -> LocalFile:
        """Return the file of a body. Where none is kept, there is no such file."""
        return LocalFile(self._layout.body(sha256))

    def opened(self, sha256: str) -> BinaryIO:
        """Return a body as an open file, which the caller closes. Blocking.

        Raises:
            OSError: it is not there or cannot be read.
        """
        return os.fdopen(open_regular(self._layout.body(sha256)), "rb")

    async def read(self, sha256: str) -> bytes:
        """Return a whole body.

        Raises:
            OSError: it is not there or cannot be read.
        """
        path = self._layout.body(sha256)
        async with aiofiles.open(path, "rb", opener=_opener, executor=self._threads.executor) as reader:
            return await reader.read()

    async def found(self, sha256: str) -> KeptFile | None:
        """Return the file of a body in the state it has now; None when there is none, or nobody can tell."""
        path = self._layout.body(sha256)
        try:
            status = await self._threads.read(regular_status, path)
        except OSError:
            return None
        return KeptFile(sha256, os.fsencode(path), FileState.of(status)) if status else None

    def read_at_hand(self, file: KeptFile) -> bytes | None:
        """Return the bytes of a file that was found, or None when reading them would wait for the disk."""
        return self._page_cache.read(file.path, file.state)

    def is_at_hand(self, file: KeptFile) -> bool:
        """Return whether a file is as it was found and can be read without waiting for the disk."""
        return self._page_cache.holds(file.path, file.state)


def _opener(path: str, flags: int) -> int:
    return open_regular(Path(path), flags)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with os.fdopen(open_regular(path), "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


class _BlobReader(io.RawIOBase):
    """The bytes of a blob from its beginning on, as hashlib reads a file."""

    def __init__(self, blob: OpenBlob) -> None:
        self._blob = blob
        self._start = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._blob.read(self._start, len(buffer))
        buffer[: len(piece)] = piece
        self._start += len(piece)
        return len(piece)
