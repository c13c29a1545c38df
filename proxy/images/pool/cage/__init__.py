"""Takes away rights of a render process on Linux before it sees a picture. Runs in render processes.

There are two walls, each without a library and without privileges (docs/decisions/0013-cage.md):

    seccomp     permits the system calls that a decoder needs, and no others: it cannot open files for writing, create
                sockets, run programs, create processes or inspect them. All other calls fail with ENOSYS.
    landlock    files can be read only where libraries, fonts and pictures lie. Other processes cannot be reached,
                including their memory and environment in /proc.

Neither can be undone. If the kernel lacks one, or something around us forbids it, the other still applies.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.images.pool.cage import landlock, seccomp

WALLS = ("landlock", "seccomp")
_PR_SET_NO_NEW_PRIVS = 38


def shut(readable: Sequence[Path]) -> tuple[str, ...]:
    """Confine this thread and all threads that it starts; return the names of the active walls.

    readable: folders and files that may be read besides those of the interpreter, libraries and fonts. Call this before
    there is a second thread.
    """
    if sys.platform != "linux":
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    # prctl(2): without this flag only root may set filters. It also prevents set-user-id programs from restoring
    # rights.
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return ()
    builders = {
        "landlock": lambda: landlock.restrict(libc, readable),
        "seccomp": lambda: seccomp.install(libc),
    }
    return tuple(name for name in WALLS if _stands(builders[name]))


def _stands(build: Callable[[], None]) -> bool:
    try:
        build()
    except OSError:
        return False
    return True
