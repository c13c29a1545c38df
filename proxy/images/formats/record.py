"""The record of a format, and of the encoding of a format that answers may have. Pure; runs anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.images.files.structure import Buffer, Structure
from proxy.images.formats.result import Result


def _always(_head: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Written:
    """How answers are encoded in a format.

    write: returns the bytes of a result; `proxy.images.encode` translates the exceptions that it raises.
    encoder_bytes_per_pixel: the most memory that the encoder takes, estimated from above (decision 10).
    usual_quality: the quality if none is asked for, on the format's own scale; None for a format without quality.
    effort: the rough cost of a pixel, relative to JPEG. large: from how many pixels on another effort holds, and that
    effort; None if it is always the same. max_side_px: None if the format has no limit of its own.
    moves: whether it can hold animations.
    """

    write: Callable[[Result], bytes]
    encoder_bytes_per_pixel: int
    usual_quality: int | None = None
    effort: int = 1
    large: tuple[int, int] | None = None
    max_side_px: int | None = None
    moves: bool = False

    def cost(self, pixels: int) -> int:
        """Return the rough cost of a result of so many pixels, where JPEG costs 1 a pixel."""
        if self.large is not None and pixels >= self.large[0]:
            return pixels * self.large[1]
        return pixels * self.effort


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """All facts about a format in one place, except how it is decoded (`proxy.images.decode`).

    name: as in options and entries. label: as people write it. aliases: other media types with the same meaning.
    confirm: checks the first bytes if the signature is short. walk: finds frames and the end in a file; it stops
    counting just above the given number of frames. mend: returns a file that libraries accept, or None if it is valid
    already.
    is_decoded: its pictures can be rendered; those of other formats are kept and served unchanged. is_lossless: it
    preserves drawings exactly. moves: a file may hold several frames.
    pillow_bytes_per_pixel, libvips_bytes_per_pixel: the memory of decoding if the library holds the picture more than
    once regardless of its mode; None if the mode decides.
    """

    name: str
    label: str
    media_type: str
    aliases: tuple[str, ...] = ()
    confirm: Callable[[bytes], bool] = _always
    walk: Callable[[Buffer, int], Structure] | None = None
    mend: Callable[[Buffer], bytes | None] | None = None
    is_decoded: bool = True
    is_lossless: bool = False
    moves: bool = False
    pillow_bytes_per_pixel: int | None = None
    libvips_bytes_per_pixel: int | None = None
    written: Written | None = None
