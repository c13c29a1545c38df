"""The interface between files and pixels: `open` a body, then `decode` it at no less than the needed size.

Callers get upright pictures in sRGB with mode L, RGB or RGBA (straight alpha), and never ask which library made them.
`faults.guarded` turns the exceptions of libraries into `DecodeFailed` or `TooManyPixels`. Runs in render processes.
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
from proxy.images.pixels.resampling import Resample


@dataclass(frozen=True, slots=True)
class Frame:
    """One complete picture of an animation (not a difference), or the only picture."""

    picture: Image.Image
    duration_ms: int = 0


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of decoding. plays: how often an animation is shown, 0 for ever. exif: as stored in the file.

    as_in_file: the file itself shows these pixels everywhere, upright and in these colours.
    """

    frames: tuple[Frame, ...]
    plays: int = 0
    exif: bytes = b""
    as_in_file: bool = False


class OtherDecoderNeeded(Exception):
    """The library refuses the body. `opened` may still decode it, and needs memory of its own for that."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        super().__init__()


class Opened(Protocol):
    """A body whose header was read. Nothing is decoded yet."""

    @property
    def facts(self) -> PictureFacts:
        """The facts from the header."""
        ...

    def memory(self, *, at_least: Size, frames: int) -> int:
        """Return how many bytes `decode` takes at its peak, estimated from above."""
        ...

    def decode(self, *, at_least: Size, frames: int) -> Decoded:
        """Return the first `frames` frames, decoded completely. Each is at least `at_least` large (upright), or has its
        own size if that is smaller. May be called once.

        Raises:
            DecodeFailed, TooManyPixels: the body cannot be decoded.
            OtherDecoderNeeded: this library cannot decode it.
        """
        ...


def decode(opened: Opened, *, at_least: Size, frames: int, before: Callable[[int], None]) -> Decoded:
    """Decode with the library that opened the body, or with the other one if it refuses the body.

    before: called before each attempt with the number of bytes that it will take.

    Raises:
        DecodeFailed, TooManyPixels: the body cannot be decoded.
    """
    try:
        before(opened.memory(at_least=at_least, frames=frames))
        return opened.decode(at_least=at_least, frames=frames)
    except OtherDecoderNeeded as refused:
        other = refused.opened
    # Leave the handler first, so that it holds no memory of the first attempt.
    before(other.memory(at_least=at_least, frames=frames))
    return other.decode(at_least=at_least, frames=frames)


class Decoder(Protocol):
    """A library that decodes, and the function that resamples what it decoded."""

    @property
    def resample(self) -> Resample:
        """The function that resamples from the decoded size to the wanted one."""
        ...

    def open(
        self, source: str | bytes, structure: Structure, *, picture_format: str
    ) -> AbstractContextManager[Opened]:
        """Read the header of a body. `source` is its path, or its bytes after mending.

        Raises:
            DecodeFailed, TooManyPixels: the header is unreadable or exceeds the limits of the library.
        """
        ...
