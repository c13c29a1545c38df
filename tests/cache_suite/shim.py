"""Stands between the public cache suite, the mirror and the suite's origin. Event loop; raw streams; tests only.

The suite was written for caches that pass everything on: a PUT to the origin, its own request headers up, every
response header and status down. A mirror passes on almost nothing, by contract (docs/api.md). The shim puts that
much back, and no decision of a cache: what is stored, reused, asked about or merged is the mirror's alone.

    suite ---> front door ---> mirror ---> back door ---> the suite's origin

1. `PUT /config/…` and `GET /state/…` go straight to the origin.
2. Request fields go beside the mirror from the front door to the back door: the suite's bookkeeping (`Req-Num`) and
   whatever a test sends to its origin, but not what is the mirror's own to say (`OURS`).
3. Status and fields that the mirror keeps in its entry but does not pass down are shown on the answer, read from the
   entry file on the disk: the suite's counters are among them. A hit shows the entry as it was before the request,
   whatever happened behind it. Never touched: what the mirror states of its own answer (`OF_THE_ANSWER`).
4. An error of the contract is shown as the origin's answer that it stands for (`received-status`, RFC 9209).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cache.base.keys import source_key

OURS = re.compile(
    r"host|connection|keep-alive|te|transfer-encoding|accept|accept-encoding|user-agent|via|cdn-loop|sec-.*|"
    r"cache-control|pragma|range|if-.*|content-.*|expect|upgrade"
)
"""Fields of the client's that are never put beside the mirror: what is its own to say, and what caches answer."""

OF_THE_ANSWER = frozenset(
    {
        "connection", "content-encoding", "content-length", "content-type", "date",
        "last-modified", "transfer-encoding",
    }
)  # fmt: skip

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_RECEIVED = re.compile(r"received-status=([0-9]{3})")
_SETTLED = re.compile(r"; stored|; detail=")
"""Whether the mirror keeps the answer is known."""
_DISK_SECONDS = 5.0
_LIMIT = 1 << 20

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Head:
    """The first line and the fields of a message."""

    start: str
    fields: Fields

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        start, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(start, tuple((name, value.strip(" \t")) for name, _, value in pairs))

    def encode(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.fields)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start.split(" ")[1])

    def value(self, wanted: str) -> str:
        return ", ".join(value for name, value in self.fields if name.lower() == wanted)

    def without(self, names: Iterable[str]) -> Head:
        dropped = set(names)
        return replace(self, fields=tuple(item for item in self.fields if item[0].lower() not in dropped))

    def with_fields(self, fields: Iterable[tuple[str, str]]) -> Head:
        return replace(self, fields=(*self.fields, *fields))


@dataclass(frozen=True, slots=True)
class Message:
    """A complete message: its head and the bytes of its body, as framed on the wire."""

    head: Head
    body: bytes
    interim: bytes = b""

    def encode(self) -> bytes:
        return self.interim + self.head.encode() + self.body


@dataclass(frozen=True, slots=True)
class Kept:
    """What the mirror's entry says of the origin's answer."""

    status: int
    fields: Fields


class Shim:
    """Both doors on one port of loopback: what begins with `/?` comes from the suite, the rest from the mirror."""

    def __init__(self, *, mirror_port: int, origin_port: int, store: Path) -> None:
        self.port = 0
        self._mirror_port = mirror_port
        self._origin_port = origin_port
        self._entries = store / "entries"
        self._beside: dict[str, Fields] = {}
        self._answered: dict[str, Message] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Shim:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", limit=_LIMIT, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server:
            self._server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read_message(reader)
            method, target, _ = request.head.start.split(" ", 2)
            if target.startswith("/?http://"):
                answer = await self._from_suite(request, method, target)
            else:
                answer = await self._from_mirror(request, method, target)
            # Without an answer the connection ends as the origin ended it.
            writer.write(answer.encode() if answer else b"")
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _from_suite(self, request: Message, method: str, target: str) -> Message | None:
        source = target[2:]
        inner = "/" + source.split("/", 3)[3]
        if not inner.startswith("/test/"):
            head = replace(request.head, start=f"{method} {inner} HTTP/1.1")
            return await _exchange(self._origin_port, replace(request, head=head), method)
        self._beside[inner] = tuple(
            item for item in request.head.fields if not OURS.fullmatch(item[0].lower())
        )
        before = self._kept(source)
        answer = await _exchange(self._mirror_port, request, method)
        if answer is None:
            return None
        after = await self._kept_by(source, answer)
        shown = self._shown(answer, inner, before=before, after=after)
        # What the connection to the suite is like is the shim's to say.
        head = shown.head.without({"connection"}).with_fields([("Connection", "close")])
        return replace(shown, head=head)

    async def _from_mirror(self, request: Message, method: str, target: str) -> Message | None:
        head = request.head.with_fields(self._beside.get(target, ()))
        answer = await _exchange(self._origin_port, replace(request, head=head), method)
        if answer is not None:
            self._answered[target] = answer
        return answer

    def _shown(self, answer: Message, inner: str, *, before: Kept, after: Kept) -> Message:
        if answer.head.status >= 400:
            received = _RECEIVED.search(answer.head.value("proxy-status"))
            stands_for = self._answered.get(inner)
            is_it = received and stands_for and stands_for.head.status == int(received[1])
            return replace(stands_for, interim=b"") if is_it and stands_for else answer
        kept = before if "; hit" in answer.head.value("cache-status") else after
        stated = OF_THE_ANSWER | ({"content-range"} if answer.head.status == 206 else set())
        shown = tuple(item for item in kept.fields if item[0] not in stated)
        head = answer.head.without({name for name, _ in shown}).with_fields(shown)
        if answer.head.status == 200:
            head = replace(head, start=head.start.replace("200", str(kept.status), 1))
        return replace(answer, head=head)

    async def _kept_by(self, source: str, answer: Message) -> Kept:
        """Return the entry behind an answer, which may come before a slow disk has taken the entry."""
        said = answer.head.value("cache-status")
        if answer.head.status == 200 and "fwd=uri-miss" in said and not _SETTLED.search(said):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DISK_SECONDS):
                    while not self._path(source).exists():  # noqa: ASYNC110 - a file of another process
                        await asyncio.sleep(0.01)
        return self._kept(source)

    def _path(self, source: str) -> Path:
        key = source_key(source)
        return self._entries / key[:2] / f"{key}.json"

    def _kept(self, source: str) -> Kept:
        try:
            entry = json.loads(self._path(source).read_bytes())
        except FileNotFoundError:
            return Kept(200, ())
        return Kept(entry["status"], tuple((name, value) for name, value in entry["headers"]))


async def _exchange(port: int, request: Message, method: str) -> Message | None:
    """Send one request on a connection of its own; None when it was closed without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LIMIT)
    try:
        head = request.head.without({"connection"}).with_fields([("Connection", "close")])
        writer.write(replace(request, head=head).encode())
        await writer.drain()
        return await _read_message(reader, bodiless=method == "HEAD", is_answer=True)
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _read_message(
    reader: asyncio.StreamReader, *, bodiless: bool = False, is_answer: bool = False
) -> Message:
    raw, interim = await reader.readuntil(b"\r\n\r\n"), b""
    while is_answer and raw.startswith(b"HTTP/1.1 1"):
        interim += raw
        raw = await reader.readuntil(b"\r\n\r\n")
    head = Head.parse(raw)
    if bodiless or (is_answer and head.status in {204, 304}):
        return Message(head, b"", interim)
    length = _LENGTH.search(raw)
    if length:
        return Message(head, await reader.readexactly(int(length[1])), interim)
    chunked = "chunked" in head.value("transfer-encoding").lower()
    # The end of the connection ends the body: `_exchange` asks for that.
    return Message(head, await reader.read(-1) if is_answer or chunked else b"", interim)
