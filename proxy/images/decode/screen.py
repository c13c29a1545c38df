"""Tracks which pixels of an animated GIF's screen have been drawn. Pure; runs in render processes."""

from __future__ import annotations

from PIL import GifImagePlugin, Image, ImageChops, ImageFile

from proxy.images.geometry import Size

Box = tuple[int, int, int, int]

# GIF89a §23.c.iv: what happens to a frame before the next one is drawn.
_TO_BACKGROUND, _TO_PREVIOUS = 2, 3


class Screen:
    """The screen of a GIF, with the areas that frames have drawn.

    Browsers show the rest as transparent (GIF89a §23.c.iv demands the background colour, which no browser follows any
    more), but Pillow shows it in the first colour. Call `draw` before a frame is loaded and `seen` after it.
    """

    def __init__(self, size: Size) -> None:
        self._drawn = Image.new("L", size)
        self._kept = self._drawn
        self._last: tuple[Box, int] | None = None

    def draw(self, image: ImageFile.ImageFile) -> None:
        """Dispose of the previous frame as it demands, and record the area of the current one."""
        box = _frame_box(image)
        if self._last is not None:
            last_box, disposal = self._last
            if disposal == _TO_BACKGROUND:
                self._drawn.paste(0, last_box)
            elif disposal == _TO_PREVIOUS:
                self._drawn = self._kept
        self._last = box, getattr(image, "disposal_method", 0)
        if self._last[1] == _TO_PREVIOUS:
            self._kept = self._drawn.copy()
        self._drawn.paste(255, box)

    def seen(self, picture: Image.Image) -> Image.Image:
        """Return the frame with transparency where nothing has been drawn."""
        if self._drawn.getextrema()[0] == 255:
            return picture
        picture = picture.convert("RGBA")
        drawn = self._drawn.crop((0, 0, *picture.size))
        picture.putalpha(ImageChops.multiply(picture.getchannel("A"), drawn))
        return picture


def _frame_box(image: ImageFile.ImageFile) -> Box:
    extents = image.tile[0].extents if image.tile else None
    return extents or (0, 0, *image.size)


def leaves_room(image: ImageFile.ImageFile) -> bool:
    """Return whether the first frame of a GIF leaves part of the screen free."""
    return isinstance(image, GifImagePlugin.GifImageFile) and _frame_box(image) != (0, 0, *image.size)
