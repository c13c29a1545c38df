"""Determines the available memory: the machine's, or less if a control group limits it. Synchronous; reads files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V1_FOLDER = "sys/fs/cgroup/memory"
_V2_FOLDER = "sys/fs/cgroup"
_UNKNOWN_BYTES = 1 << 30
"""Assumed if the machine does not report its memory."""


def memory_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process and its neighbours may use together."""
    return min([_physical_bytes(), *_group_limits(root)])


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return _UNKNOWN_BYTES


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the memory limits of our control group and of its parents (cgroups(7), versions 1 and 2)."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeError):
        return
    for line in lines:
        _, controllers, name = (*line.split(":", 2), "", "")[:3]
        if not controllers:
            yield from _limits(root / _V2_FOLDER, name, ("memory.max", "memory.high"))
        elif "memory" in controllers.split(","):
            yield from _limits(root / _V1_FOLDER, name, ("memory.limit_in_bytes",))


def _limits(mount: Path, name: str, files: tuple[str, ...]) -> Iterator[int]:
    group = PurePosixPath(name.lstrip("/"))
    # In a container the path may be that of the host, while only the top of the tree is visible.
    for folder in (group, *group.parents):
        for file in files:
            try:
                text = (mount / folder / file).read_text(encoding="ascii").strip()
            except (OSError, UnicodeError):
                continue
            if text.isdigit() and int(text):
                yield int(text)
