"""What image libraries raise when they are given bad pictures, translated at one place. Runs in render processes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, ImageCms

from proxy.errors import DecodeFailed, OutOfMemory, TooManyPixels

# All of these were seen: Pillow's parsers are Python code that trusts lengths and offsets.
_FAULTS = (
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
    """Translate what goes wrong inside.

    Raises:
        DecodeFailed: the picture is damaged.
        TooManyPixels: it has more than Pillow takes.
        OutOfMemory: it needs more memory than a render process may have.
    """
    try:
        yield
    except Image.DecompressionBombError as error:
        raise TooManyPixels(detail=repr(error)) from error
    except MemoryError as error:
        raise OutOfMemory(detail=repr(error)) from error
    except _FAULTS as error:
        if "memory" in str(error).lower():
            # libwebp, libavif and libtiff report it as an error among others.
            raise OutOfMemory(detail=repr(error)) from error
        raise DecodeFailed(detail=repr(error)) from error
