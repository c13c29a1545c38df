"""Encodes pixels: the limits and faults of all encoders, and the search for a quality. Runs in render processes.

The result is deterministic: the same pixels and settings give the same bytes with the same libraries. Nothing of the
original is copied except what `metadata` selects. The record of each format says how it is written
(`proxy.images.formats`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from proxy.errors import OutOfMemory, PictureError, TooManyPixels, UnsupportedFormat
from proxy.images.decode.faults import FAULTS
from proxy.images.formats import BY_NAME, OUTPUTS
from proxy.images.formats.result import Result
from proxy.images.measuring.autoquality import lowest_quality

__all__ = ["RENDER_VERSION", "EncodeFailed", "Result", "encode"]

RENDER_VERSION = "10"
"""Part of every variant's name. Raise it with any change of a setting or an operation that changes bytes."""

_ENCODERS = {name: written.write for name, written in OUTPUTS.items()}


class EncodeFailed(Exception):
    """An encoder cannot write a picture. This is not a fault of the original.

    error: the answer if no other format is possible. lasting: whether another attempt would fail in the same way.
    """

    def __init__(self, error: PictureError, *, lasting: bool = True) -> None:
        self.error = error
        self.lasting = lasting
        super().__init__(error.detail or error.message)


@contextmanager
def _encoding(output_format: str) -> Iterator[None]:
    name = BY_NAME[output_format].label
    try:
        yield
    except MemoryError as error:
        raise EncodeFailed(_out_of_memory(name, error), lasting=False) from error
    except FAULTS as error:
        if "memory" in str(error).lower():
            # libwebp and libavif report a lack of memory as an ordinary error.
            raise EncodeFailed(_out_of_memory(name, error), lasting=False) from error
        refusal = f"The picture cannot be written as {name}; another format may hold it."
        raise EncodeFailed(UnsupportedFormat(refusal, detail=repr(error))) from error


def _out_of_memory(name: str, error: Exception) -> OutOfMemory:
    return OutOfMemory(f"Writing the picture as {name} takes more memory than there is.", detail=repr(error))


def encode(result: Result, output_format: str) -> bytes:
    """Return the bytes of `result`.

    Raises:
        EncodeFailed: the format cannot hold the picture, or its encoder fails.
    """
    limit = OUTPUTS[output_format].max_side_px
    if limit is not None and max(result.picture.size) > limit:
        name = BY_NAME[output_format].label
        raise EncodeFailed(TooManyPixels(f"A {name} picture has at most {limit} pixels a side."))
    with _encoding(output_format):
        return _encoded(result, output_format)


def _encoded(result: Result, output_format: str) -> bytes:
    write, usual = _ENCODERS[output_format], OUTPUTS[output_format].usual_quality
    if result.wanted.quality != "auto" or usual is None:
        return write(result)
    quality, body = lowest_quality(
        result.picture,
        lambda tried: write(result.still(tried)),
        usual=usual,
    )
    if len(result.frames) == 1:
        return body
    # The first frame decides the quality of an animation.
    return write(replace(result, wanted=result.wanted.replaced(quality=quality)))
