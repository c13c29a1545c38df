"""Framing and content decoding, piece by piece."""

import contextlib
import gzip
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import SourceFailed, SourceUnreachable
from proxy.fetch.body import Inflate, framing

DATA = b"the original " * 1000


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


CODED = [
    ("gzip", gzip.compress(DATA)),
    ("gzip", gzip.compress(DATA[:5000]) + gzip.compress(DATA[5000:])),
    ("gzip", gzip.compress(DATA) + b"\0" * 20),
    ("deflate", zlib.compress(DATA)),
    ("deflate", bare_deflate(DATA)),
]


def inflated(coding: str, pieces: Iterable[bytes]) -> bytes:
    decoder = Inflate(coding)
    out = b"".join(part for piece in pieces for part in decoder.feed(piece))
    decoder.finish()
    return out


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(("coding", "packed"), CODED)
def test_coded_body_in_any_pieces_is_decoded(coding: str, packed: bytes, size: int) -> None:
    """Members, padding and the two readings of "deflate", wherever the network cuts."""
    assert inflated(coding, cut(packed, size)) == DATA


@pytest.mark.parametrize(("coding", "packed"), CODED[:1] + CODED[3:])
def test_coded_body_cut_anywhere_is_unreachable(coding: str, packed: bytes) -> None:
    """Each proper beginning of a coded body is cut short, its trailer included."""
    for length in range(1, len(packed)):
        with pytest.raises(SourceUnreachable):
            inflated(coding, [packed[:length]])


def test_coded_body_with_a_second_member_cut_is_unreachable() -> None:
    """The end of the first member is not the end."""
    with pytest.raises(SourceUnreachable):
        inflated("gzip", [gzip.compress(DATA), gzip.compress(DATA)[:-1]])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@given(raw=st.binary(min_size=1, max_size=200))
def test_any_bytes_as_coded_body_decode_or_are_unreachable(coding: str, raw: bytes) -> None:
    """Garbage ends in an error of the contract."""
    with contextlib.suppress(SourceUnreachable):
        inflated(coding, [raw])


def test_coded_body_comes_out_in_bounded_pieces() -> None:
    """A bomb is unpacked a little at a time, so that the limit is seen before memory is gone."""
    decoder = Inflate("gzip")
    bomb = gzip.compress(b"\0" * 20_000_000)
    assert max(len(piece) for piece in decoder.feed(bomb)) <= 65536


@given(data=st.binary(max_size=5000), size=st.integers(1, 100))
def test_coded_body_decodes_to_what_was_packed(data: bytes, size: int) -> None:
    """decode(encode(x)) == x."""
    assert inflated("gzip", cut(gzip.compress(data), size)) == data


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ((("content-length", "3"),), "length"),
        ((("transfer-encoding", "chunked"),), "chunked"),
        ((("transfer-encoding", " Chunked "), ("content-length", "3")), "chunked"),
        ((), "close"),
    ],
)
def test_framing_is_told_by_the_headers(headers: tuple[tuple[str, str], ...], found: str) -> None:
    """RFC 9112 §6.3: a transfer coding goes before a length."""
    assert framing(headers) == found


@pytest.mark.parametrize("value", ["gzip, chunked", "gzip", "identity", "chunked, chunked", ""])
def test_framing_with_another_transfer_coding_is_a_failure(value: str) -> None:
    """Nobody asked for it (no TE was sent)."""
    with pytest.raises(SourceFailed):
        framing((("transfer-encoding", value),))
