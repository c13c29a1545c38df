"""Blur and sharpen. They apply to the result, so their strength does not depend on the original's size.

Runs in a render process. The hidden colours of transparent pixels do not bleed into visible ones.
"""

from __future__ import annotations

from PIL import Image, ImageFilter

from proxy.images.operations.scene import Scene
from proxy.images.options.readers import Option, decimal, whole
from proxy.images.options.wanted import Wanted

_SHARPEN_RADIUS_PX = 1.0
_SHARPEN_PERCENT = 50
"""The strength of sharpen=1, which Cloudflare recommends for reduced photos."""

OPTIONS = (
    Option("blur", whole(0, 250), "a whole number of pixels from 0 to 250", "radius of the blur", default=0),
    Option(
        "sharpen",
        decimal(0, 10),
        "a number from 0 to 10",
        "strength of sharpening; 1 suits photos",
        default=0.0,
    ),
)


def apply(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` sharpened, then blurred."""
    if wanted.sharpen:
        picture = _sharpened(picture, round(wanted.sharpen * _SHARPEN_PERCENT))
    if wanted.blur:
        picture = _blurred(picture, wanted.blur)
    return picture


def _sharpened(picture: Image.Image, percent: int) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.filter(ImageFilter.UnsharpMask(_SHARPEN_RADIUS_PX, percent, threshold=0))
    # The same unsharp mask as above, with the mean over visible pixels only.
    smooth = _blurred(picture, _SHARPEN_RADIUS_PX).convert("RGB")
    sharp = Image.blend(smooth, picture.convert("RGB"), 1 + percent / 100)
    sharp.putalpha(picture.getchannel("A"))
    return sharp


def _blurred(picture: Image.Image, radius: float) -> Image.Image:
    kernel = ImageFilter.GaussianBlur(radius)
    if picture.mode != "RGBA":
        return picture.filter(kernel)
    return picture.convert("RGBa").filter(kernel).convert("RGBA")
