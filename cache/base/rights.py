"""Rights: which folders of the store this process may read and write, by name. Blocking, some hundred system calls.

A wrong `chown` is seen here before a request meets it. Refuses to know what is in the folders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cache.base.layout import FOLDERS, Layout

ROOT = "store.dir"
"""How the folder of the store itself is named."""


def unreadable(layout: Layout) -> list[str]:
    """Return the folders that cannot be read; a folder that does not exist can."""
    return _lacking(layout, os.R_OK | os.X_OK)


def unwritable(layout: Layout) -> list[str]:
    """Return the folders in which nothing can be made."""
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
