"""Chooses `srcset` candidates: the same picture at the widths of the configuration. Pure.

src shows             candidates
content               content,width=320 …     a preset that keeps the picture's shape
headimg (1200x630)    headimg,height=168,width=320 …     keeps its shape; none if only presets are admitted
width=300,quality=50  quality=50,width=320 …  other options stay
original              content,width=320 …     of `rewrite.body`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proxy.dialects.native import ORIGINAL, items
from proxy.rewrite.base.kept import Shape, Size
from proxy.rewrite.deciding.sizes import Canonical

_SIZES = ("width=", "w=", "height=", "h=", "dpr=")
_LARGER = 1.1
"""The picture in `src` becomes a candidate if it is wider than the widest one by this factor; less is invisible."""


@dataclass(frozen=True, slots=True)
class SrcsetCandidates:
    """Chooses candidates for one configuration. `widths` are ascending; `body` is a preset."""

    widths: Sequence[int]
    body: str
    any_transform: bool
    canonical: Canonical
    shape: Shape

    def of(self, options: str, natural: Size) -> list[tuple[str, int]]:
        """Return the options and the width in pixels of each candidate for a picture shown with `options`.

        All candidates have the shape of that picture and their exact width. A single candidate is left out.
        """
        shown = self.shape(options, natural)
        if shown is None:
            return []
        found = [
            (candidate, width)
            for width in self.widths
            if width <= natural[0]
            for candidate in self._fitting(options, width, shown, natural)
        ]
        if shown[0] > _LARGER * max((width for _, width in found), default=0):
            found.append((options, shown[0]))
        return found if len(found) > 1 else []

    def _fitting(self, options: str, width: int, shown: Size, natural: Size) -> Iterator[str]:
        """Yield the first options, if any, that give the picture this width and its displayed shape."""
        height = width * shown[1] / shown[0]
        for candidate in self._resized(options, width, max(1, round(height))):
            size = self.shape(candidate, natural)
            # For a picture that is cut to another shape, its height shows whether it would be enlarged.
            if size is not None and size[0] == width and abs(size[1] - height) <= 1 and size[1] <= natural[1]:
                yield candidate
                return

    def _resized(self, options: str, width: int, height: int) -> Iterator[str]:
        words = [self.body] if options == ORIGINAL else items(options)
        kept = [word for word in words if not word.startswith(_SIZES)]
        if not self.any_transform and (len(kept) > 1 or (kept and "=" in kept[0])):
            return
        for size in ([f"width={width}"], [f"height={height}", f"width={width}"]):
            text = self.canonical(",".join([*kept, *size]))
            if text is not None and (self.any_transform or len(size) == 1):
                yield text


def names_size(options: str) -> bool:
    """Return whether options name a size themselves, in addition to that of a preset."""
    return any(word.startswith(_SIZES) for word in items(options))
