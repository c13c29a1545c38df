"""Finds out whether fast_image_resize is usable, without loading it here. Runs in the service and its commands.
Synchronous."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from dataclasses import dataclass

from proxy.images.pixels.trial import tried

VECTORS_REPAIR = (
    "install cykooz-resizer anew in imgmirror's environment (pip install --force-reinstall cykooz-resizer)"
)
"""Advice about a fast_image_resize that is installed but unusable."""


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
    trial = tried("import proxy.images.pixels.resampling_vectors")
    if trial.problem:
        return Vectors(installed=True, problem=trial.problem)
    return Vectors(importlib.metadata.version("cykooz-resizer"), installed=True)
