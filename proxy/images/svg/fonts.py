"""Which fonts of the machine stand for `sans-serif`, `serif` and `monospace`. Runs in render processes.

The rasteriser knows no substitutes: text in a family that is not there is drawn in its `serif`, and not at all when
that is missing too. It reads the machine's fonts once, for the first document with text (some 70 ms).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

_FAMILIES = {
    "sans_serif_family": (
        "DejaVu Sans",
        "Liberation Sans",
        "Noto Sans",
        "Arial",
        "Helvetica",
        "Noto Sans CJK SC",
    ),
    "serif_family": ("DejaVu Serif", "Liberation Serif", "Noto Serif", "Times New Roman", "Times"),
    "monospace_family": ("DejaVu Sans Mono", "Liberation Mono", "Noto Sans Mono", "Courier New", "Menlo"),
}
_NONE = "no such family"
_LETTER = '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"><text y="14" font-family="{}">H</text></svg>'


@functools.lru_cache(maxsize=1)
def families(draw: Callable[..., bytes]) -> dict[str, str]:
    """Return the first family that is there for each generic name, for `draw`; none where none is there."""
    blank = draw(svg_string=_LETTER.format(_NONE), serif_family=_NONE)
    found = {}
    for generic, names in _FAMILIES.items():
        for name in names:
            if draw(svg_string=_LETTER.format(name), serif_family=_NONE) != blank:
                found[generic] = name
                break
    if not found:
        return {}
    # A page's text in the wrong letters is better than none.
    return dict.fromkeys(_FAMILIES, next(iter(found.values()))) | found
