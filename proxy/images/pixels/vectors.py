"""Finds out whether fast_image_resize is usable, without loading it here. Runs in the service and its commands.
Synchronous."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass

VECTORS_REPAIR = (
    "install cykooz-resizer anew in imgmirror's environment (pip install --force-reinstall cykooz-resizer)"
)
"""Advice about a fast_image_resize that is installed but unusable."""

_TRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Vectors:
    """The fast_image_resize of this machine as render processes would use it.

    version: that of its Python package, empty if it cannot be loaded. installed: the package is there, usable or not.
    problem: why it cannot be used, empty if it can.
    """

    version: str = ""
    installed: bool = False
    problem: str = ""

    def __str__(self) -> str:
        return f"fast_image_resize (cykooz-resizer {self.version})"


@functools.cache
def find_vectors() -> Vectors:
    """Examine fast_image_resize once, in a separate process."""
    if importlib.util.find_spec("cykooz_resizer") is None:
        return Vectors(problem="cykooz-resizer is not installed")
    try:
        tried = subprocess.run(
            [sys.executable, "-c", "import proxy.images.pixels.resampling_vectors"],
            capture_output=True,
            timeout=_TRY_SECONDS,
            check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Vectors(installed=True, problem=str(error))
    if tried.returncode != 0:
        lines = tried.stderr.decode("utf-8", "replace").strip().splitlines()
        return Vectors(installed=True, problem=lines[-1] if lines else f"exit status {tried.returncode}")
    return Vectors(importlib.metadata.version("cykooz-resizer"), installed=True)
