"""The facts that an operation may use besides the picture and the wanted values. Pure; runs in render processes."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from proxy.images.geometry import OutputLimits, Size
from proxy.images.options.wanted import Wanted
from proxy.images.pixels.resampling import Resample, by_pillow


@dataclass(frozen=True, slots=True)
class Scene:
    """The original's upright size, the limits of results, and the resampling function."""

    original: Size
    limits: OutputLimits
    resample: Resample = by_pillow

    def natural_size(self, picture: Image.Image, wanted: Wanted) -> Size:
        """Return the size that `picture` represents before resizing.

        A picture may have been decoded at less than its full size. A picture to be trimmed never is.
        """
        if wanted.trim:
            return picture.size
        width, height = self.original
        return (height, width) if wanted.rotate in {90, 270} else (width, height)
