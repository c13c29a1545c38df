"""Loads pyvips with the libvips of the `vips` extra, whatever else is installed. Runs in render processes.

If the system has libvips' headers, pip compiles pyvips against the system's library. The compiled module overwrites
that of pyvips-binary, because both are called `_libvips`, but the library of pyvips-binary remains. pyvips is then
loaded with that library in its other mode, which needs no compiled module. Without pyvips-binary, pyvips searches for a
library.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

_LIBRARIES = "pyvips_binary.libs"


def bundled_library() -> Path | None:
    """Return the shared library that pyvips-binary installed beside pyvips, or None if there is none."""
    pyvips = importlib.util.find_spec("pyvips")
    if pyvips is None or pyvips.origin is None:
        return None
    folder = Path(pyvips.origin).parents[1] / _LIBRARIES
    return next(iter(sorted(folder.glob("libvips*.so.*"))), None)


def is_overwritten(library: Path) -> bool:
    """Return whether the compiled module that pyvips would load is not linked to `library`."""
    module = importlib.util.find_spec("_libvips")
    if module is None or module.origin is None:
        return True
    # The linker wrote the file name of each needed library into the module (DT_NEEDED).
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

    # pyvips has no setting for either. It first imports `_libvips`, which an entry None prevents, and then opens a
    # library by a fixed name.
    sys.modules["_libvips"] = None  # type: ignore[assignment] # the import system's own word for "not to be imported"
    cffi.FFI.dlopen = dlopen
    try:
        return importlib.import_module("pyvips")
    finally:
        cffi.FFI.dlopen = opened


pyvips = load()
