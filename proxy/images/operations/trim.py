"""Trim: cuts borders of a given width, or borders with an almost uniform colour. Runs in a render process.

It counts pixels of the original and comes before everything else, so a picture to be trimmed is decoded at full size.
"""

from __future__ import annotations

from PIL import Image, ImageChops

from proxy.images.operations.scene import Scene
from proxy.images.options.readers import Option, Value, write_value
from proxy.images.options.wanted import Wanted

DEFAULT_TOLERANCE = 10
_MAX_BORDER_PX = 32767


def read_trim(text: str) -> Value:
    """Parse `true`, Cloudflare's word `border`, a tolerance or four borders.

    Return (), (tolerance,) or (top, right, bottom, left).
    """
    if text in {"true", "border", "false"}:
        return () if text == "false" else (DEFAULT_TOLERANCE,)
    parts = text.split(";")
    if len(parts) not in {1, 4} or not all(
        part.isascii() and part.isdigit() and len(part) <= 5 for part in parts
    ):
        raise ValueError
    numbers = tuple(map(int, parts))
    if max(numbers) > (255 if len(numbers) == 1 else _MAX_BORDER_PX):
        raise ValueError
    return () if numbers == (0, 0, 0, 0) else numbers


def _write(value: Value) -> str:
    return write_value(value) if value else "false"


OPTIONS = (
    Option(
        "trim",
        read_trim,
        "true or border, false, a tolerance from 0 to 255, or top;right;bottom;left in pixels of the original",
        "cuts the border",
        default=(),
        write=_write,
    ),
)


def settle(picture: Image.Image, wanted: Wanted, scene: Scene) -> Wanted:
    """Replace a tolerance by the borders that it gives for `picture`, so that all frames lose the same borders."""
    if len(wanted.trim) != 1:
        return wanted
    box = _content_box(picture, wanted.trim[0])
    if box is None:
        return wanted.replaced(trim=())
    left, top, right, bottom = box
    return wanted.replaced(trim=(top, picture.width - right, picture.height - bottom, left))


def apply(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` without its borders; at least one pixel remains."""
    if len(wanted.trim) != 4 or not any(wanted.trim):
        return picture
    top, right, bottom, left = wanted.trim
    left, top = min(left, picture.width - 1), min(top, picture.height - 1)
    right = max(left + 1, picture.width - right)
    bottom = max(top + 1, picture.height - bottom)
    return picture.crop((left, top, right, bottom))


def _content_box(picture: Image.Image, tolerance: int) -> tuple[int, int, int, int] | None:
    """Return the box of all pixels that differ from the top left one by more than `tolerance` in any channel."""
    corner = picture.getpixel((0, 0))
    ground = Image.new(picture.mode, picture.size, corner)
    difference = ImageChops.difference(picture, ground).point(lambda step: 255 if step > tolerance else 0)
    if picture.mode == "RGBA":
        # Two transparent pixels look the same, whatever their colours.
        seen = ImageChops.lighter(picture.getchannel("A"), ground.getchannel("A"))
        visible = seen.point(lambda alpha: 255 if alpha > tolerance else 0)
        difference = Image.merge("RGBA", [ImageChops.multiply(band, visible) for band in difference.split()])
    return difference.getbbox(alpha_only=False)
