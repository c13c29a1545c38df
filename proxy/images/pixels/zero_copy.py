"""Keeps pixels as a codec returned them. Pillow copies them into its own memory only when something needs that.

WebP, AVIF and libvips return one block of bytes, and fast_image_resize and libvips resample one. Pillow's copy of a
photo in between would be written, read and packed again, which costs a tenth of the whole picture. Runs in render
processes.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image, ImageFile

from proxy.images.geometry import Size

Pixels = Any
"""Any object with a buffer: `bytes`, or memory that belongs to libvips."""


class Packed(Image.Image):
    """A picture like any other, whose pixels stay in `packed`, row by row, until `load` is called.

    layout: the channels of a pixel in Pillow's notation for raw modes, one byte each; an X is a byte without meaning.
    """

    def __init__(self, mode: str, size: Size, packed: Pixels, layout: str) -> None:
        super().__init__()
        self._mode, self._size = mode, size
        self.packed: Pixels | None = packed
        self.layout = layout

    @property
    def im(self) -> Any:
        """Pillow's own copy, which replaces `packed` when it is made."""
        self._unpack()
        return super().im

    @im.setter
    def im(self, im: Any) -> None:
        self._im, self.packed = im, None

    def load(self) -> Any:
        """Copy the pixels into Pillow's memory."""
        self._unpack()
        return super().load()

    def close(self) -> None:
        """Release the pixels, wherever they lie."""
        self.packed = None
        super().close()

    def _unpack(self) -> None:
        if self.packed is not None:
            self.im = Image.frombytes(self.mode, self.size, self.packed, "raw", self.layout).im


class HandsOver(ImageFile.ImageFile):
    """A mixin for a plugin of Pillow whose `load` decodes a frame to bytes and reads these as a raw file."""

    _wanted = False
    _packed: Packed | None = None

    def hand_over(self) -> Image.Image:
        """Return the picture that `load` would load, with the bytes of the plugin's codec."""
        self._wanted = True
        self.load()
        return self._packed or self

    def load(self) -> Any:
        """Load the picture, or keep its bytes unchanged."""
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
