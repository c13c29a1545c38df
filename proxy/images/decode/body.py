"""A body as Pillow opens it. Runs in render processes.

The plugin is chosen by our own reading of the first bytes, not by Pillow's: `Image.open` would try formats that
nobody needs (EPS calls Ghostscript) and JPEG variants with parsers of their own. Only these plugins are loaded.
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
    """A GIF whose greys keep their transparency: Pillow has none for a colour table that is a grey ramp."""

    def _is_palette_needed(self, _table: bytes) -> bool:
        return True


class _Icon(IcoImagePlugin.IcoImageFile):
    """An icon whose best picture is the largest and, of equally large ones, that with the most colours.

    Pillow takes the one with the fewest.
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
    """A file that can be opened more than once. source: its path, or its bytes."""

    source: str | bytes
    picture_format: str

    def opened(self) -> ImageFile.ImageFile:
        """Return it, its header read."""
        source, plugin = self.source, _PLUGINS[self.picture_format]
        try:
            return plugin(source if isinstance(source, str) else io.BytesIO(source))
        except ValueError as fault:
            # libavif refuses a file over its EXIF data, and that is all it does with them.
            if self.picture_format != "avif" or "Exif" not in str(fault):
                raise
            return plugin(io.BytesIO(without_exif(self.read())))

    def read(self) -> bytes:
        """Return its bytes."""
        return self.source if isinstance(self.source, bytes) else Path(self.source).read_bytes()
