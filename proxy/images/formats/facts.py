"""The facts about a picture that are known before it is decoded. Pure; runs anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """The facts about a picture that are known without decoding it.

    width, height: upright, in pixels. frames: 1 for a still picture. has_alpha: it may have transparency. drawing: it
    has few colours (a palette, two tones), so JPEG would spoil it. bits: bits of each channel. beyond_bound: for an
    SVG, drawing it is more work than we accept, here or in a browser.
    """

    format: str
    width: int
    height: int
    frames: int = 1
    has_alpha: bool = False
    drawing: bool = False
    bits: int = 8
    beyond_bound: bool = False

    @property
    def animated(self) -> bool:
        """Whether there is more than one frame."""
        return self.frames > 1

    @property
    def scalable(self) -> bool:
        """Whether it can be drawn at any size, so that enlarging costs no sharpness."""
        return self.format == "svg"

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PictureFacts:
        """Read the facts that `to_dict` returned; names that no longer exist are ignored.

        Raises:
            ValueError: a name is missing or its value has the wrong type.
        """
        try:
            return cls(
                format=str(stored["format"]),
                width=int(stored["width"]),
                height=int(stored["height"]),
                frames=int(stored.get("frames", 1)),
                has_alpha=bool(stored.get("has_alpha", False)),
                drawing=bool(stored.get("drawing", False)),
                bits=int(stored.get("bits", 8)),
                beyond_bound=bool(stored.get("beyond_bound", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the facts of a picture: {error}") from error
