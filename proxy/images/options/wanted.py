"""The wanted changes as operations and encoders see them: one value for every option. Pure; runs anywhere.

Does not know how options are written; `proxy.images.transforms.resolved` does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, Self

OnError = Literal["error", "original"]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One value for every option. Sizes are in CSS pixels, before dpr.

    on_error: the answer if the picture is beyond the render limits. hinted: the options that hints of a request may
    set; their values here apply without hints.
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
        """Return a copy with other values for some attributes."""
        return dataclasses.replace(self, **changes)
