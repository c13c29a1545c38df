"""The operations on pixels, in the order of their execution. Pure; runs in a render process.

A new operation takes three edits: its file (`OPTIONS` and `apply`), its name in `OPERATIONS` below, and its fields in
`proxy.images.options.wanted.Wanted`; see docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image

from proxy.images.operations import adjust, background, focus, orient, resize, trim
from proxy.images.operations.scene import Scene
from proxy.images.options.readers import Option
from proxy.images.options.wanted import Wanted

__all__ = ["OPERATIONS", "OPTIONS", "Scene", "settled", "transformed"]

Step = Callable[[Image.Image, Wanted, Scene], Image.Image]
Settling = Callable[[Image.Image, Wanted, Scene], Wanted]

OPERATIONS = (trim, orient, resize, adjust, focus, background)
STEPS: tuple[Step, ...] = tuple(operation.apply for operation in OPERATIONS)
# Width comes first in the documentation, because people look for it first.
OPTIONS: tuple[Option, ...] = tuple(
    option
    for operation in sorted(OPERATIONS, key=lambda operation: operation is not resize)
    for option in operation.OPTIONS
)


def settled(picture: Image.Image, wanted: Wanted, scene: Scene) -> Wanted:
    """Return `wanted` with every value that depends on the pixels replaced by its value for `picture`, the first
    frame."""
    wanted = trim.settle(picture, wanted, scene)
    if wanted.gravity != "auto":
        return wanted
    turned = orient.apply(trim.apply(picture, wanted, scene), wanted, scene)
    return resize.settle(turned, wanted, scene)


def transformed(picture: Image.Image, wanted: Wanted, scene: Scene) -> Image.Image:
    """Return `picture` after all operations; `wanted` must be the result of `settled`."""
    for step in STEPS:
        picture = step(picture, wanted, scene)
    return picture
