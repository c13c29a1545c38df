"""Bodies: whether the bytes on the disk are still those that were kept. Blocking: runs in the store's threads.

A body is compared with its digest the first time this process reads it, and again when its inode, size or modification
time changed. Refuses to know what to do about damage.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache.base.layout import Layout
from cache.base.opening import open_regular

log = logging.getLogger(__name__)

MAX_LOOKED_AT = 65_536
"""Bodies remembered, some 200 bytes each. When there are more, all are forgotten and compared once more."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a body was found to be: whether its digest agrees, its size, and `identity_of` its file."""

    is_sound: bool
    size: int
    identity: tuple[int, ...]


class Bodies:
    """The bodies that this process has read. `on_damage` hears of each that is damaged, once for each state."""

    def __init__(self, layout: Layout, on_damage: Callable[[str, Condition], None]) -> None:
        self._layout = layout
        self._on_damage = on_damage
        self._known: dict[str, Condition] = {}

    def condition(self, sha256: str) -> Condition:
        """Return the condition of a body.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        condition, is_news = self._compared(sha256)
        if is_news and not condition.is_sound:
            log.error("the body %s is not as it was kept", self._layout.body(sha256))
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
        with os.fdopen(open_regular(self._layout.body(sha256)), "rb") as reader:
            status = os.fstat(reader.fileno())
            if known is not None and known.identity == identity_of(status):
                return known, False
            is_sound = hashlib.file_digest(reader, "sha256").hexdigest() == sha256
        condition = Condition(is_sound, status.st_size, identity_of(status))
        if is_sound or remember_damage:
            if len(self._known) >= MAX_LOOKED_AT:
                self._known.clear()
            self._known[sha256] = condition
        return condition, True


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file is replaced or written to."""
    return status.st_ino, status.st_size, status.st_mtime_ns


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with os.fdopen(open_regular(path), "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()
