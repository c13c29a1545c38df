"""GIF files that end anywhere are mended, or left to the decoder; they never raise."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from proxy.images.files.mending.gif import mended

_HEADER, _CONTROL, _DESCRIPTOR = 13, 8, 10


def transparent_gif() -> bytes:
    """Return a GIF of one transparent frame with a global colour table."""
    picture = Image.new("P", (60, 40), 1)
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    buffer = BytesIO()
    picture.save(buffer, "GIF", transparency=1, optimize=False)
    return buffer.getvalue()


def without_colours(body: bytes) -> bytes:
    """Return it without its global colour table."""
    table = 3 << ((body[10] & 7) + 1)
    return body[:10] + bytes([body[10] & 0x7F]) + body[11:_HEADER] + body[_HEADER + table :]


@pytest.mark.parametrize("body", [transparent_gif(), without_colours(transparent_gif())])
def test_gif_that_ends_anywhere_never_raises(body: bytes) -> None:
    """That includes an end within the descriptor of the first frame, behind a control extension."""
    at = body.index(b"\x21\xf9") + _CONTROL
    assert body[at] == 0x2C
    for end in range(_HEADER, len(body)):
        mended(body[:end])
    assert mended(body[: at + _DESCRIPTOR - 1]) is not None
