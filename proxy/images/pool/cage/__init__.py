"""What a render process gives up on Linux before it sees a picture. Runs in render processes.

Two walls, each without a library and without privileges (docs/decisions/0013-cage.md):

    seccomp     system calls by a list of what a decoder needs: no file is opened to be written, no socket is made,
                no program run, no process made, none looked into. What is not on the list fails with ENOSYS.
    landlock    files are read only where libraries, fonts and the pictures lie; other processes are out of reach,
                their memory and environment in /proc too.

Neither can be taken down again. Where the kernel lacks one, or something around us forbids it, the other stands.
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
    """Shut this thread, and all that it starts, in; return the names of the walls that stand.

    readable: folders and files that may be read besides those of the interpreter, libraries and fonts. Must be
    called before there is a second thread.
    """
    if sys.platform != "linux":
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    # prctl(2): without it only root may set filters. It also means that no set-user-id program gives anything back.
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
