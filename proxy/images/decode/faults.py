"""Translates the exceptions that image libraries raise for bad pictures. Runs in render processes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageCms

from proxy.errors import DecodeFailed, OutOfMemory, TooManyPixels

# All of these have occurred: Pillow's parsers are Python code that trusts lengths and offsets.
FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImageCms.PyCMSError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@contextmanager
def guarded() -> Iterator[None]:
    """Translate the exceptions of the block.

    Raises:
        DecodeFailed: the picture is damaged.
        TooManyPixels: the picture has more pixels than Pillow accepts.
        OutOfMemory: the picture needs more memory than a render process may have.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise TooManyPixels(detail=repr(error)) from error
    except MemoryError as error:
        raise OutOfMemory(detail=repr(error)) from error
    except FAULTS as error:
        if "memory" in str(error).lower():
            # libwebp, libavif and libtiff report a lack of memory as an ordinary error.
            raise OutOfMemory(detail=repr(error)) from error
        raise DecodeFailed(detail=repr(error)) from error
