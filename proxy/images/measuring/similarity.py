"""Measures how similar two pictures look: the SSIM of their luminance. Pure; runs in render processes.

The structural similarity of Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
Structural Similarity" (IEEE Transactions on Image Processing 13(4), 2004), with its constants K1 = 0.01, K2 = 0.03.
The windows are squares of 8 x 8 pixels, four pixels apart, as in x264 and FFmpeg, instead of Gaussian ones. All values
then follow from the means of 4 x 4 blocks. The result is the mean over all windows; 1 means equal.
"""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageMath

_BLOCK_PX = 4
_C1 = (0.01 * 255) ** 2
_C2 = (0.03 * 255) ** 2


class Yardstick:
    """A picture to compare others with. Everything that depends on it alone is computed once."""

    def __init__(self, picture: Image.Image) -> None:
        self._plane = _luminance(picture)
        self._mean = _windows(self._plane)
        self._square = _windows(_product(self._plane, self._plane))

    def ssim(self, other: Image.Image) -> float:
        """Return the mean similarity (at most 1) with a picture of the same size."""
        plane = _luminance(other)
        similarity = ImageMath.lambda_eval(
            _similarity,
            a=self._mean,
            b=_windows(plane),
            aa=self._square,
            bb=_windows(_product(plane, plane)),
            ab=_windows(_product(self._plane, plane)),
        )
        mean = similarity.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        return float(mean)


def _similarity(given: dict[str, Any]) -> Any:
    """Formula (13) of the paper. Variances and covariance come from means of squares and products."""
    a, b = given["a"], given["b"]
    light = (a * b * 2 + _C1) / (a * a + b * b + _C1)
    structure = ((given["ab"] - a * b) * 2 + _C2) / (given["aa"] - a * a + given["bb"] - b * b + _C2)
    return light * structure


def _luminance(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGBA":
        ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        ground.alpha_composite(picture)
        picture = ground
    return picture.convert("L").convert("F")


def _product(one: Image.Image, other: Image.Image) -> Image.Image:
    product: Image.Image = ImageMath.lambda_eval(
        lambda given: given["one"] * given["other"], one=one, other=other
    )
    return product


def _windows(plane: Image.Image) -> Image.Image:
    """Return the means of all windows. A picture smaller than a window counts as one window."""
    if min(plane.size) < 2 * _BLOCK_PX:
        return plane.resize((1, 1), Image.Resampling.BOX)
    wide, high = plane.width // _BLOCK_PX, plane.height // _BLOCK_PX
    # Ignore pixels that do not fill a block, as FFmpeg does.
    blocks = plane.reduce(_BLOCK_PX, (0, 0, wide * _BLOCK_PX, high * _BLOCK_PX))
    corners = {
        f"corner{x}{y}": blocks.crop((x, y, wide - 1 + x, high - 1 + y)) for x in (0, 1) for y in (0, 1)
    }
    means: Image.Image = ImageMath.lambda_eval(
        lambda given: (given["corner00"] + given["corner01"] + given["corner10"] + given["corner11"]) / 4,
        **corners,
    )
    return means
