"""Runs `imgmirror serve` without sessions for its render processes: `python one_session.py serve ...`.

Linux gives every session an equal share of a busy processor (autogroup, sched(7)). A service whose render processes
have sessions of their own gets more of a busy machine than a peer with one session. A benchmark must not count that
advantage.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from typing import Any


def main() -> None:
    """Serve."""
    start: Any = subprocess.Popen.__init__

    def without_session(self: object, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("start_new_session", None)
        start(self, *args, **kwargs)

    setattr(subprocess.Popen, "__init__", without_session)  # noqa: B010 - it is a method to mypy
    sys.argv[0] = "imgmirror"
    sys.path[0] = os.getcwd()  # noqa: PTH109 - `python -m proxy` does the same
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
