"""An origin on loopback that does what a test scripts, to the byte, and records its requests.

It speaks HTTP/1.1 over raw asyncio streams, so that it can also break the protocol. `ScriptedOrigin` runs in the
test's event loop. `run_in_thread` starts one with a loop of its own, for tests that start other processes. The
functions below the class are ready-made misbehaviours: each returns a handler for `script`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

_Origin = TypeVar("_Origin", bound="ScriptedOrigin")

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as received; header names are spelled as they were sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    peer: str = ""

    def header(self, name: str) -> str | None:
        """Return the first header of that name, whatever its case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


Handler = Callable[[Request, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ScriptedOrigin:
    """A server on loopback; `async with ScriptedOrigin() as origin`.

    A path is looked up with its query first, then without it. Unknown paths answer 404. After `stop`, `start` takes
    the same port again, so a test can kill an origin and bring it back.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> None:
        self.address = address
        self.requests: list[Request] = []
        self.connections = 0
        self.port = 0
        self._ssl = ssl_context
        self._handlers: dict[str, Handler] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ScriptedOrigin:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the previous port if there was one."""
        self._server = await asyncio.start_server(
            self._accept, self.address, self.port, ssl=self._ssl, reuse_address=True, limit=2**20
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop: refuse new connections and break the open ones."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def url(self, path: str, *, host: str = "") -> str:
        """Return the address of a path on this origin, with another host name if one is given."""
        scheme = "https" if self._ssl else "http"
        return f"{scheme}://{host or self.address}:{self.port}{path}"

    def count(self, path: str | None = None) -> int:
        """Return how often a path was requested, with or without its query; without `path`, count all."""
        return sum(path in (None, seen.target, seen.target.partition("?")[0]) for seen in self.requests)

    def serve(
        self,
        path: str,
        body: bytes = b"",
        *,
        status: int = 200,
        content_type: str | None = "image/png",
        headers: Headers = (),
        etag: str | None = None,
        last_modified: str | None = None,
        chunked: bool = False,
        until_close: bool = False,
    ) -> None:
        """Answer `path` with 200, or with 304 where `etag` (quotes included) or `last_modified` match."""
        lines = [
            ("Content-Type", content_type),
            ("ETag", etag),
            ("Last-Modified", last_modified),
            *_pairs(headers),
        ]
        fields = [(name, value) for name, value in lines if value is not None]

        async def handler(
            request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            if _has_it(request, etag, last_modified):
                writer.write(head(304, fields))
            elif chunked:
                writer.write(head(status, [*fields, ("Transfer-Encoding", "chunked")]) + as_chunks(body))
            elif until_close:
                writer.write(head(status, [*fields, ("Connection", "close")]) + body)
                writer.close()
            else:
                writer.write(head(status, [*fields, ("Content-Length", str(len(body)))]) + body)

        self._handlers[path] = handler

    def redirect(self, path: str, to: str | bytes, *, status: int = 302) -> None:
        """Redirect `path` to the Location `to`, byte for byte."""
        location = to if isinstance(to, bytes) else to.encode("utf-8")

        async def handler(
            _request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            start = head(status, [("Content-Length", "0")]).removesuffix(b"\r\n")
            writer.write(start + b"Location: " + location + b"\r\n\r\n")

        self._handlers[path] = handler

    def script(self, path: str, handler: Handler) -> None:
        """Give the connection to `handler`; it ends when the handler closes the writer."""
        self._handlers[path] = handler

    def forget(self, path: str) -> None:
        """Answer 404 from now on."""
        self._handlers.pop(path, None)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            asyncio.CancelledError,
        ):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            request = _parse(await reader.readuntil(b"\r\n\r\n"), str(writer.get_extra_info("peername")[0]))
            self.requests.append(request)
            await self._handler(request.target)(request, reader, writer)
            if writer.is_closing():
                await writer.wait_closed()
            else:
                await writer.drain()

    def _handler(self, target: str) -> Handler:
        path = target.partition("?")[0]
        return self._handlers.get(target) or self._handlers.get(path) or _not_found


def run_in_thread() -> contextlib.AbstractContextManager[ScriptedOrigin]:
    """Run an origin in a thread of its own; other threads may use `serve`, `count` and `requests`."""
    return running_in_thread(ScriptedOrigin())


@contextlib.contextmanager
def running_in_thread(origin: _Origin) -> Iterator[_Origin]:
    """Run an origin of any kind in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted-origin", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(origin.start(), loop).result()
        yield origin
    finally:
        asyncio.run_coroutine_threadsafe(origin.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def stop_in_thread(origin: ScriptedOrigin) -> None:
    """Stop an origin that runs in a thread of its own; call it from any other thread."""
    if origin._server is not None:
        asyncio.run_coroutine_threadsafe(origin.stop(), origin._server.get_loop()).result()


def head(status: int, headers: Headers = (), *, version: str = "HTTP/1.1") -> bytes:
    """Return the head of an answer, blank line included."""
    known = status in HTTPStatus.__members__.values()
    lines = [f"{version} {status} {HTTPStatus(status).phrase if known else 'Whatever'}"]
    lines += [f"{name}: {value}" for name, value in _pairs(headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def as_chunks(body: bytes, *, size: int = 4096, end: bool = True) -> bytes:
    """Return `body` in chunked framing; without `end`, the last chunk is missing."""
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return framed + (b"0\r\n\r\n" if end else b"")


def raw(answer: bytes) -> Handler:
    """Send these bytes, then close."""

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    return handler


def reset(before: bytes = b"") -> Handler:
    """Send these bytes, then break the connection."""

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await writer.drain()
        # Without lingering, closing sends RST instead of FIN.
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return handler


def cut_short(body: bytes, *, declared: int, content_type: str = "image/png") -> Handler:
    """Declare a length, send less (or more), close."""
    return raw(head(200, [("Content-Type", content_type), ("Content-Length", str(declared))]) + body)


def cut_chunked(body: bytes, *, content_type: str = "image/png") -> Handler:
    """Send chunked framing without the last chunk."""
    start = head(200, [("Content-Type", content_type), ("Transfer-Encoding", "chunked")])
    return raw(start + as_chunks(body, end=False))


def broken_chunks() -> Handler:
    """Send a chunk size that is not a number."""
    return raw(head(200, [("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\nzz\r\nworld\r\n0\r\n\r\n")


def drip(body: bytes, *, interval_seconds: float = 0.02) -> Handler:
    """Send the body one byte at a time."""

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head(200, [("Content-Type", "image/png"), ("Content-Length", str(len(body)))]))
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(interval_seconds)
        writer.close()

    return handler


def stall(release: asyncio.Event, *, before: bytes = b"", after: bytes = b"") -> Handler:
    """Send `before` (raw bytes, head included), wait for `release`, send `after`, close."""

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        await writer.drain()
        await release.wait()
        writer.write(after)
        writer.close()

    return handler


def endless(piece: bytes, *, before: bytes | None = None) -> Handler:
    """Send `piece` again and again until the peer hangs up; the default head has no length."""
    start = head(200, [("Content-Type", "image/png")]) if before is None else before

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()

    return handler


def endless_headers() -> Handler:
    """Send a head that never ends, in lines short enough for parsers."""
    return endless(b"X-Filler: " + b"a" * 200 + b"\r\n", before=b"HTTP/1.1 200 OK\r\n")


def gzip_bomb(size: int) -> Handler:
    """Send a short answer that unpacks to `size` zero bytes."""
    packed = gzip.compress(b"\0" * size)
    fields = [
        ("Content-Type", "image/png"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", str(len(packed))),
    ]
    return raw(head(200, fields) + packed)


def endless_redirects(origin: ScriptedOrigin, path: str) -> Handler:
    """Redirect each request to a new address of the same path."""
    numbers = itertools.count(1)

    async def handler(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        location = origin.url(f"{path}?{next(numbers)}")
        writer.write(head(302, [("Location", location), ("Content-Length", "0")]))

    return handler


async def _not_found(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(head(404, [("Content-Type", "text/plain"), ("Content-Length", "9")]) + b"not here\n")


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _parse(raw_head: bytes, peer: str) -> Request:
    first, *lines = raw_head.decode("utf-8", "surrogateescape").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _version = first.split(" ")
    fields = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    return Request(method, target, fields, peer)


def _has_it(request: Request, etag: str | None, last_modified: str | None) -> bool:
    wanted = request.header("If-None-Match")
    if wanted is not None:
        return etag is not None and etag in [tag.strip() for tag in wanted.split(",")]
    return last_modified is not None and request.header("If-Modified-Since") == last_modified
