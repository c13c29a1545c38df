"""The picture to be encoded. Pure; runs in render processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from PIL import Image

from proxy.images.options.wanted import Wanted


@dataclass(frozen=True, slots=True)
class Result:
    """The picture to be encoded. frames: (picture, milliseconds); more than one only if the format can hold an
    animation.

    drawing: formats that have a lossless mode try it too. flat: the share of flat pixels of the only frame. It is
    measured for pictures of many colours from lossless sources (`proxy.images.measuring.drawing`), and else None.
    """

    frames: tuple[tuple[Image.Image, int], ...]
    plays: int
    exif: bytes
    wanted: Wanted
    drawing: bool = False
    flat: float | None = None

    @property
    def picture(self) -> Image.Image:
        """The first frame."""
        return self.frames[0][0]

    def quality(self, usual: int) -> int:
        """The quality for a lossy format. `proxy.images.encode` has resolved quality=auto before."""
        asked = self.wanted.quality
        return asked if isinstance(asked, int) else usual

    @property
    def first(self) -> Result:
        """The same result with its first frame only."""
        return self if len(self.frames) == 1 else replace(self, frames=self.frames[:1])

    def still(self, quality: int) -> Result:
        """The same result with its first frame only, at the given quality."""
        return replace(self.first, wanted=self.wanted.replaced(quality=quality))
