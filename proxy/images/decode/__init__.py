"""The seam between files and pixels: `open` a body, `decode` it at least as large as it is needed.

Everything behind the seam gets upright pictures in sRGB, mode L, RGB or RGBA (straight alpha), and never asks which
library made them. Whatever a library raises becomes `DecodeFailed` or `TooManyPixels` in `faults.guarded`.
Runs in render processes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from proxy.images.files.structure import Structure
from proxy.images.formats import PictureFacts
from proxy.images.geometry import Size
from proxy.images.pixels.png_writing import WritePng
from proxy.images.pixels.resampling import Resample


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of an animation, complete in itself (not a difference), or the only one."""

    picture: Image.Image
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was decoded. plays: how often an animation is shown, 0 for ever. exif: as it stood in the file.

    as_in_file: the file itself shows these pixels, upright and in these colours, wherever it is shown.
    """

    frames: tuple[Frame, ...]
    plays: int = 0
    exif: bytes = b""
    as_in_file: bool = False


class OtherDecoderNeeded(Exception):
    """The library refuses the body; `opened` may still decode it, and takes memory of its own for that."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        super().__init__()


class Opened(Protocol):
    """A body whose header was read; nothing is decoded yet."""

    @property
    def facts(self) -> PictureFacts:
        """What the header says."""
        ...

    def memory(self, *, at_least: Size, frames: int) -> int:
        """Return how many bytes `decode` takes at its peak, estimated from above."""
        ...

    def decode(self, *, at_least: Size, frames: int) -> Decoded:
        """Return the first `frames` frames, decoded completely, each at least `at_least` large (upright) or at its
        own size where that is smaller. May be called once.

        Raises:
            DecodeFailed, TooManyPixels: the body cannot be decoded.
            OtherDecoderNeeded: not by this library.
        """
        ...


def decode(opened: Opened, *, at_least: Size, frames: int, before: Callable[[int], None]) -> Decoded:
    """Decode with the library that opened the body, or with the other one when that refuses it.

    before: told how many bytes will be taken, before each attempt.

    Raises:
        DecodeFailed, TooManyPixels: the body cannot be decoded.
    """
    try:
        before(opened.memory(at_least=at_least, frames=frames))
        return opened.decode(at_least=at_least, frames=frames)
    except OtherDecoderNeeded as refused:
        other = refused.opened
    # Outside of the handler, so that nothing of the first attempt is held any more.
    before(other.memory(at_least=at_least, frames=frames))
    return other.decode(at_least=at_least, frames=frames)


class Decoder(Protocol):
    """A library that decodes, resamples what it decoded, and may write some formats better than Pillow."""

    @property
    def resample(self) -> Resample:
        """The library's way from the decoded size to the one wanted."""
        ...

    @property
    def write_png(self) -> WritePng | None:
        """The library's way to write a PNG; None where Pillow's is the best."""
        ...

    def open(
        self, source: str | bytes, structure: Structure, *, picture_format: str
    ) -> AbstractContextManager[Opened]:
        """Read the header of a body: `source` is its path, or what it became when it was mended.

        Raises:
            DecodeFailed, TooManyPixels: already the header is unreadable or beyond what the library takes.
        """
        ...
