"""Recognising formats, the facts, and the choice of the answer's format."""

from __future__ import annotations

import pictures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dialects.base import asked
from proxy.dialects.grammars import imageproxy
from proxy.images.formats import (
    FORMAT_OF_MEDIA_TYPE,
    MEDIA_TYPES,
    OUTPUTS,
    RENDERABLE,
    PictureFacts,
    sniff,
)
from proxy.rewrite.exporting.pictures import SHOWN_IN_PAGES


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "ICO"])
def test_rendered_formats_are_recognised(name: str) -> None:
    """Every format that Pillow writes here is recognised from its first bytes."""
    assert sniff(pictures.saved(pictures.quarters(), name)[:64]) == name.lower()
    assert name.lower() in RENDERABLE


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "svg"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x -->\n<svg>", "svg"),
        (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "x.dtd"><svg>', "svg"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "heic"),
        (b"\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00mif1avifmiaf", "avif"),
        (b"\x00\x00\x00\x20ftypavis\x00\x00\x00\x00msf1", "avif"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x00\x00mp42", None),
        (b"\xff\x0a\xfa\x1f", "jxl"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
        (b"MM\x00\x2a\x00\x00\x00\x08", "tiff"),
        (b"\x00\x00\x02\x00\x01\x00", "ico"),
        (b"8BPS\x00\x01", "psd"),
        (b"BMW drivers read this text", None),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", None),
        (b"<!DOCTYPE html><html><svg>", None),
        (b"%!PS-Adobe-3.0 EPSF-3.0", None),
        (b"GIF88a", None),
        (b"\xff\xd8", None),
        (b"", None),
    ],
)
def test_first_bytes_decide(head: bytes, name: str | None) -> None:
    """A signature decides, never a name. Bytes that are not a picture have no format."""
    assert sniff(head) == name


@pytest.mark.parametrize(
    "part", [b"<!---->", b"<!-- -->\n", b"<!DOCTYPE svg>", b"<!DOCTYPE svg[]>", b" ", b"<?xml?>"]
)
def test_row_of_preambles_is_read_in_one_go(part: bytes) -> None:
    """Nothing that may stand before an SVG takes more than one look, however often it is repeated."""
    assert sniff(part * 400) is None


@given(st.binary(max_size=200))
def test_any_bytes_can_be_sniffed(head: bytes) -> None:
    """The answer is a known format or None."""
    assert sniff(head) in {None, *MEDIA_TYPES}


def test_media_types_go_both_ways() -> None:
    """Every format's media type leads back to it."""
    assert all(FORMAT_OF_MEDIA_TYPE[media_type] == name for name, media_type in MEDIA_TYPES.items())


def test_output_formats_are_those_that_dialects_can_ask_for() -> None:
    """Dialects know no pictures, so their table of words is held here."""
    meant = {value for value in asked.FORMATS.values() if value}
    assert meant == OUTPUTS.keys(), "add the new output format to FORMATS of proxy/dialects/base/asked.py"
    assert all(asked.FORMATS[name] == name for name in OUTPUTS), "each has its own name as a word"
    assert {*imageproxy.FORMATS} <= OUTPUTS.keys()


def test_output_formats_are_named_in_exported_pages() -> None:
    """Rewriting knows no pictures either; a format that is missing there would be left out of exported pages."""
    shown = {name: MEDIA_TYPES[name] for name in (*OUTPUTS, "svg")}
    assert shown == SHOWN_IN_PAGES, "add the new output format to SHOWN_IN_PAGES of proxy/rewrite/exporting"


@given(
    st.builds(
        PictureFacts,
        format=st.sampled_from(sorted(RENDERABLE)),
        width=st.integers(1, 99999),
        height=st.integers(1, 99999),
        frames=st.integers(1, 300),
        has_alpha=st.booleans(),
        drawing=st.booleans(),
        bits=st.sampled_from([8, 16]),
    )
)
def test_facts_survive_storing(facts: PictureFacts) -> None:
    """`from_dict(to_dict)` is the same, and names of later versions do no harm."""
    assert PictureFacts.from_dict(facts.to_dict() | {"later": 1}) == facts


@pytest.mark.parametrize("stored", [{}, {"format": "png"}, {"format": "png", "width": "x", "height": 1}])
def test_broken_facts_are_refused(stored: dict[str, object]) -> None:
    """A record that does not describe a picture is a ValueError."""
    with pytest.raises(ValueError, match="facts"):
        PictureFacts.from_dict(stored)
