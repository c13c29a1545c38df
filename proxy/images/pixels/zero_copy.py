"""Pixels as a codec gave them, which Pillow copies into memory of its own only when something asks for that.

WebP, AVIF and libvips give one block of bytes; resampling by libvips wants one. Between them Pillow's copy of a photo
would be written, read and packed again: a tenth of what the picture costs. Runs in render processes.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image, ImageFile

from proxy.images.geometry import Size

Pixels = Any
"""Anything with a buffer: `bytes`, or memory that belongs to libvips."""


class Packed(Image.Image):
    """A picture like any other, whose pixels lie in `packed`, row by row, until they are `load`ed.

    layout: the channels of a pixel as Pillow's raw mode names them, one byte each; an X stands for one without meaning.
    """

    def __init__(self, mode: str, size: Size, packed: Pixels, layout: str) -> None:
        super().__init__()
        self._mode, self._size = mode, size
        self.packed: Pixels | None = packed
        self.layout = layout

    @property
    def im(self) -> Any:
        """Pillow's own copy; from now on the only one."""
        self._unpack()
        return super().im

    @im.setter
    def im(self, im: Any) -> None:
        self._im, self.packed = im, None

    def load(self) -> Any:
        """Take the pixels into Pillow's memory."""
        self._unpack()
        return super().load()

    def close(self) -> None:
        """Let the pixels go, wherever they lie."""
        self.packed = None
        super().close()

    def _unpack(self) -> None:
        if self.packed is not None:
            self.im = Image.frombytes(self.mode, self.size, self.packed, "raw", self.layout).im


class HandsOver(ImageFile.ImageFile):
    """Put behind a plugin of Pillow's that decodes a frame to bytes in its `load` and has these read as a raw file."""

    _wanted = False
    _packed: Packed | None = None

    def hand_over(self) -> Image.Image:
        """Return what `load` would load, as the plugin's codec gave it."""
        self._wanted = True
        self.load()
        return self._packed or self

    def load(self) -> Any:
        """Load the picture, or keep its bytes as they are."""
        if self._wanted and self._packed is None and isinstance(self.fp, BytesIO) and len(self.tile) == 1:
            codec, extents, offset, arguments = self.tile[0]
            packed, layout = self.fp.getvalue(), _layout(arguments)
            fills = extents == (0, 0, *self.size) and len(packed) == self.width * self.height * len(layout)
            if codec == "raw" and offset == 0 and fills:
                self._packed = Packed(self.mode, self.size, packed, layout)
                self.fp, self.tile = None, []
                return None
        return super().load()


def _layout(arguments: Any) -> str:
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)
