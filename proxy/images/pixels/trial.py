"""Tries code that loads a native library, in a process of its own. Blocking.

Only render processes need the memory of such a library, and one that crashes while it is loaded must not end a service.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LoadTrial:
    """What the code printed, or why it failed; `problem` is empty if it did not."""

    output: str = ""
    problem: str = ""


def tried(code: str) -> LoadTrial:
    """Run code in a new interpreter with this one's modules. Failures are returned, not raised."""
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", code],
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return LoadTrial(problem=str(error))
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return LoadTrial(problem=lines[-1] if lines else f"exit status {done.returncode}")
    return LoadTrial(output=done.stdout.decode("utf-8", "replace"))
