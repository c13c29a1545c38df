"""`imgmirror` without rights to some files: `refusing_service.py REFUSED serve …`. REFUSED holds a path on each line.

Root may open every file whatever its mode, so `os.open` refuses the named ones as the kernel refuses other users.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

from proxy.cli import main


def _refuse(refused: Path) -> None:
    really_open = os.open

    def refusing(path: Any, *args: Any, **words: Any) -> int:
        if str(path) in refused.read_text(encoding="utf-8").splitlines():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really_open(path, *args, **words)

    os.open = refusing


if __name__ == "__main__":
    _refuse(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
