"""Chooses the machine's fonts for `sans-serif`, `serif` and `monospace`, and finds letters that they lack.

The rasteriser has no fallback fonts. It draws text in a missing family with its `serif`, and not at all if that is
missing too. A letter that no font contains becomes an empty box, or nothing. The rasteriser reads the machine's fonts
once, for the first document with text (about 70 ms). Runs in render processes.
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
    """Return the first installed family for each generic name, as arguments of `draw`; empty if there is none."""
    blank = draw(svg_string=_LETTER.format(_NONE), serif_family=_NONE)
    found = {}
    for generic, names in _FAMILIES.items():
        for name in names:
            if draw(svg_string=_LETTER.format(name), serif_family=_NONE) != blank:
                found[generic] = name
                break
    if not found:
        return {}
    # Text in the wrong letters is better than no text.
    return dict.fromkeys(_FAMILIES, next(iter(found.values()))) | found


_NOBODYS = "\U0010fffd"
"""The last character for private use. No font contains it, so it shows how missing letters are drawn."""
_CELL_PX = 40
_ACROSS = 20
_AT_ONCE = 400
_SHAPELESS = frozenset({"Cc", "Cf", "Cs"})
"""Controls and surrogates. Marks combine with other letters, and spaces have no shape either."""
_EMPTY_BY_DESIGN = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_MAX_KNOWN = 65_536
_shaped: set[str] = set()
"""Letters that some font is known to contain."""


def lacking(draw: Callable[..., bytes], letters: Iterable[str]) -> str:
    """Return a letter that would be missing from a drawing; empty if `draw` has a shape for all of them.

    The letters are drawn, each in a cell of its own, because the rasteriser does not report missing letters and no
    library here reads its fonts.
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
    """Return the drawn pixels of each letter."""
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
