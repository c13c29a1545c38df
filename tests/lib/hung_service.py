"""`imgmirror` on a disk where every read of an entry hangs for ever: `hung_service.py serve …`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from cache.originals import entryfiles
from proxy.cli import main


def _hang(path: Path) -> bytes:
    path.parents[2].joinpath("hanging").touch()
    threading.Event().wait()
    return b""


if __name__ == "__main__":
    entryfiles.read_bounded = _hang
    sys.exit(main(sys.argv[1:]))
