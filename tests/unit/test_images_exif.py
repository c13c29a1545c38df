"""EXIF data: the orientation, the part that is kept, and that damaged EXIF data do not damage a picture."""

from __future__ import annotations

import pictures
import pytest

from proxy.images.files.exif import kept, orientation_of

DAMAGED = (
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0II*\0",  # ends before the place of its first directory
    b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
    b"Exif\0\0",
    b"no EXIF at all",
)

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [(b"", 1), (pictures.exif(6), 6), (pictures.exif(9), 1), *((damaged, 1) for damaged in DAMAGED)],
)
def test_orientation_is_read_or_upright(exif: bytes, orientation: int) -> None:
    assert orientation_of(exif) == orientation


@pytest.mark.parametrize("metadata", ["none", "copyright", "keep"])
@pytest.mark.parametrize("exif", [b"", *DAMAGED])
def test_nothing_is_kept_of_damaged_data(exif: bytes, metadata: str) -> None:
    assert kept(exif, metadata) == b""


def test_data_are_kept_without_their_orientation() -> None:
    """The pixels are upright by then: a viewer that turned them once more would lay them on their side."""
    everything = kept(pictures.exif(6, Artist="Ada", Make="Box"), "keep")
    assert orientation_of(everything) == 1
    assert b"Ada" in everything
    assert b"Box" in everything
    some = kept(pictures.exif(6, Artist="Ada", Make="Box"), "copyright")
    assert b"Ada" in some
    assert b"Box" not in some
    assert kept(pictures.exif(6), "keep") == b""
