"""Chooses the decoder for `render.decoder` on this machine. Runs in render processes."""

from __future__ import annotations

import functools

from proxy.images.decode import Decoder
from proxy.images.decode.pillow import AMPLE_SPARE, PillowDecoder
from proxy.images.pixels.resampling import Resample

FASTER_WITH_LIBVIPS = frozenset({"png"})
"""The formats that `auto` decodes with libvips. They were measured: docs/decisions/0007-libvips.md."""


@functools.cache
def decoder_for(name: str) -> Decoder:
    """Return the decoder for a value of `render.decoder`. Without libvips this is always Pillow."""
    if name == "pillow":
        return _pillow()
    try:
        # Only render processes load the library, and only when it is needed.
        from proxy.images.decode.vips import VipsDecoder  # noqa: PLC0415 - an extra
    except (ImportError, OSError, AttributeError):
        # Without its binary wheel pyvips may find no library, or an old one.
        return _pillow()
    resample = _by_vectors()
    if name == "libvips":
        return VipsDecoder(resample=resample)
    return VipsDecoder(FASTER_WITH_LIBVIPS, picky=True, resample=resample)


def _pillow() -> Decoder:
    resample = _by_vectors()
    return PillowDecoder() if resample is None else PillowDecoder(spare=AMPLE_SPARE, resample=resample)


def _by_vectors() -> Resample | None:
    """Return the fastest resampling function whose library is installed."""
    try:
        from proxy.images.pixels.resampling_vectors import by_vectors  # noqa: PLC0415 - an extra
    except ImportError:
        return None
    return by_vectors
