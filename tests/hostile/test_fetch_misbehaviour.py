"""Misbehaving origins: each ends in its error of the contract, soon, and the fetcher continues to work."""

import asyncio
import contextlib
import gzip
import struct
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import brotli
import pytest
import scripted_origin as so
from fetching import MemorySink, body_of, fetch_config, fetched, fetching
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted_origin import Handler, ScriptedOrigin, head
from stub_resolver import StubResolver

from proxy.errors import (
    SourceError,
    SourceFailed,
    SourceGone,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreachable,
)
from proxy.fetch.fetcher import Fetcher
from proxy.source import Source

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BYTES = 100_000
DATA = b"\x89PNG" + bytes(range(256)) * 40
GZIP = gzip.compress(DATA)


def coded(coding: str, body: bytes) -> Handler:
    return so.raw(head(200, [("Content-Encoding", coding), ("Content-Length", str(len(body)))]) + body)


def status(number: int, *lines: str) -> Handler:
    fields = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    return so.raw(head(number, [*fields, ("Content-Length", "0")]))


def to(location: bytes, number: int = 302) -> Handler:
    return so.raw(b"HTTP/1.1 %d Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (number, location))


BROKEN: dict[str, Handler] = {
    "nothing": so.raw(b""),
    "reset": so.reset(),
    "garbage": so.raw(b"\x16\x03\x01garbage\r\n\r\n"),
    "http 0.9": so.raw(b"<html>hello</html>"),
    "status of letters": so.raw(b"HTTP/1.1 abc OK\r\n\r\n"),
    "status of five digits": so.raw(b"HTTP/1.1 20000 OK\r\n\r\n"),
    "another protocol": so.raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "http/2 preface": so.raw(b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x64"),
    "head cut": so.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
    "huge header": so.raw(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"),
    "huge reason": so.raw(b"HTTP/1.1 200 " + b"a" * 1_000_000 + b"\r\n\r\n"),
    "endless headers": so.endless_headers(),
    "endless hints": so.endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", before=b""),
    "length with a plus": so.raw(head(200, [("Content-Length", "+5")]) + b"hello"),
    "length in hexadecimal": so.raw(head(200, [("Content-Length", "0x5")]) + b"hello"),
    "length that is empty": so.raw(head(200, [("Content-Length", "")]) + b"hello"),
    "lengths in a list that differ": so.raw(head(200, [("Content-Length", "5, 6")]) + b"hello!"),
    "length with a control": so.raw(head(200, [("Content-Length", "5\x00")]) + b"hello"),
    "endless trailers": so.endless(
        b"X: a\r\n", before=head(200, [("Transfer-Encoding", "chunked")]) + b"0\r\n"
    ),
    "endless chunk extension": so.endless(
        b"a" * 4096, before=head(200, [("Transfer-Encoding", "chunked")]) + b"5;"
    ),
    "shorter than declared": so.cut_short(DATA, declared=len(DATA) + 1),
    "nothing of what was declared": so.cut_short(b"", declared=10),
    "reset in the body": so.reset(head(200, [("Content-Length", "1000")]) + b"x" * 500),
    "reset without a length": so.reset(head(200) + b"x" * 500),
    "last chunk missing": so.cut_chunked(DATA),
    "chunk size of letters": so.broken_chunks(),
    "chunk longer than said": so.raw(
        head(200, [("Transfer-Encoding", "chunked")]) + b"3\r\nabcdef\r\n0\r\n\r\n"
    ),
    "negative length": so.raw(head(200, [("Content-Length", "-1")]) + b"x"),
    "length of letters": so.raw(head(200, [("Content-Length", "ten")]) + b"x"),
    "two lengths": so.raw(head(200, [("Content-Length", "1"), ("Content-Length", "2")]) + b"xx"),
    "gzip cut": coded("gzip", GZIP[:-9]),
    "gzip that is none": coded("gzip", DATA),
    "gzip with a wrong sum": coded("gzip", GZIP[:-8] + b"\0\0\0\0" + GZIP[-4:]),
    "brotli cut": coded("br", brotli.compress(DATA)[:-3]),
    "brotli that is none": coded("br", b"\xff" * 100),
    "zstd cut": coded("zstd", zstd.compress(DATA)[:-3]),
    "zstd that is none": coded("zstd", DATA[1:]),
    "deflate that is none": coded("deflate", b"\xff\xff\xff\xff"),
    "redirect to itself": to(b"/x"),
    "redirect to nothing": to(b""),
    "redirect to userinfo": to(b"http://user:secret@h.example/"),
    "redirect to bytes": to(b"http://\xff\xfe/"),
    "redirect to a bad port": to(b"http://h.example:99999/"),
    "redirect to no host": to(b"http://"),
    "redirect to a long address": to(b"/" + b"a" * 9000),
    "redirect to an absent name": to(b"http://absent.example/"),
}
TOO_LARGE: dict[str, Handler] = {
    "declared": so.raw(head(200, [("Content-Length", str(MAX_BYTES + 1))])),
    "declared with many digits": so.raw(head(200, [("Content-Length", "9" * 18)])),
    "endless": so.endless(b"x" * 4096),
    "endless chunks": so.endless(
        so.as_chunks(b"x" * 4096, end=False), before=head(200, [("Transfer-Encoding", "chunked")])
    ),
    "gzip bomb": so.gzip_bomb(50_000_000),
    "gzip bomb in gzip": coded("gzip, gzip", gzip.compress(gzip.compress(b"\0" * 50_000_000))),
    "brotli bomb": coded("br", brotli.compress(b"\0" * 50_000_000, quality=5)),
    "zstd bomb": coded("zstd", zstd.compress(b"\0" * 50_000_000)),
    "deflate bomb": coded("deflate", zlib.compress(b"\0" * 50_000_000)),
    # Stored blocks of no bytes: input without end, output none.
    "gzip of nothing without end": so.endless(
        struct.pack("<BHH", 0, 0, 0xFFFF) * 500,
        before=head(200, [("Content-Encoding", "gzip")]) + b"\x1f\x8b\x08\0\0\0\0\0\0\3",
    ),
}
FAILED: dict[str, Handler] = {
    "unknown coding": coded("x-rot13", b"uryyb"),
    "many codings": coded(", ".join(["gzip"] * 50), GZIP),
    "transfer coding": so.raw(head(200, [("Transfer-Encoding", "gzip, chunked")]) + so.as_chunks(GZIP)),
    "switching protocols": so.raw(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    ),
    "redirect without location": status(302),
    "not modified, unasked": status(304),
    "choices": status(300, "Location: /y"),
    "use proxy": status(305, "Location: /y"),
    "no content": status(204),
    "created": status(201),
    "partial": status(206, "Content-Range: bytes 0-0/1"),
    "broken server": status(500),
    "busy": status(503, "Retry-After: 1"),
    "no such status": status(799),
}
REFUSED = {
    str(number): status(number)
    for number in (400, 401, 402, 403, 405, 406, 408, 412, 418, 416, 429, 451, 499)
}

CASES = [
    *((name, handler, SourceUnreachable) for name, handler in BROKEN.items()),
    *((name, handler, SourceTooLarge) for name, handler in TOO_LARGE.items()),
    *((name, handler, SourceFailed) for name, handler in FAILED.items()),
    *((name, handler, SourceRefused) for name, handler in REFUSED.items()),
    ("absent", status(404), SourceNotFound),
    ("gone", status(410), SourceGone),
]


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as server:
        server.serve("/good", DATA)
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    config = fetch_config(max_bytes=MAX_BYTES, timeout=20, max_redirects=3)
    async with fetching(config, resolver=StubResolver({})) as found:
        yield found


@pytest.mark.parametrize(("handler", "error"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
async def test_misbehaving_origin_ends_in_its_error(
    fetcher: Fetcher, origin: ScriptedOrigin, handler: Handler, error: type[SourceError]
) -> None:
    """The error is exactly the documented class, and the next picture of the same origin is served."""
    origin.script("/x", handler)
    with pytest.raises(error) as caught:
        await fetched(fetcher, origin.url("/x"))
    assert type(caught.value) is error
    assert caught.value.message == error.public_message
    assert caught.value.detail
    assert await body_of(fetcher, origin.url("/good")) == DATA


async def test_error_remembers_what_the_origin_answered(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """Cache-Status reports it (RFC 9211); 0 without an answer."""
    for number in (404, 410, 403, 500, 204):
        origin.script("/x", status(number))
        with pytest.raises(SourceError) as caught:
            await fetched(fetcher, origin.url("/x"))
        assert caught.value.origin_status == number
    origin.script("/x", so.raw(b""))
    with pytest.raises(SourceError) as caught:
        await fetched(fetcher, origin.url("/x"))
    assert caught.value.origin_status == 0


async def test_body_that_unpacks_to_more_than_two_hundred_times_its_size_is_too_large(
    origin: ScriptedOrigin,
) -> None:
    """`fetch.max_bytes` alone would admit it. A lower ratio is accepted."""
    flat = b"BM" + b"\0" * 3_000_000
    origin.script("/flat", coded("gzip", gzip.compress(flat)))
    lively = bytes(range(256)) * 20 + b"\0" * 900_000
    origin.script("/lively", coded("gzip", gzip.compress(lively)))
    async with fetching(fetch_config(max_bytes=10_000_000)) as fetcher:
        with pytest.raises(SourceTooLarge):
            await fetched(fetcher, origin.url("/flat"))
        assert await body_of(fetcher, origin.url("/lively")) == lively


async def test_redirects_without_end_stop_at_the_limit(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """`fetch.max_redirects` redirects are followed, and the next one is not."""
    origin.script("/x", so.endless_redirects(origin, "/x"))
    with pytest.raises(SourceUnreachable):
        await fetched(fetcher, origin.url("/x"))
    assert origin.count("/x") == 4


SLOW: dict[str, Callable[[asyncio.Event], Handler]] = {
    "before the head": so.stall,
    "in the head": lambda never: so.stall(never, before=b"HTTP/1.1 200 OK\r\nX: "),
    "before the body": lambda never: so.stall(never, before=head(200, [("Content-Length", "10")])),
    "in the body": lambda never: so.stall(never, before=head(200, [("Content-Length", "10")]) + b"x"),
    "before the last chunk": lambda never: so.stall(
        never, before=head(200, [("Transfer-Encoding", "chunked")]) + so.as_chunks(b"x", end=False)
    ),
    "drip": lambda _never: so.drip(b"x" * 10_000),
    "drip of headers": lambda _never: drip_of_headers,
}


async def drip_of_headers(_request: Any, _reader: Any, writer: asyncio.StreamWriter) -> None:
    """The head arrives one byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("name", SLOW)
async def test_slow_origin_is_a_timeout(origin: ScriptedOrigin, name: str) -> None:
    """`fetch.timeout` bounds the whole fetch, however busy the origin looks."""
    origin.script("/x", SLOW[name](asyncio.Event()))
    async with fetching(fetch_config(timeout=0.3, idle_timeout=10)) as fetcher:
        with pytest.raises(SourceTimeout):
            await fetched(fetcher, origin.url("/x"))
        fetcher.reconfigure(fetch_config(), check_hop=lambda _: None)
        assert await body_of(fetcher, origin.url("/good")) == DATA


async def test_body_that_stops_is_a_timeout_of_its_own(origin: ScriptedOrigin) -> None:
    """`fetch.idle_timeout` ends the wait for the next byte long before `fetch.timeout`."""
    origin.script("/x", so.stall(asyncio.Event(), before=head(200, [("Content-Length", "10")]) + b"x"))
    async with fetching(fetch_config(timeout=1000, idle_timeout=0.1)) as fetcher:
        with pytest.raises(SourceTimeout):
            await fetched(fetcher, origin.url("/x"))


async def test_redirects_share_one_timeout(origin: ScriptedOrigin) -> None:
    """Slow redirects do not get the whole time each."""

    async def slow(_request: Any, _reader: Any, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(head(302, [("Location", f"/x?{origin.count()}"), ("Content-Length", "0")]))

    origin.script("/x", slow)
    async with fetching(fetch_config(timeout=0.35, max_redirects=20)) as fetcher:
        with pytest.raises(SourceTimeout):
            await fetched(fetcher, origin.url("/x"))
    assert origin.count() < 6


async def test_name_that_is_never_answered_is_a_timeout_and_holds_up_nobody(origin: ScriptedOrigin) -> None:
    """Dead names wait by themselves: DNS counts towards the timeout, and other names are resolved meanwhile."""
    dead = [f"dead{number}.example" for number in range(200)]
    resolver = StubResolver({"h.example": [["127.0.0.1"]]}, hanging=dead)
    async with fetching(fetch_config(timeout=1, max_connections=4), resolver=resolver) as fetcher:
        waiting = [asyncio.create_task(fetched(fetcher, f"http://{name}/")) for name in dead]
        while len(resolver.asked) < len(dead):  # noqa: ASYNC110 - one turn of the loop each, no time passes
            await asyncio.sleep(0)
        assert await body_of(fetcher, origin.url("/good", host="h.example")) == DATA
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {SourceTimeout}


async def test_failure_of_the_sink_is_not_the_origins(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """The exception for a full disk passes through unchanged, whatever its class."""

    def fail(error: Exception) -> Callable[[bytes], None]:
        def on_write(_chunk: bytes) -> None:
            raise error

        return on_write

    for error in (OSError(28, "No space left on device"), ValueError("x"), TimeoutError(), RuntimeError("y")):
        with pytest.raises(type(error)) as caught:
            await fetcher.fetch(Source.parse(origin.url("/good")), MemorySink(fail(error)))
        assert caught.value is error


async def test_sink_gets_nothing_of_an_answer_that_is_no_200(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """Error pages and redirect pages are not bodies of the source."""
    page = b"<html>sorry</html>"
    sink = MemorySink()
    for number in (404, 500, 206):
        origin.serve("/x", page, status=number)
        with pytest.raises(SourceError):
            await fetcher.fetch(Source.parse(origin.url("/x")), sink)
    origin.serve("/x", page, status=302, headers={"Location": "/good"})
    await fetcher.fetch(Source.parse(origin.url("/x")), sink)
    assert sink.body == DATA


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=st.binary(max_size=300), begin=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", head(200)]))
def test_any_bytes_as_answer_end_in_a_body_or_an_error(answer: bytes, begin: bytes) -> None:
    """Whatever an origin writes before it closes the connection, the result is an error of the contract."""

    async def run() -> None:
        async with ScriptedOrigin() as server, fetching(fetch_config(max_bytes=MAX_BYTES)) as fetcher:
            server.script("/x", so.raw(begin + answer))
            with contextlib.suppress(SourceError):
                await fetched(fetcher, server.url("/x"))

    asyncio.run(run())
