"""What has to be known of kept originals to write responsive markup: values only. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from proxy.source import Source

Size = tuple[int, int]
Wanted = tuple[Source, ...]
"""A source that has to be known, and behind it the wrappers' own addresses under which it may be kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A kept original.

    width, height: upright, in pixels. resizes: variants of other widths can be made of it, which is not so of an SVG
    (it scales by itself), of what is damaged and of what is beyond the render limits. colour: `#rrggbb` to show until
    an opaque picture comes; empty when there is none to show.
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
"""What is known of sources: None when an original is not kept. A source that was not asked for is not in it."""

LookUp = Callable[[Iterable[Wanted]], Known]
"""Looks sources up; fetches nothing."""


def nothing_kept(asked: Iterable[Wanted]) -> Known:
    """Look sources up where there is no store."""
    return {wanted[0]: None for wanted in asked}


Shape = Callable[[str, Size], Size | None]
"""Returns how large the picture is that options, as they stand in our addresses, make of one of a size. None when that
is not known, or the options are not answered."""
