"""Chooses the decoder for `render.decoder` on this machine. Runs in render processes."""

from __future__ import annotations

import functools

from proxy.images.decode import Decoder
from proxy.images.decode.pillow import PillowDecoder

FASTER_WITH_LIBVIPS = frozenset({"png"})
"""The formats that `auto` decodes with libvips. They were measured: docs/decisions/0007-libvips.md."""


@functools.cache
def decoder_for(name: str) -> Decoder:
    """Return the decoder for a value of `render.decoder`. Without libvips this is always Pillow."""
    if name == "pillow":
        return PillowDecoder()
    try:
        # Only render processes load the library, and only when it is needed.
        from proxy.images.decode.vips import VipsDecoder  # noqa: PLC0415 - an extra
    except (ImportError, OSError, AttributeError):
        # Without its binary wheel, pyvips may find no library, or an old one.
        return PillowDecoder()
    return VipsDecoder() if name == "libvips" else VipsDecoder(FASTER_WITH_LIBVIPS, picky=True)
