"""Which fonts of the machine stand for `sans-serif`, `serif` and `monospace`, and which letters they lack.

The rasteriser knows no substitutes: text in a family that is not there is drawn in its `serif`, and not at all when
that is missing too. A letter that no font has a shape of becomes an empty box, or nothing. It reads the machine's fonts
once, for the first document with text (some 70 ms). Runs in render processes.
"""

from __future__ import annotations

import functools
import io
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from html import escape

from PIL import Image, PngImagePlugin

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


_NOBODYS = "\U0010fffd"
"""The last letter for private use: no font has a shape of it, so it shows what stands for such letters."""
_CELL_PX = 40
_ACROSS = 20
_AT_ONCE = 400
_SHAPELESS = frozenset({"Cc", "Cf", "Cs"})
"""Controls and half characters; marks combine, spaces have no shape either."""
_EMPTY_BY_DESIGN = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_MAX_KNOWN = 65_536
_shaped: set[str] = set()
"""Letters of which some font has a shape, as far as somebody asked."""


def lacking(draw: Callable[..., bytes], letters: Iterable[str]) -> str:
    """Return a letter that would be missing from a drawing; empty when `draw` has a shape of all of them.

    They are drawn, each in a cell of its own: the rasteriser does not tell, and no library here reads its fonts.
    """
    unknown = sorted(letter for letter in letters if letter not in _shaped and _is_visible(letter))
    for start in range(0, len(unknown), _AT_ONCE):
        group = unknown[start : start + _AT_ONCE]
        for letter, is_shaped in zip(group, _are_shaped(draw, group), strict=True):
            if not is_shaped:
                return letter
        if len(_shaped) < _MAX_KNOWN:
            _shaped.update(group)
    return ""


def _is_visible(letter: str) -> bool:
    # A machine that has any font has ASCII.
    category = unicodedata.category(letter)
    return not (
        letter.isascii() or category[0] in "ZM" or category in _SHAPELESS or letter in _EMPTY_BY_DESIGN
    )


def _are_shaped(draw: Callable[..., bytes], letters: Sequence[str]) -> list[bool]:
    nobodys, *cells = _cells(draw, [_NOBODYS, *letters])
    return [cell.getbbox() is not None and cell.tobytes() != nobodys.tobytes() for cell in cells]


def _cells(draw: Callable[..., bytes], letters: Sequence[str]) -> list[Image.Image]:
    """Return what is drawn of each letter."""
    places = [(at % _ACROSS * _CELL_PX, at // _ACROSS * _CELL_PX) for at in range(len(letters))]
    texts = "".join(
        f'<text x="{x + 12}" y="{y + 26}" font-size="12" font-family="serif">{escape(letter)}</text>'
        for (x, y), letter in zip(places, letters, strict=True)
    )
    width, height = _ACROSS * _CELL_PX, places[-1][1] + _CELL_PX
    page = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{texts}</svg>'
    drawn = PngImagePlugin.PngImageFile(io.BytesIO(draw(svg_string=page, **families(draw))))
    alpha = drawn.convert("RGBA").getchannel("A")
    return [alpha.crop((x, y, x + _CELL_PX, y + _CELL_PX)) for x, y in places]
