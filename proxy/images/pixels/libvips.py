"""Finds out whether libvips is usable, without loading it or Pillow here. Runs in the service and its commands.
Synchronous."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, replace

from proxy.images.pixels.trial import tried

OLDEST = (8, 15)
"""The oldest usable libvips: its loaders can be blocked, and can refuse truncated files."""

# This runs in a separate process, because only render processes need the library's memory.
_TRY = """
from proxy.images.pixels.ownvips import bundled_library, pyvips
own = bundled_library() is not None
print(int(own), *(pyvips.version(part) for part in range(3)))
"""

REPAIR = "install pyvips-binary anew in imgmirror's environment (pip install --force-reinstall pyvips-binary)"
"""Advice about a pyvips that is installed but unusable."""


@dataclass(frozen=True, slots=True)
class Libvips:
    """The libvips of this machine as render processes would use it.

    version: three numbers, empty if it cannot be loaded. bundled: it belongs to the `vips` extra. installed: pyvips is
    installed, usable or not. problem: why it cannot be used, empty if it can.
    """

    version: tuple[int, ...] = ()
    bundled: bool = False
    installed: bool = False
    problem: str = ""

    def __str__(self) -> str:
        number = ".".join(map(str, self.version))
        return f"libvips {number} ({'of the vips extra' if self.bundled else 'of the system'})"


@functools.cache
def find_libvips() -> Libvips:
    """Examine libvips once, in a separate process."""
    installed = importlib.util.find_spec("pyvips") is not None
    if not installed:
        return Libvips(problem="pyvips is not installed")
    trial = tried(_TRY)
    if trial.problem:
        return Libvips(installed=True, problem=trial.problem)
    own, *version = map(int, trial.output.split())
    found = Libvips(tuple(version), bundled=bool(own), installed=True)
    if found.version[:2] < OLDEST:
        return replace(found, problem=f"{found} is older than {OLDEST[0]}.{OLDEST[1]}")
    return found


def has_libvips() -> bool:
    """Return whether libvips can be used. pyvips may be installed without a library that it can load."""
    return not find_libvips().problem


def decoder_problem(name: str) -> str | None:
    """Return why a value of `render.decoder` cannot be used here, or None."""
    if name != "libvips" or has_libvips():
        return None
    found = find_libvips()
    if found.installed:
        return f"render.decoder is libvips, which cannot be used ({found.problem}): {REPAIR}, or write pillow"
    return (
        "render.decoder is libvips, which is not installed: install imgmirror[vips], or write auto or pillow"
    )
