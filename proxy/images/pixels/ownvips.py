"""Loads pyvips with the libvips of the `vips` extra, whatever else the machine has. Runs in render processes.

Where the system has libvips' headers, pip compiles pyvips against the system's library, and the compiled module
overwrites that of pyvips-binary: both are called `_libvips`. The library of pyvips-binary is still there. pyvips is
then loaded in its other mode, which needs no compiled module, on that library. Without pyvips-binary pyvips finds what
it finds.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

_LIBRARIES = "pyvips_binary.libs"


def bundled_library() -> Path | None:
    """Return the shared library that pyvips-binary installed beside pyvips, None when there is none."""
    pyvips = importlib.util.find_spec("pyvips")
    if pyvips is None or pyvips.origin is None:
        return None
    folder = Path(pyvips.origin).parents[1] / _LIBRARIES
    return next(iter(sorted(folder.glob("libvips*.so.*"))), None)


def is_overwritten(library: Path) -> bool:
    """Tell whether the compiled module that pyvips would load is not the one that was linked to `library`."""
    module = importlib.util.find_spec("_libvips")
    if module is None or module.origin is None:
        return True
    # The linker wrote the file name of each library that it needs into the module (DT_NEEDED).
    return library.name.encode() not in Path(module.origin).read_bytes()


def load() -> Any:
    """Return the module pyvips.

    Raises:
        ImportError, OSError, AttributeError: it is not installed, or finds no library.
    """
    library = None if "pyvips" in sys.modules else bundled_library()
    if library is None or not is_overwritten(library):
        return importlib.import_module("pyvips")
    return _on(library)


def _on(library: Path) -> Any:
    import cffi  # noqa: PLC0415 - comes with pyvips, an extra

    opened = cffi.FFI.dlopen

    def dlopen(ffi: Any, name: Any, flags: int = 0) -> Any:
        is_vips = isinstance(name, str) and name.startswith("libvips.")
        return opened(ffi, str(library) if is_vips else name, flags)

    # pyvips has no setting for either: it imports `_libvips` first, which None forbids, and opens a fixed name then.
    sys.modules["_libvips"] = None  # type: ignore[assignment] # the import system's own word for "not to be imported"
    cffi.FFI.dlopen = dlopen
    try:
        return importlib.import_module("pyvips")
    finally:
        cffi.FFI.dlopen = opened


pyvips = load()
