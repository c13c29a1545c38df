"""Whether a PNG with a palette has data for every row, and when the data are inflated once more to find out."""

from __future__ import annotations

import zlib

import pictures
import pytest
from PIL import PngImagePlugin

from proxy.errors import DecodeFailed
from proxy.images.decode import rows
from proxy.images.decode.body import Body

SIDE = 16


def indexed(*, bits: int = 8, colours: int = 256, last: int = 0, missing: int = 0) -> Body:
    """A square in colour 1 above a last row in colour `last`; `missing` rows at its end have no data."""
    per_byte = 8 // bits
    lines = [bytes([0]) + _packed(1, bits) * (SIDE // per_byte) for _ in range(SIDE - 1)]
    lines.append(bytes([0]) + _packed(last, bits) * (SIDE // per_byte))
    palette = pictures.chunk(b"PLTE", bytes(range(colours)) * 3)
    data = zlib.compress(b"".join(lines[: SIDE - missing]))
    return Body(pictures.png(SIDE, SIDE, data, bits=bits, colour=3, extra=palette), "png")


def _packed(index: int, bits: int) -> bytes:
    return bytes([sum(index << at for at in range(0, 8, bits))])


def decoded(body: Body) -> bytes:
    image = body.opened()
    assert isinstance(image, PngImagePlugin.PngImageFile)
    assert image.mode == "P"
    return rows.with_all_rows(image, body).tobytes()


@pytest.fixture(name="inflated_again")
def _inflated_again(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note the files whose rows are counted."""
    seen: list[bytes] = []

    class Noted(rows.PngRows):
        def __init__(self, body: bytes) -> None:
            seen.append(body)
            super().__init__(body)

    monkeypatch.setattr(rows, "PngRows", Noted)
    return seen


@pytest.mark.parametrize(("bits", "colours"), [(8, 256), (8, 3), (4, 16), (2, 4)])
def test_last_row_in_the_first_colour_is_believed(
    bits: int, colours: int, inflated_again: list[bytes]
) -> None:
    """It is the paper of a chart, and would be inflated twice otherwise."""
    pixels = decoded(indexed(bits=bits, colours=colours))
    assert pixels == bytes([1]) * SIDE * (SIDE - 1) + bytes(SIDE)
    assert inflated_again == []


def test_last_row_in_colour_255_is_counted_and_whole(inflated_again: list[bytes]) -> None:
    assert decoded(indexed(last=255))[-SIDE:] == b"\xff" * SIDE
    assert len(inflated_again) == 1


@pytest.mark.parametrize(("bits", "colours"), [(8, 256), (8, 3), (4, 16), (2, 4)])
@pytest.mark.parametrize("missing", [1, 5])
def test_palette_picture_without_its_last_rows_is_damaged(bits: int, colours: int, missing: int) -> None:
    with pytest.raises(DecodeFailed):
        decoded(indexed(bits=bits, colours=colours, missing=missing))
