"""Checks which folders of the store this process may read and write, by name. Blocking, some hundred system calls.

This finds a wrong `chown` before a request does. Knows nothing of the contents of the folders.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from cache.base.durable import create_aside
from cache.base.layout import FOLDERS, Layout, is_folder_readable, size_of

ROOT = "store.dir"
"""The name under which the folder of the store itself is reported."""


def unreadable(layout: Layout) -> list[str]:
    """Return the folders that cannot be read. A folder that does not exist counts as readable."""
    return _lacking(layout, os.R_OK | os.X_OK)


def unwritable(layout: Layout) -> list[str]:
    """Return the folders in which no file can be created."""
    return _lacking(layout, os.W_OK | os.X_OK)


def _lacking(layout: Layout, wanted: int) -> list[str]:
    if not _may(layout.root, wanted & ~os.W_OK):
        return [ROOT]
    return [name for name in FOLDERS if not all(_may(path, wanted) for path in _parts(layout.root / name))]


def _parts(folder: Path) -> Iterator[Path]:
    """Yield a folder and the folders in it."""
    yield folder
    try:
        with os.scandir(folder) as items:
            yield from [Path(item.path) for item in items if item.is_dir(follow_symlinks=False)]
    except OSError:
        return


def _may(folder: Path, wanted: int) -> bool:
    try:
        folder.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return os.access(folder, wanted)


def is_readable(layout: Layout) -> bool:
    """Return whether kept originals can be read, as far as a quick check shows."""
    return size_of(layout.marker) is not None and all(
        map(is_folder_readable, (layout.entries, layout.bodies))
    )


def is_writable(layout: Layout) -> bool:
    """Return whether a file can be created in the store."""
    try:
        descriptor, path = create_aside(layout.incoming, suffix=".part", modes=layout.modes)
    except OSError:
        return False
    os.close(descriptor)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    return True
