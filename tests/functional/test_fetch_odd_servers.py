"""Answers that are not quite HTTP: what browsers and curl read is read, and no byte is taken for another answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fetching import body_of, fetch_config, fetched, fetching
from scripted_origin import Handler, Request, ScriptedOrigin, as_chunks, head, raw

from proxy.errors import SourceUnreachable
from proxy.fetch.answers.heads import MAX_HEAD_BYTES
from proxy.fetch.fetcher import Fetched, Fetcher

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
DATA = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
SIZE = b"Content-Length: %d\r\n" % len(DATA)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as server:
        server.serve("/good", b"good")
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with fetching(fetch_config(per_origin=1)) as found:
        yield found


ODD_LINES = {
    "space before the colon": b"X-Powered-By : PHP\r\n",
    "no colon": b"nonsense\r\n",
    "empty name": b": value\r\n",
    "name that is no token": b"X(1)@: a\r\n",
    "space in the name": b"Set Cookie: a=b\r\n",
    "nul in the value": b"X: a\0b\r\n",
    "controls in the value": b"X: \x01\x1b[31m\x7f\r\n",
    "bytes above ascii": b"Content-Disposition: attachment; filename=\xce\xd2\xb5\xc4.png\r\n",
    "bytes above ascii in the name": b"X-\xe9: a\r\n",
    "folded value": b"X: a\r\n  b\r\n\tc\r\n",
    "white space before the first field": b"  X: a\r\n",
    "folded line after an unreadable one": b"nonsense\r\n Content-Length: 1\r\n",
    "carriage return in the value": b"X: a\rContent-Length: 1\r\n",
    "line of 60 kB": b"Content-Security-Policy: " + b"a" * 60_000 + b"\r\n",
    "a thousand fields": b"X: a\r\n" * 1000,
    "two types": b"Content-Type: text/html\r\nContent-Type: image/png\r\n",
    "two etags": b'ETag: "a"\r\nETag: "b"\r\n',
    "an upgrade that is offered": b"Connection: Upgrade\r\nUpgrade: h2,h2c\r\n",
}


@pytest.mark.parametrize("lines", [1, 2, 64])
async def test_head_of_the_documented_size_is_read_and_one_byte_more_is_not(
    fetcher: Fetcher, origin: ScriptedOrigin, lines: int
) -> None:
    """This holds however many lines share it. docs/failures.md states the limit."""
    assert f"| {MAX_HEAD_BYTES // 1024} KiB for the whole head |" in PAGE.read_text(encoding="utf-8")
    start, end = OK + SIZE + b"X: a\r\n" * (lines - 1) + b"X: ", b"\r\n\r\n"
    whole = MAX_HEAD_BYTES - len(start) - len(end)
    origin.script("/a", raw(start + b"a" * whole + end + DATA))
    assert (await fetched(fetcher, origin.url("/a")))[1] == DATA
    origin.script("/b", raw(start + b"a" * (whole + 1) + end + DATA))
    with pytest.raises(SourceUnreachable):
        await fetched(fetcher, origin.url("/b"))
    assert await body_of(fetcher, origin.url("/good")) == b"good"


@pytest.mark.parametrize("line", ODD_LINES.values(), ids=ODD_LINES)
@pytest.mark.parametrize("framing", [SIZE, CHUNKED, b""], ids=["length", "chunked", "close"])
async def test_line_that_nobody_needs_does_not_cost_the_picture(
    fetcher: Fetcher, origin: ScriptedOrigin, line: bytes, framing: bytes
) -> None:
    """Browsers and curl pass over it, whatever the framing."""
    body = as_chunks(DATA) if framing == CHUNKED else DATA
    origin.script("/a", raw(OK + line + framing + b"Content-Language: de\r\n\r\n" + body))
    answer, got = await fetched(fetcher, origin.url("/a"))
    assert isinstance(answer, Fetched)
    assert got == DATA
    assert ("content-language", "de") in answer.headers


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 200 \r\n",
        b"http/1.1 200 ok\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1  200  OK\r\n",
        b"HTTP/2 200\r\n",
        b"HTTP/1.1 200 \xd5\xfd\xb3\xa3\r\n",
        b"HTTP/1.1 200 " + b"a" * 20_000 + b"\r\n",
        b"ICY 200 OK\r\n",
        b"\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
async def test_status_line_that_is_unusual_is_read(
    fetcher: Fetcher, origin: ScriptedOrigin, line: bytes
) -> None:
    """The three digits are all that is needed of it."""
    origin.script("/a", raw(line + SIZE + b"\r\n" + DATA))
    assert await body_of(fetcher, origin.url("/a")) == DATA


FRAMED = {
    "chunked beside a length": SIZE + CHUNKED + b"\r\n" + as_chunks(DATA),
    "chunked beside a wrong length": b"Content-Length: 3\r\n" + CHUNKED + b"\r\n" + as_chunks(DATA),
    "chunked beside a length that is none": b"Content-Length: x\r\n" + CHUNKED + b"\r\n" + as_chunks(DATA),
    "chunked in capitals": b"Transfer-Encoding: CHUNKED\r\n\r\n" + as_chunks(DATA),
    "chunked said twice": CHUNKED + CHUNKED + b"\r\n" + as_chunks(DATA),
    "identity with a length": b"Transfer-Encoding: identity\r\n" + SIZE + b"\r\n" + DATA,
    "identity without a length": b"Transfer-Encoding: identity\r\n\r\n" + DATA,
    "transfer coding that is empty": b"Transfer-Encoding:\r\n" + SIZE + b"\r\n" + DATA,
    "equal lengths": SIZE + SIZE + b"\r\n" + DATA,
    "equal lengths in a list": b"Content-Length: %d, %d\r\n\r\n" % (len(DATA), len(DATA)) + DATA,
    "length with zeros": b"Content-Length: 000%d\r\n\r\n" % len(DATA) + DATA,
    "length with a space before the colon": SIZE.replace(b":", b" :") + b"\r\n" + DATA,
    "bytes behind the length": SIZE + b"\r\n" + DATA + b"<!-- cached -->",
    "an answer behind the length": SIZE + b"\r\n" + DATA + head(404, [("Content-Length", "0")]),
    "bytes behind the chunks": CHUNKED + b"\r\n" + as_chunks(DATA) + b"\r\n\r\nmore",
    "close and bytes behind": b"Connection: close\r\n" + SIZE + b"\r\n" + DATA + b"\0",
    "chunk extensions": CHUNKED + b"\r\n" + as_chunks(DATA).replace(b"1000\r\n", b"1000;a=b;c\r\n"),
    "spaces behind a chunk's size": CHUNKED + b"\r\n" + as_chunks(DATA).replace(b"1000\r\n", b"1000  \r\n"),
    "chunk sizes with zeros": CHUNKED + b"\r\n" + as_chunks(DATA).replace(b"1000\r\n", b"00001000\r\n"),
    "trailers": CHUNKED + b"\r\n" + as_chunks(DATA, end=False) + b"0\r\nX-Sum: 1\r\nX : y\r\nodd\r\n\r\n",
    "end of the trailers missing": CHUNKED + b"\r\n" + as_chunks(DATA, end=False) + b"0\r\n",
}


@pytest.mark.parametrize("answer", FRAMED.values(), ids=FRAMED)
@pytest.mark.parametrize("bare_line_feeds", [False, True])
async def test_framing_that_leaves_no_doubt_is_read(
    fetcher: Fetcher, origin: ScriptedOrigin, answer: bytes, *, bare_line_feeds: bool
) -> None:
    """RFC 9112 §6.3. Bytes after the end are ignored, and the next answer is separate."""
    start, _, rest = answer.partition(b"\r\n\r\n")
    start = OK + start + b"\r\n\r\n"
    if bare_line_feeds:
        start = start.replace(b"\r\n", b"\n")
    origin.script("/a", keeping_alive(start + rest))
    assert await body_of(fetcher, origin.url("/a")) == DATA
    assert await body_of(fetcher, origin.url("/good")) == b"good"


def keeping_alive(answer: bytes) -> Handler:
    """Answer, and go on listening unless the body ends with the connection."""

    async def handler(_request: Request, _reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        if b"ength" not in answer[:200] and b"hunked" not in answer[:200].lower():
            writer.close()
        if answer.endswith(b"\r\n0\r\n"):
            writer.close()

    return handler


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_answer_in_any_pieces_is_read(fetcher: Fetcher, origin: ScriptedOrigin, size: int) -> None:
    """Wherever the network cuts heads, chunk sizes and line ends."""
    data = DATA[:300]
    answer = head(103, [("Link", "</a>; rel=preload")]) + head(100) + OK + b"X : a\r\n fold\r\n" + CHUNKED
    answer += b"\r\n" + as_chunks(data, size=100, end=False) + b"0;x\r\nT: t\r\n\r\nbehind"

    async def drip(_request: Request, _reader: object, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(answer), size):
            writer.write(answer[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    origin.script("/a", drip)
    assert await body_of(fetcher, origin.url("/a")) == data


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK + SIZE + b"\r\n" + DATA, 1),
        (OK + CHUNKED + b"\r\n" + as_chunks(DATA), 1),
        (head(103) + OK + SIZE + b"\r\n" + DATA, 1),
        (OK + SIZE + b"\r\n" + DATA + b"x", 2),
        (OK + CHUNKED + b"\r\n" + as_chunks(DATA) + head(200, [("Content-Length", "0")]), 2),
        (OK + SIZE + CHUNKED + b"\r\n" + as_chunks(DATA), 2),
        (OK + SIZE + SIZE + b"\r\n" + DATA, 2),
        (OK + b"odd\r\n" + SIZE + b"\r\n" + DATA, 2),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + CHUNKED + b"\r\n" + as_chunks(DATA), 2),
    ],
)
async def test_connection_after_an_answer_in_doubt_is_not_used_again(
    fetcher: Fetcher, origin: ScriptedOrigin, answer: bytes, connections: int
) -> None:
    """A clean one is; counted by the origin."""

    async def handler(_request: Request, _reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    origin.script("/a", handler)
    assert await body_of(fetcher, origin.url("/a")) == DATA
    assert await body_of(fetcher, origin.url("/good")) == b"good"
    assert origin.connections == connections


async def test_large_body_with_bytes_behind_arrives_whole(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """This holds while the parser holds back a part of it because the reader is slow."""
    large = DATA * 1000
    origin.script("/a", raw(OK + b"Content-Length: %d\r\n\r\n" % len(large) + large + b"behind" * 1000))
    assert await body_of(fetcher, origin.url("/a")) == large


@pytest.mark.parametrize("framing", [SIZE, CHUNKED])
async def test_body_that_ends_early_is_unreachable(
    fetcher: Fetcher, origin: ScriptedOrigin, framing: bytes
) -> None:
    """One byte less than was declared, or no last chunk."""
    body = as_chunks(DATA, end=False) if framing == CHUNKED else DATA[:-1]
    origin.script("/a", raw(OK + b"odd\r\n" + framing + b"\r\n" + body))
    with pytest.raises(SourceUnreachable):
        await body_of(fetcher, origin.url("/a"))
