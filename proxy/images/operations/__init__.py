"""The operations on pixels, in the order in which they are done. Pure; runs in a render process.

A new operation takes three edits: its file (`OPTIONS` and `apply`), its name in `OPERATIONS` below, and its fields in
`proxy.images.resolved.Resolved`; see docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from proxy.images.geometry import Limits, Size
from proxy.images.operations import adjust, background, focus, orient, resize, trim
from proxy.images.options import Option
from proxy.images.resampling import Resample, by_pillow

if TYPE_CHECKING:
    from proxy.images.resolved import Resolved


@dataclass(frozen=True, slots=True)
class Scene:
    """What a step may know besides the picture: the original's upright size, the limits of results, and how to
    resample.
    """

    original: Size
    limits: Limits
    resample: Resample = by_pillow

    def natural_size(self, picture: Image.Image, wanted: Resolved) -> Size:
        """Return the size that `picture` stands for, before resizing.

        A picture may have been decoded smaller than it is. One that is trimmed never is.
        """
        if wanted.trim:
            return picture.size
        width, height = self.original
        return (height, width) if wanted.rotate in {90, 270} else (width, height)


Step = Callable[[Image.Image, "Resolved", Scene], Image.Image]
Settling = Callable[[Image.Image, "Resolved", Scene], "Resolved"]

OPERATIONS = (trim, orient, resize, adjust, focus, background)
STEPS: tuple[Step, ...] = tuple(operation.apply for operation in OPERATIONS)
# Everybody looks for width first.
OPTIONS: tuple[Option, ...] = tuple(
    option
    for operation in sorted(OPERATIONS, key=lambda operation: operation is not resize)
    for option in operation.OPTIONS
)


def settled(picture: Image.Image, wanted: Resolved, scene: Scene) -> Resolved:
    """Return `wanted` with everything that depends on the pixels decided by `picture`, the first frame."""
    wanted = trim.settle(picture, wanted, scene)
    if wanted.gravity != "auto":
        return wanted
    turned = orient.apply(trim.apply(picture, wanted, scene), wanted, scene)
    return resize.settle(turned, wanted, scene)


def transformed(picture: Image.Image, wanted: Resolved, scene: Scene) -> Image.Image:
    """Return `picture` after all steps; `wanted` must be settled."""
    for step in STEPS:
        picture = step(picture, wanted, scene)
    return picture
