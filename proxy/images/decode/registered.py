"""Restricts Pillow in a render process to the formats that we support. Runs in render processes.

Pillow registers a format by loading its module. It loads modules by itself: five when a picture is opened or saved, and
all forty when it does not know a format. A picture could reach the parser in each of them.
"""

from __future__ import annotations

from PIL import Image

from proxy.images.formats import OUTPUTS, RENDERABLE, UNTOUCHED

OPENED = frozenset(name.upper() for name in RENDERABLE - {UNTOUCHED})
"""Pillow's plugins have the names of our formats. There is none for SVG."""
SAVED = frozenset(name.upper() for name in OUTPUTS)
_ALL_LOADED = 2


def register_only_ours() -> None:
    """Remove all other formats, and keep Pillow from loading more. The modules of our formats must be loaded
    already."""
    # This is the state after `Image.init()`, in which neither it nor `preinit()` does anything.
    Image._initialized = _ALL_LOADED  # noqa: SLF001 - there is no other switch; a test looks whether it still is one
    Image.ID[:] = [name for name in Image.ID if name in OPENED]
    for registry, kept in ((Image.OPEN, OPENED), (Image.SAVE, SAVED), (Image.SAVE_ALL, SAVED)):
        for name in registry.keys() - kept:
            del registry[name]
