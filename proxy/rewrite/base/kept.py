"""The facts of kept originals that responsive markup needs, as values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from proxy.source import Source

Size = tuple[int, int]
Wanted = tuple[Source, ...]
"""A source to look up, followed by the wrappers' addresses under which it may be kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept original.

    width, height: in pixels, after EXIF orientation. resizes: whether variants of other widths can be made; false for
    an SVG (it scales by itself), a damaged picture, and one beyond the render limits. colour: `#rrggbb` to show while
    an opaque picture loads; empty for none.
    """

    width: int
    height: int
    resizes: bool = True
    colour: str = ""

    @property
    def size(self) -> Size:
        """Width and height."""
        return self.width, self.height


Known = Mapping[Source, Kept | None]
"""The facts of sources, None for an original that is not kept. Contains only sources that were looked up."""

LookUp = Callable[[Iterable[Wanted]], Known]
"""Looks sources up; fetches nothing."""


def nothing_kept(asked: Iterable[Wanted]) -> Known:
    """Return None for every source; the look-up when there is no store."""
    return {wanted[0]: None for wanted in asked}


Shape = Callable[[str, Size], Size | None]
"""Returns the size of the variant that options, as in our addresses, make of a picture of the given size. None when it
is unknown or the options are not served."""
