"""Manages the folder in which several workers share their metrics. Blocking.

A killed supervisor cannot remove its folder, so a later one does. Every supervisor holds a lock in its own folder. The
kernel releases it when the supervisor and all its workers have ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import values

PREFIX = "imgmirror-metrics-"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable from which the Prometheus library knows the folder."""

_LOCK = "owner.lock"


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """Create the folder, name it to the library, and remove it at the end. Remove those of dead supervisors.

    Metrics that are created within the block, also by forks, write their figures to the folder.
    """
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.environ[VARIABLE] = str(folder)
    _choose_values()
    try:
        yield folder
    finally:
        del os.environ[VARIABLE]
        _choose_values()
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _choose_values() -> None:
    """Let new metrics be shared or not. The library itself reads the variable once, when it is imported."""
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # untyped there


def folder_begun(folder: Path) -> float:
    """Return when `shared_folder` created a folder, in Unix seconds."""
    return (folder / _LOCK).stat().st_mtime


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            # In a shared temporary folder any user may create a folder of this name.
            if folder.lstat().st_uid == os.getuid() and not folder.is_symlink() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        # Either an older version made the folder, or a supervisor has not created its lock and workers yet.
        writers = [path.stem.rpartition("_")[2] for path in folder.glob("*.db")]
        return bool(writers) and not any(Path("/proc", writer).exists() for writer in writers)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
