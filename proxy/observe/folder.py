"""The folder in which several workers share their metrics. Blocking.

A supervisor that is killed cannot remove its folder, so the next one does: every supervisor holds a lock in its own,
which the kernel releases with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "imgmirror-metrics-"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The Prometheus library reads this one when it is imported."""

_LOCK = "owner.lock"


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """Make the folder, name it in the environment, and remove it at the end; remove those of dead supervisors."""
    _remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.environ[VARIABLE] = str(folder)
    try:
        yield folder
    finally:
        del os.environ[VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            # Anybody may make a folder of that name in a shared temporary folder.
            if folder.lstat().st_uid == os.getuid() and not folder.is_symlink() and _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        # Of a version that made no lock, or of a supervisor that is about to make it and has no workers yet.
        writers = [path.stem.rpartition("_")[2] for path in folder.glob("*.db")]
        return bool(writers) and not any(Path("/proc", writer).exists() for writer in writers)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
