"""`imgmirror` on a disk where every read of an entry hangs for ever: `hung_service.py serve …`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from cache.across.file_blobs import FileBlobs
from cache.across.seams import Blob, BlobState
from proxy.cli import main


def _hang(blobs: FileBlobs, name: str, max_bytes: int = -1) -> Blob:
    Path(blobs.where(name)).parents[2].joinpath("hanging").touch()
    threading.Event().wait()
    return Blob(b"", BlobState(0, ()))


if __name__ == "__main__":
    FileBlobs.read = _hang  # type: ignore[method-assign, assignment] # every read hangs from here on
    sys.exit(main(sys.argv[1:]))
