"""The blocks of files: proper ends, frame counts, and patience with hostile ones."""

from __future__ import annotations

from pathlib import Path

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.images.files import structure
from proxy.images.files.structure import Structure
from proxy.images.formats.probe import Looked, has_proper_end, looked_at, structure_of
from proxy.images.formats.probe import walked as walk

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO")
BODIES = {name.lower(): pictures.saved(pictures.photo(64, 48), name) for name in FORMATS}
BODIES["svg"] = b"<svg xmlns='http://www.w3.org/2000/svg'><path/></svg>\n"


def complete(body: bytes, name: str) -> bool:
    return walk(body, name, max_frames=200).complete


@pytest.mark.parametrize("name", sorted(BODIES))
def test_whole_file_has_its_end(name: str, tmp_path: Path) -> None:
    """The end of a whole file is found, through a file as well."""
    path = tmp_path / "body"
    path.write_bytes(BODIES[name])
    assert has_proper_end(path, name)


@pytest.mark.parametrize("body", [b"", BODIES["jpeg"], BODIES["jpeg"][:-20]], ids=["empty", "whole", "cut"])
def test_file_of_an_unknown_format_goes_to_the_decoder_as_it_is_without_a_proven_end(
    body: bytes, tmp_path: Path
) -> None:
    """Nothing is mended, counted or proven in a format that we have no record of, whatever the bytes are."""
    path = tmp_path / "body"
    path.write_bytes(body)
    assert looked_at(path, "unknown", max_frames=200) == Looked(str(path), Structure(complete=False))
    assert not has_proper_end(path, "unknown")


@pytest.mark.parametrize("name", sorted(BODIES))
def test_cut_file_has_no_end(name: str) -> None:
    """Wherever a download breaks off, be it one byte early, no end is found."""
    body = BODIES[name].rstrip() if name == "svg" else BODIES[name]
    for size in {0, 1, 9, 20, len(body) // 3, len(body) // 2, len(body) - 20, len(body) - 3, len(body) - 1}:
        assert not complete(body[: max(0, size)], name), size


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "ico", "bmp", "tiff"])
def test_bytes_behind_the_end_do_no_harm(name: str) -> None:
    """Cameras and editors append data; the picture's own end counts."""
    assert complete(BODIES[name] + b"\0\xff appended", name)


def test_end_inside_a_thumbnail_does_not_count() -> None:
    """A JPEG inside the EXIF data has an end of its own, which is not the picture's."""
    thumbnail = pictures.saved(pictures.quarters(), "JPEG")
    body = pictures.saved(pictures.photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail)
    assert complete(body, "jpeg")
    assert not complete(body[: len(thumbnail) + 200], "jpeg")


def test_progressive_jpeg_ends_after_its_last_scan() -> None:
    """Scans between which tables stand are walked through."""
    body = pictures.saved(pictures.photo(), "JPEG", progressive=True)
    assert complete(body, "jpeg")
    assert not complete(pictures.cut(body, 0.9), "jpeg")


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_canvas_of_a_webp_is_what_its_first_chunk_says(options: dict[str, object]) -> None:
    """VP8, VP8L and VP8X write their sides in three ways (RFC 9649)."""
    body = pictures.saved(pictures.photo(301, 157), "WEBP", **options)
    assert walk(body, "webp", max_frames=1).canvas == (301, 157)
    assert walk(body[:14], "webp", max_frames=1).canvas == (0, 0)


@pytest.mark.parametrize("picture_format", ["GIF", "WEBP", "PNG"])
def test_frames_are_counted(picture_format: str) -> None:
    """Every frame counts once."""
    assert walk(pictures.moving(picture_format, 5), picture_format.lower(), max_frames=200).frames == 5


def test_counting_stops_above_the_limit() -> None:
    """A long animation is not read to its end."""
    assert walk(pictures.long_gif(5000), "gif", max_frames=200).frames == 201
    assert walk(pictures.long_gif(5000), "gif", max_frames=10_000) == structure.Structure(True, 5000, (1, 1))


def test_exif_chunk_behind_the_data_is_found() -> None:
    """PNG allows eXIf after IDAT, where Pillow reads it only after decoding everything."""
    exif = pictures.exif(6)[6:]
    body = pictures.saved(pictures.quarters(), "PNG")
    body = body[:-12] + pictures.chunk(b"eXIf", exif) + body[-12:]
    assert walk(body, "png", max_frames=1).exif == exif


def test_empty_file_has_no_structure(tmp_path: Path) -> None:
    """An empty file cannot be mapped; it is simply not complete."""
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert not structure_of(path, "png", max_frames=1).complete
    assert not has_proper_end(path, "unknown")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("gif", b"GIF89a\1\0\1\0\0\0\0" + b"\x21\xfe" + b"\1x" * 3_000_000),
        ("gif", b"GIF89a\1\0\1\0\0\0\0" + b"\x00" * 3_000_000),
        ("jpeg", b"\xff\xd8" + b"\xff\x01" * 3_000_000),
        ("jpeg", b"\xff\xd8\xff\xda\0\2" + b"\xff" * 3_000_000),
        ("png", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0tEXtCRCC" * 1_500_000),
        ("webp", b"RIFF\xff\xff\xff\x7fWEBP" + b"abcd\0\0\0\0" * 1_500_000),
        ("avif", b"\0\0\0\x08free" * 1_500_000),
    ],
)
def test_endless_structure_is_given_up(name: str, body: bytes) -> None:
    """Files made of nothing but tiny blocks end the walk, not the service."""
    assert not complete(body, name)


@given(st.sampled_from(sorted(BODIES)), st.binary(max_size=400))
def test_any_bytes_can_be_walked(name: str, tail: bytes) -> None:
    """No bytes behind a signature lead to an exception."""
    walk(BODIES[name][:12] + tail, name, max_frames=3)


@given(st.sampled_from(sorted(BODIES)), st.integers(0, 4000), st.binary(min_size=1, max_size=4))
def test_any_damage_can_be_walked(name: str, place: int, damage: bytes) -> None:
    """No changed bytes inside a real file lead to an exception."""
    body = bytearray(BODIES[name])
    place %= len(body)
    body[place : place + len(damage)] = damage
    walk(bytes(body), name, max_frames=3)
