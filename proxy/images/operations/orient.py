"""Flip and rotate. Both come before resizing, so width and height refer to the turned picture.

Runs in a render process. The flip comes first, as in Cloudflare's documentation.
"""

from __future__ import annotations

from PIL import Image

from proxy.images.operations.scene import Scene
from proxy.images.options.readers import Option, Value, choice, whole
from proxy.images.options.wanted import Wanted

_CLOCKWISE = {
    90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    270: Image.Transpose.ROTATE_90,
}


def _read_rotate(text: str) -> Value:
    degrees = whole(0, 270)(text)
    if degrees not in {0, *_CLOCKWISE}:
        raise ValueError
    return degrees


OPTIONS = (
    Option(
        "flip", choice("h", "v", "hv"), "h, v or hv", "mirrors left and right (h), top and bottom (v) or both"
    ),
    Option("rotate", _read_rotate, "0, 90, 180 or 270", "turns clockwise by degrees", default=0),
)


def apply(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` mirrored and turned."""
    if wanted.flip and "h" in wanted.flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if wanted.flip and "v" in wanted.flip:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return picture.transpose(_CLOCKWISE[wanted.rotate]) if wanted.rotate else picture
