"""Tidied heads and reframed chunks: properties over any bytes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fetch.answers.chunks import Chunks
from proxy.fetch.answers.heads import MAX_HEAD_BYTES, HeadBytes, tidied

LINE = st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))


@given(lines=st.lists(LINE, max_size=8))
def test_tidied_head_of_any_lines_tidies_to_itself(lines: list[bytes]) -> None:
    """A repaired head needs no repair: the parser and a second pass agree on it."""
    raw = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])
    whole = HeadBytes().feed(raw)
    assert whole is not None
    raw, _ = whole
    with contextlib.suppress(ValueError):
        once = tidied(raw)
        again = tidied(once.data)
        assert (again.data, again.end, again.length) == (once.data, once.end, once.length)
        assert not any(byte in once.data.replace(b"\r\n", b"") for byte in b"\r\n\0")


@given(
    before=st.sampled_from([b"", b"\n", b"\r\n\r\n", b"\n\n\n\n\n"]),
    lines=st.lists(LINE.filter(lambda line: line.strip(b"\r")), max_size=4),
    behind=st.binary(max_size=9),
    cut=st.integers(1, 40),
)
def test_head_in_any_pieces_is_the_same_head(
    before: bytes, lines: list[bytes], behind: bytes, cut: int
) -> None:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", *lines, b"", b""])
    stream, coming, whole, at = before + head + behind, HeadBytes(), None, 0
    while whole is None:
        whole = coming.feed(stream[at : at + cut])
        at += cut
    assert (whole[0], whole[1] + stream[at:]) == (head, behind)


@pytest.mark.parametrize(
    "start", [b"\r\n" * MAX_HEAD_BYTES, b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES]
)
@pytest.mark.parametrize("cut", [100, 5_000_000])
def test_head_without_an_end_is_an_error_in_any_pieces(start: bytes, cut: int) -> None:
    coming = HeadBytes()
    pieces = (start[at : at + cut] for at in range(0, len(start), cut))
    with pytest.raises(ValueError, match="more than"):
        list(map(coming.feed, pieces))


@given(raw=st.binary(max_size=200))
def test_tidied_head_of_any_bytes_is_a_head_or_an_error(raw: bytes) -> None:
    """No other exception, whatever an origin writes."""
    with contextlib.suppress(ValueError):
        assert tidied(b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\n").data.endswith(b"\r\n\r\n")


@given(
    data=st.binary(max_size=500),
    size=st.integers(1, 60),
    behind=st.binary(max_size=5),
    cut=st.integers(1, 40),
)
def test_chunks_in_any_pieces_carry_the_same_body(data: bytes, size: int, behind: bytes, cut: int) -> None:
    """Their sizes may change, but not their bytes. The bytes after the end are separated."""
    framed = b"".join(
        b"%X \n%s\n" % (len(data[at : at + size]), data[at : at + size]) for at in range(0, len(data), size)
    )
    stream = framed + b"0;x=y\r\nTrailer: t\r\n\n"
    chunks = Chunks()
    out = b"".join(chunks.feed(stream[at : at + cut]) for at in range(0, len(stream), cut))
    assert chunks.ended
    assert body_of(out) == data
    tail = Chunks()
    tail.feed(stream + behind)
    assert tail.rest == behind


def body_of(framed: bytes) -> bytes:
    """Read chunks as strictly as the standard writes them."""
    body = b""
    while True:
        size, _, framed = framed.partition(b"\r\n")
        length = int(size, 16)
        piece, framed = framed[:length], framed[length:]
        body += piece
        assert framed.startswith(b"\r\n")
        framed = framed[2:]
        if not length:
            assert not framed
            return body
