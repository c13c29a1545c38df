"""Content codings are taken off, piece by piece."""

import contextlib
import gzip
import sys
import zlib
from collections.abc import Callable, Iterable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import SourceFailed, SourceUnreachable
from proxy.fetch.answers.codings import Unpacker

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

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
    ("br", brotli.compress(DATA)),
    ("zstd", zstd.compress(DATA)),
    ("zstd", zstd.compress(DATA[:5000]) + b"\x50\x2a\x4d\x18\2\0\0\0ab" + zstd.compress(DATA[5000:])),
    ("zstd", zstd.compress(DATA) + b"\0" * 20),
    ("br, gzip", gzip.compress(brotli.compress(DATA))),
    ("utf-8, X-GZIP", gzip.compress(DATA)),
]


def inflated(coding: str, pieces: Iterable[bytes]) -> bytes:
    unpacker = Unpacker((("content-encoding", coding),))
    out = b"".join(part for piece in pieces for part in unpacker.feed(piece))
    return out + b"".join(unpacker.finish())


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
@pytest.mark.parametrize(("coding", "packed"), CODED)
def test_coded_body_in_any_pieces_is_decoded(coding: str, packed: bytes, size: int) -> None:
    """Members, padding and the two readings of "deflate", wherever the network cuts."""
    assert inflated(coding, cut(packed, size)) == DATA


@pytest.mark.parametrize(("coding", "packed"), CODED[:1] + CODED[3:7])
def test_coded_body_cut_anywhere_is_unreachable(coding: str, packed: bytes) -> None:
    """Each proper beginning of a coded body is cut short, its trailer included."""
    for length in range(1, len(packed)):
        with pytest.raises(SourceUnreachable):
            inflated(coding, [packed[:length]])


def test_coded_body_with_a_second_member_cut_is_unreachable() -> None:
    """The end of the first member is not the end."""
    with pytest.raises(SourceUnreachable):
        inflated("gzip", [gzip.compress(DATA), gzip.compress(DATA)[:-1]])


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@given(raw=st.binary(min_size=1, max_size=200))
def test_any_bytes_as_coded_body_decode_or_are_unreachable(coding: str, raw: bytes) -> None:
    """Garbage ends in an error of the contract."""
    with contextlib.suppress(SourceUnreachable):
        inflated(coding, [raw])


@pytest.mark.parametrize(
    ("coding", "pack"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstd.compress)]
)
def test_coded_body_comes_out_in_bounded_pieces(coding: str, pack: Callable[[bytes], bytes]) -> None:
    """A bomb is unpacked a little at a time, so that the limit is seen before memory is gone."""
    unpacker = Unpacker((("content-encoding", coding),))
    bomb = pack(b"\0" * 20_000_000)
    pieces = [*unpacker.feed(bomb), *unpacker.finish()]
    assert sum(len(piece) for piece in pieces) == 20_000_000
    assert max(len(piece) for piece in pieces) <= 65536


def test_coded_body_with_a_huge_window_is_unreachable() -> None:
    """A frame that asks for more than 8 MiB of memory is refused (RFC 9659)."""
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(DATA, packer.FLUSH_BLOCK) + packer.flush()
    with pytest.raises(SourceUnreachable):
        inflated("zstd", [packed])


PICTURE = b"\x89PNG\r\n\x1a\n" + DATA


@pytest.mark.parametrize(
    "coding", ["image/png", "UTF8", "8bit", "gzip", "br", "zstd", "deflate", "base64", "a,b,c"]
)
@pytest.mark.parametrize("size", [1, 5000])
def test_picture_under_a_coding_that_it_has_not_is_taken_as_it_is(coding: str, size: int) -> None:
    """The bytes decide, not the claim of the field."""
    assert inflated(coding, cut(PICTURE, size)) == PICTURE


@pytest.mark.parametrize("coding", ["x-rot13", "compress", "gzip, dcb"])
def test_other_bytes_under_an_unknown_coding_are_a_failure(coding: str) -> None:
    """Nobody can tell what these bytes are."""
    with pytest.raises(SourceFailed):
        inflated(coding, [DATA])


@given(data=st.binary(max_size=5000), size=st.integers(1, 100))
def test_coded_body_decodes_to_what_was_packed(data: bytes, size: int) -> None:
    """decode(encode(x)) == x."""
    assert inflated("gzip", cut(gzip.compress(data), size)) == data
