"""The versions of the interpreter and of the libraries that do the work. Blocking: reads what is installed, once."""

from __future__ import annotations

import functools
import importlib.metadata
import sys

_LIBRARIES = (
    "aiohttp",
    "pillow",
    "pyvips",
    "pyvips-binary",
    "cykooz-resizer",
    "resvg-py",
    "diskcache",
    "uvloop",
)


@functools.cache
def library_versions() -> dict[str, str]:
    """Return versions by name; what is not installed is left out."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
