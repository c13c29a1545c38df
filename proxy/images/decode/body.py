"""Opens a body with Pillow. Runs in render processes.

We choose the plugin by the first bytes, instead of Pillow. `Image.open` would try formats that nobody needs (EPS calls
Ghostscript) and JPEG variants with parsers of their own. Only the plugins below are loaded.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from proxy.images.files.mending.avif import without_exif
from proxy.images.pixels.zero_copy import HandsOver


class _Gif(GifImagePlugin.GifImageFile):
    """A GIF that keeps the transparency of greys. Pillow drops it for a colour table that is a grey ramp."""

    def _is_palette_needed(self, _table: bytes) -> bool:
        return True


class _Icon(IcoImagePlugin.IcoImageFile):
    """An icon that shows its largest picture and, among equally large ones, the one with the most colours.

    Pillow chooses the one with the fewest.
    """

    def load(self) -> Any:
        if self._im is None:
            self.ico.entry.sort(key=lambda entry: (entry.square, entry.color_depth), reverse=True)
        return super().load()


class _Avif(AvifImagePlugin.AvifImageFile, HandsOver):
    pass


class _WebP(WebPImagePlugin.WebPImageFile, HandsOver):
    pass


_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "avif": _Avif,
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": _Gif,
    "ico": _Icon,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": _WebP,
}


@dataclass(frozen=True, slots=True)
class Body:
    """A file that can be opened more than once. source: its path or its bytes."""

    source: str | bytes
    picture_format: str

    def opened(self) -> ImageFile.ImageFile:
        """Open the file and read its header."""
        source, plugin = self.source, _PLUGINS[self.picture_format]
        try:
            return plugin(source if isinstance(source, str) else io.BytesIO(source))
        except ValueError as fault:
            # libavif refuses the whole file because of bad EXIF data, and uses them for nothing else.
            if self.picture_format != "avif" or "Exif" not in str(fault):
                raise
            return plugin(io.BytesIO(without_exif(self.read())))

    def read(self) -> bytes:
        """Return the bytes of the file."""
        return self.source if isinstance(self.source, bytes) else Path(self.source).read_bytes()
