"""SVG sources: drawn by resvg at the size that is needed. Runs in render processes.

They have the same interface as other pictures (`proxy.images.decode`): `open` reads and measures, `decode` draws. SVG
is `unsupported_format` without the library (`resvg-py`), if a browser would show the document differently
(`proxy.images.svg.css`), or if it is too much work (`proxy.images.svg.work`). The render process bounds everything that
is not counted there, by its alarm, its memory limit and its death.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import PngImagePlugin

from proxy.errors import TooManyPixels, UnsupportedFormat
from proxy.images import memory_budget
from proxy.images.decode import Decoded, Frame
from proxy.images.decode.faults import guarded
from proxy.images.files.structure import Structure
from proxy.images.formats import PictureFacts
from proxy.images.geometry import Size
from proxy.images.pixels.resampling import Resample, by_pillow
from proxy.images.svg.document import SvgDocument, read
from proxy.images.svg.fonts import families, lacking

Draw = Callable[..., bytes]


def _library() -> Draw | None:
    try:
        from resvg_py import svg_to_bytes  # noqa: PLC0415 - there are machines without a wheel
    except ImportError:
        return None
    draw: Draw = svg_to_bytes
    return draw


DRAW = _library()
_DPI = 96
"""CSS Values 3 §6.2: pixels per inch. With the binding's own default, physical lengths would be 0."""

BEYOND_BOUND = "Drawing this takes more work than is allowed."
MAX_SIDE_PX = 1 << 30
"""Sizes are counted up to this one. It is far beyond every limit, and still a number of pixels."""


class SvgDecoder:
    """The decoder of SVG, whichever library decodes other formats."""

    def __init__(self, resample: Resample = by_pillow) -> None:
        self.resample = resample

    @contextmanager
    def open(self, source: str | bytes, structure: Structure, *, picture_format: str) -> Iterator[SvgOpened]:
        """Read the document at the path `source`.

        Raises:
            DecodeFailed: it is not an SVG.
            UnsupportedFormat: it has more parts or entities than we accept.
        """
        yield SvgOpened(read(source if isinstance(source, bytes) else Path(source).read_bytes()), DRAW)


class SvgOpened:
    """A document that was read and measured."""

    def __init__(self, document: SvgDocument, draw: Draw | None) -> None:
        self._document = document
        self._draw = draw

    @property
    def facts(self) -> PictureFacts:
        """The facts from the root element."""
        width, height = (
            max(1, round(min(side, MAX_SIDE_PX))) for side in (self._document.width, self._document.height)
        )
        beyond = self._document.is_beyond_bound(width, height)
        return PictureFacts("svg", width, height, has_alpha=True, drawing=True, beyond_bound=beyond)

    def memory(self, *, at_least: Size, frames: int) -> int:
        """Return how many bytes `decode` takes, except for layers and masks, whose memory cannot be estimated."""
        return memory_budget.drawing(at_least)

    def decode(self, *, at_least: Size, frames: int) -> Decoded:
        """Return the document drawn at exactly the size `at_least`. A larger drawing would gain nothing.

        Raises:
            UnsupportedFormat: a browser would show it differently, or no rasteriser is installed.
            TooManyPixels: it has too many parts.
        """
        if self._draw is None:
            raise UnsupportedFormat(detail="resvg-py is not installed")
        if self._document.objection:
            raise UnsupportedFormat(
                "Browsers would show this drawing differently.",
                detail=self._document.objection,
            )
        if self.facts.beyond_bound or self._document.is_beyond_bound(*at_least):
            raise UnsupportedFormat(BEYOND_BOUND)
        body = self._drawn(self._draw, self._document.at(*at_least))
        with guarded():
            picture = PngImagePlugin.PngImageFile(io.BytesIO(body)).convert("RGBA")
        if picture.size != at_least:
            raise UnsupportedFormat(detail=f"drawn {picture.size} instead of {at_least}")
        picture.info = {}
        return Decoded((Frame(picture),))

    def _drawn(self, draw: Draw, text: str) -> bytes:
        fonts = families(draw) if self._document.has_text else {"skip_system_fonts": True}
        if not fonts:
            raise UnsupportedFormat("The drawing has text, and there are no fonts here.")
        if letter := lacking(draw, self._document.letters):
            raise UnsupportedFormat(
                "The drawing has letters that no font here contains.", detail=f"U+{ord(letter):04X}"
            )
        try:
            return draw(svg_string=text, dpi=_DPI, **fonts)
        except ValueError as error:
            if "limit reached" in str(error):
                # The rasteriser counts nested uses. The document itself is valid.
                raise TooManyPixels("The drawing has too many parts.", detail=str(error)) from error
            # The document is valid XML. That the rasteriser cannot read it is no damage.
            raise UnsupportedFormat(detail=f"not drawn: {error}") from error
