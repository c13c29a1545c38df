"""Bodies: checks whether their bytes are undamaged, and gives access to their files.

A body is compared with its digest when this process first reads it, and again when its version has changed. What to do
about damage is decided elsewhere. `Bodies` is blocking and runs in the store's threads; `BodyFiles` runs on the event
loop.
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
"""The number of bodies to remember, about 450 bytes each. Those read longest ago are forgotten, and compared again when
they are read."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The result of examining a body: whether its digest matches, its size, and the version that was read."""

    is_sound: bool
    size: int
    identity: Version


class Bodies:
    """The bodies that this process has read. `on_damage` is called for each damaged one, once for each state."""

    def __init__(self, blobs: Blobs, on_damage: Callable[[str, Condition], None]) -> None:
        self._blobs = blobs
        self._on_damage = on_damage
        self._known: OrderedDict[str, Condition] = OrderedDict()
        self._turn = threading.Lock()

    def condition(self, sha256: str) -> Condition:
        """Return the condition of a body.

        Raises:
            OSError: it does not exist, or cannot be read.
        """
        condition, is_news = self._compared(sha256)
        if is_news and not condition.is_sound:
            log.error("the body %s is not as it was kept", self._blobs.where(sha256))
            self._on_damage(sha256, condition)
        return condition

    def is_whole(self, sha256: str) -> bool:
        """Return whether an undamaged body exists. Damage is not reported, because the body is about to be replaced."""
        try:
            condition, _ = self._compared(sha256, remember_damage=False)
        except OSError:
            return False
        return condition.is_sound

    def _compared(self, sha256: str, *, remember_damage: bool = True) -> tuple[Condition, bool]:
        """Return the condition of a body, and whether its bytes had to be read to find out."""
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
    """Bodies as files of this machine. Only here do they leave `cache` as paths.

    A store whose bodies are on another machine must fetch a body in `local`, `opened` and `found`.
    """

    def __init__(self, layout: Layout, threads: StoreThreads) -> None:
        self.folder = LocalFile(layout.bodies)
        self._layout = layout
        self._threads = threads
        self._page_cache = PageCache(layout.root)

    async def local(self, sha256: str) -> LocalFile:
        """Return the file of a body. If the body is not kept, no such file exists."""
        return LocalFile(self._layout.body(sha256))

    def opened(self, sha256: str) -> BinaryIO:
        """Return a body as an open file, which the caller must close. Blocking.

        Raises:
            OSError: it does not exist or cannot be read.
        """
        return os.fdopen(open_regular(self._layout.body(sha256)), "rb")

    async def read(self, sha256: str) -> bytes:
        """Return a whole body.

        Raises:
            OSError: it does not exist or cannot be read.
        """
        path = self._layout.body(sha256)
        async with aiofiles.open(path, "rb", opener=_opener, executor=self._threads.executor) as reader:
            return await reader.read()

    async def found(self, sha256: str) -> KeptFile | None:
        """Return the file of a body in its present state, or None if there is none or this cannot be determined."""
        path = self._layout.body(sha256)
        try:
            status = await self._threads.read(regular_status, path)
        except OSError:
            return None
        return KeptFile(sha256, os.fsencode(path), FileState.of(status)) if status else None

    def read_at_hand(self, file: KeptFile) -> bytes | None:
        """Return the bytes of a file that was found, or None if reading them would have to wait for the disk."""
        return self._page_cache.read(file.path, file.state)

    def is_at_hand(self, file: KeptFile) -> bool:
        """Return whether a file is unchanged since it was found and can be read without waiting for the disk."""
        return self._page_cache.holds(file.path, file.state)


def _opener(path: str, flags: int) -> int:
    return open_regular(Path(path), flags)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with os.fdopen(open_regular(path), "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


class _BlobReader(io.RawIOBase):
    """The bytes of a blob from its beginning, in the form in which hashlib reads a file."""

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
