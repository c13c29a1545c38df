"""What is wanted of a picture, as the operations and encoders see it: one value for every option. Pure; runs anywhere.

Knows no option's text; `proxy.images.transforms.resolved` does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, Self

OnError = Literal["error", "original"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One value for every option; sizes in CSS pixels, before dpr.

    on_error: what to answer when the picture is beyond the render limits. hinted: the options that were left to
    the hints of a request; they hold what counts without one.
    """

    width: int | None = None
    height: int | None = None
    dpr: float = 1.0
    fit: str = "scale-down"
    upscale: bool = False
    gravity: str = "center"
    trim: tuple[int, ...] = ()
    flip: str | None = None
    rotate: int = 0
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    gamma: float = 1.0
    blur: int = 0
    sharpen: float = 0.0
    background: str | None = None
    format: str = "auto"
    quality: int | Literal["auto"] | None = None
    metadata: str = "none"
    anim: bool = True
    onerror: str = "error"
    slow_connection_quality: int | None = None
    on_error: OnError = "error"
    hinted: frozenset[str] = field(default=frozenset(), compare=False)

    def replaced(self, **changes: Any) -> Self:
        """Return a copy with `changes` by attribute."""
        return dataclasses.replace(self, **changes)
