"""Which formats Pillow knows in a render process: those that we support and no other. Runs in render processes.

Pillow registers a format by loading its module, and loads modules by itself: five when anything is opened or saved,
all forty when a format is not known to it. Each is a parser that a picture could reach.
"""

from __future__ import annotations

from PIL import Image

from proxy.images.formats import OUTPUTS, RENDERABLE, UNTOUCHED

OPENED = frozenset(name.upper() for name in RENDERABLE - {UNTOUCHED})
"""Pillow's plugins are named as our formats are; SVG has none."""
SAVED = frozenset(name.upper() for name in OUTPUTS)
_ALL_LOADED = 2


def register_only_ours() -> None:
    """Forget every other format, and let Pillow load none any more. The modules of ours must have been loaded."""
    # As after `Image.init()`: neither it nor `preinit()` does anything then.
    Image._initialized = _ALL_LOADED  # noqa: SLF001 - there is no other switch; a test looks whether it still is one
    Image.ID[:] = [name for name in Image.ID if name in OPENED]
    for registry, kept in ((Image.OPEN, OPENED), (Image.SAVE, SAVED), (Image.SAVE_ALL, SAVED)):
        for name in registry.keys() - kept:
            del registry[name]
