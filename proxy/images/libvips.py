"""Whether libvips is there, asked without loading it or Pillow. Runs in the service and its commands. Synchronous."""

from __future__ import annotations

import functools
import subprocess
import sys

OLDEST = (8, 15)
"""The oldest libvips that is used: its loaders can be blocked, and told to refuse what is cut."""

# In a process of its own: only render processes need the library's memory.
_TRY = f"import sys, pyvips; sys.exit(not pyvips.at_least_libvips{OLDEST})"
_TRY_SECONDS = 30.0


@functools.cache
def has_libvips() -> bool:
    """Tell whether libvips can be used here; pyvips may be installed without a library that it can load."""
    try:
        tried = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _TRY], capture_output=True, timeout=_TRY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def decoder_problem(name: str) -> str | None:
    """Return why a value of `render.decoder` cannot be followed here, or None."""
    if name != "libvips" or has_libvips():
        return None
    return (
        "render.decoder is libvips, which is not installed: install imgmirror[vips], or write auto or pillow"
    )
