"""What is known of a format, and what of one that answers are written in. Pure; runs anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.images.files.structure import Buffer, Structure
from proxy.images.formats.result import Result


def _always(_head: bytes) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Written:
    """How answers are written in a format.

    write: returns the bytes of a result; what it raises is translated by `proxy.images.encode`.
    encoder_bytes_per_pixel: what the encoder takes at its peak, estimated from above (decision 10).
    usual_quality: on the format's own scale, when none is asked for; None for a format that knows no quality.
    effort: what a pixel costs, roughly, where JPEG costs 1. max_side_px: None where the format has no limit of its own.
    moves: animations are written in it.
    """

    write: Callable[[Result], bytes]
    encoder_bytes_per_pixel: int
    usual_quality: int | None = None
    effort: int = 1
    max_side_px: int | None = None
    moves: bool = False


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """Everything that is known of a format in one place, but for how it is decoded (`proxy.images.decode`).

    name: as in options and entries. label: as people write it. aliases: other media types that mean it.
    confirm: told the first bytes where a signature is short. walk: finds frames and the end in a file, counting until
    just above so many frames. mend: returns a file as libraries take it, None when it is good as it stands.
    is_decoded: pictures of it are rendered; others are kept and served as they are. is_lossless: drawings in it are
    as they were made. moves: files of it may hold several frames.
    pillow_bytes_per_pixel, libvips_bytes_per_pixel: what decoding takes when the library holds the picture more than
    once, whatever the mode; None where the mode decides.
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
