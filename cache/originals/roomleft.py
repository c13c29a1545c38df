"""Room left: whether the disk and the budget have room for another original. Blocking, microseconds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cache.across.seams import RunningCounts

MIN_FREE_FILES = 32
"""The files that one commit may need: a body, an entry, a list of users in sixteen parts, a folder for each, and
temporary copies."""


@dataclass(frozen=True, slots=True)
class KeepingLimits:
    """The limits at which new originals are no longer kept."""

    min_free_bytes: int
    max_bytes: int | None


class StoreRoom:
    """The room of a store; `limits` may be changed."""

    def __init__(self, root: Path, limits: KeepingLimits, usage: RunningCounts) -> None:
        self.limits = limits
        self._root = root
        self._usage = usage

    def free_bytes(self) -> int:
        """Return the free bytes of the disk; 0 if they cannot be determined."""
        try:
            status = os.statvfs(self._root)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize

    def has_place_for(self, size: int) -> bool:
        """Return whether an original of `size` bytes that is not on the disk yet would be kept."""
        return self.free_bytes() - size >= self.limits.min_free_bytes and self.admits(size)

    def admits(self, size: int) -> bool:
        """Return whether a body that is on this disk already would be kept."""
        return not self.lack(size)

    def lack(self, size: int) -> str:
        """Return why a body that is on this disk already is not kept; empty if there is room."""
        files = free_files(self._root)
        if self.free_bytes() < self.limits.min_free_bytes:
            return "store.min_free is reached"
        if files is not None and files < MIN_FREE_FILES:
            return "the disk takes no more files: it is out of inodes"
        return "" if self._within_budget(size) else "store.originals_max_bytes is reached"

    def _within_budget(self, size: int) -> bool:
        return self.limits.max_bytes is None or self._usage.read().bytes + size <= self.limits.max_bytes


def free_files(folder: Path) -> int | None:
    """Return how many more files the disk of a folder can hold; None if it has no limit, or this cannot be
    determined."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_favail if status.f_files else None
