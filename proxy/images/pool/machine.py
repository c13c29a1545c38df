"""How much memory there is: the machine's, or less when a control group bounds it. Synchronous; reads files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V1_FOLDER = "sys/fs/cgroup/memory"
_V2_FOLDER = "sys/fs/cgroup"
_UNKNOWN_BYTES = 1 << 30
"""What is assumed of a machine that does not say."""


def memory_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process and its neighbours may use together."""
    return min([_physical_bytes(), *_group_limits(root)])


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return _UNKNOWN_BYTES


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the limits of our group and of those above it (cgroups(7), version 1 and 2)."""
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
    # In a container the name may be that of the host, and only the top of the tree can be seen.
    for folder in (group, *group.parents):
        for file in files:
            try:
                text = (mount / folder / file).read_text(encoding="ascii").strip()
            except (OSError, UnicodeError):
                continue
            if text.isdigit() and int(text):
                yield int(text)
