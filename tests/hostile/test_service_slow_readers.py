"""Clients that ask for large originals and do not read them: they are limited, disconnected, and harm only
themselves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from http_client import Client
from pictures import opened, photo_jpeg, saved
from PIL import Image
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, wait_until, write_config

from proxy.config import ServerConfig
from proxy.web.connections.server import PROGRESS_BYTES, Server

LIMIT = 3
SIDE = 1600
PATIENCE_SECONDS = 60.0
ANSWER_BYTES = 16 << 20


@pytest.fixture(scope="module")
def large() -> bytes:
    """A picture of 7 MiB, more than all buffers on the way can hold."""
    noise = random.Random(1).randbytes(SIDE * SIDE * 3)  # noqa: S311 - a picture, not a secret
    return saved(Image.frombytes("RGB", (SIDE, SIDE), noise), "PNG", compress_level=1)


@pytest.fixture(scope="module")
def medium() -> bytes:
    """A picture of 730 KiB, which is answered from memory."""
    noise = random.Random(2).randbytes(500 * 500 * 3)  # noqa: S311 - a picture, not a secret
    return saved(Image.frombytes("RGB", (500, 500), noise), "PNG", compress_level=1)


@pytest.fixture(scope="module")
def source(large: bytes, medium: bytes) -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        origin.serve("/large.png", large)
        origin.serve("/medium.png", medium)
        origin.serve("/small.jpg", photo_jpeg(300, 200), content_type="image/jpeg")
        yield origin


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, source: ScriptedOrigin) -> Iterator[Service]:
    """A service that lets a client read three originals at once, behind a proxy on 127.0.0.1."""
    server = {"client_streams": LIMIT, "trusted_proxies": ["127.0.0.1/32"]}
    with Service(write_config(tmp_path_factory.mktemp("limited"), {"server": server})) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


class Reader:
    """One client that has requested a path and reads only when told to."""

    def __init__(self, service: Service, path: str, *, address: str = "127.0.0.1", headers: str = "") -> None:
        self.connection = socket.socket()
        self.connection.settimeout(PATIENCE_SECONDS)
        # The kernel uses its smallest buffer, so most of the picture stays with the service.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        self.connection.bind((address, 0))
        self.connection.connect(("127.0.0.1", service.port))
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())
        self.rest = b""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def head(self) -> dict[str, str]:
        """Read the head of the answer; its status is under an empty name."""
        got = b""
        while b"\r\n\r\n" not in got:
            piece = self.connection.recv(512)
            assert piece, got
            got += piece
        head, _, self.rest = got.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return {"": first.split(" ")[1], **fields}

    def body(self, size: int) -> bytes:
        """Read the rest of the body."""
        got = [self.rest]
        left = size - len(self.rest)
        while left:
            got.append(self.connection.recv(min(65536, left)))
            assert got[-1], f"{left} of {size} bytes are missing"
            left -= len(got[-1])
        return b"".join(got)


def answered(service: Service, path: str, *, address: str = "127.0.0.1", headers: str = "") -> str:
    """Return the status of an answer that is not read further."""
    with Reader(service, path, address=address, headers=headers) as reader:
        return reader.head()[""]


@contextlib.contextmanager
def reading(
    service: Service, path: str, *, address: str = "127.0.0.1", headers: str = ""
) -> Iterator[list[Reader]]:
    """The most clients that are let in at once; each has read only the head of its answer."""
    with contextlib.ExitStack() as open_ones:
        readers = [
            open_ones.enter_context(Reader(service, path, address=address, headers=headers))
            for _ in range(LIMIT)
        ]
        assert [reader.head()[""] for reader in readers] == ["200"] * LIMIT
        yield readers


def let_in_again(service: Service, path: str, *, address: str = "127.0.0.1", headers: str = "") -> None:
    """Wait until the client has a place. The service notices at its own pace that other clients have left."""
    wait_until(lambda: answered(service, path, address=address, headers=headers) == "200", seconds=30)


def test_client_beyond_its_streams_is_told_to_come_back(limited: Service, source: ScriptedOrigin) -> None:
    """The fourth large original at once is `429 rate_limited` with Retry-After; the client's other requests are not."""
    path = "/?" + source.url("/large.png")
    address = "127.0.0.2"
    with reading(limited, path, address=address):
        with Reader(limited, path, address=address, headers="Accept: application/json\r\n") as refused:
            head = refused.head()
            told = json.loads(refused.body(int(head["content-length"])))
        assert (head[""], told["code"]) == ("429", "rate_limited")
        assert int(head["retry-after"]) > 0
        assert head["access-control-allow-origin"] == "*"
        for other in (
            "/?" + source.url("/small.jpg"),
            f"/image/width=80/{source.url('/large.png')}",
            "/healthz",
        ):
            assert answered(limited, other, address=address) == "200"
    let_in_again(limited, path, address=address)


async def test_picture_in_memory_that_is_written_in_pieces_is_whole(
    limited: Service, source: ScriptedOrigin, medium: bytes, http: aiohttp.ClientSession
) -> None:
    """This holds for the whole picture, a part of it, HEAD, and the second answer of a connection."""
    client, target = Client(http, limited.base), "/?" + source.url("/medium.png")
    for _ in range(2):
        assert (await client.get(target)).body == medium
    part = await client.get(target, headers={"Range": "bytes=200000-599999"})
    assert (part.status, part.body) == (206, medium[200_000:600_000])
    assert part.headers["Content-Range"] == f"bytes 200000-599999/{len(medium)}"
    head = await client.get(target, method="HEAD")
    assert (head.headers["Content-Length"], head.body) == (str(len(medium)), b"")
    assert (await client.get(target)).cache_status.startswith("imgmirror; hit")


def test_picture_in_memory_is_counted_and_held_once_however_many_do_not_read_it(
    tmp_path: Path, source: ScriptedOrigin
) -> None:
    """The picture is a variant of some MiB. Its clients share one body, and each client has three places for it."""
    with Service(write_config(tmp_path, {"server": {"client_streams": LIMIT}})) as service:
        path = f"/image/width={SIDE - 1},format=png/{source.url('/large.png')}"
        with Reader(service, path) as whole:
            size = int(whole.head()["content-length"])
            assert opened(whole.body(size)).width == SIDE - 1
        assert size > 4 << 20
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        before = process.memory_full_info().uss
        with contextlib.ExitStack() as readers:
            for number in range(40):
                reader = readers.enter_context(
                    Reader(service, path, address=f"127.0.1.{number // LIMIT + 1}")
                )
                assert reader.head()[""] == "200"
            assert process.memory_full_info().uss - before < 10 * size
            assert answered(service, path, address="127.0.1.1") == "429"
    assert "Traceback" not in service.log()


def test_other_client_reads_all_of_it_while_one_is_refused(
    limited: Service, source: ScriptedOrigin, large: bytes
) -> None:
    path = "/?" + source.url("/large.png")
    with reading(limited, path, address="127.0.0.3"):
        assert answered(limited, path, address="127.0.0.3") == "429"
        with Reader(limited, path, address="127.0.0.4") as other:
            assert int(other.head()["content-length"]) == len(large)
            assert other.body(len(large)) == large


def test_place_is_given_back_when_the_client_has_read_all(
    limited: Service, source: ScriptedOrigin, large: bytes
) -> None:
    """The connection stays open; the end of the answer frees the place."""
    path, address = "/?" + source.url("/large.png"), "127.0.0.5"
    with reading(limited, path, address=address) as readers:
        assert answered(limited, path, address=address) == "429"
        assert readers[0].body(len(large)) == large
        let_in_again(limited, path, address=address)


def test_place_is_given_back_when_the_client_hangs_up(limited: Service, source: ScriptedOrigin) -> None:
    path, address = "/?" + source.url("/large.png"), "127.0.0.6"
    with reading(limited, path, address=address) as readers:
        assert answered(limited, path, address=address) == "429"
        readers[0].connection.close()
        let_in_again(limited, path, address=address)


def test_clients_of_a_trusted_proxy_are_counted_one_by_one(limited: Service, source: ScriptedOrigin) -> None:
    path = "/?" + source.url("/large.png")
    one, other = "X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-For: 192.0.2.2\r\n"
    with reading(limited, path, headers=one):
        assert answered(limited, path, headers=one) == "429"
        assert answered(limited, path, headers="Forwarded: for=192.0.2.1\r\n") == "429"
        assert answered(limited, path, headers=other) == "200"


def test_client_that_no_proxy_vouches_for_is_counted_itself(limited: Service, source: ScriptedOrigin) -> None:
    """In `X-Forwarded-For` from anyone else, the client can write anything."""
    path, address = "/?" + source.url("/large.png"), "127.0.0.7"
    with reading(limited, path, address=address):
        assert answered(limited, path, address=address, headers="X-Forwarded-For: 192.0.2.77\r\n") == "429"


@pytest.mark.parametrize("path", ["/large.png", "/small.jpg"])
def test_client_that_reads_nothing_is_hung_up_on(tmp_path: Path, source: ScriptedOrigin, path: str) -> None:
    """`server.write_timeout`. Nothing of it is left: no connection, no open file; one line in the log, no traceback.

    Of a small answer the whole rest lies in the kernel, where only the kernel can give it up.
    """
    with Service(write_config(tmp_path, {"server": {"write_timeout": "1s"}})) as service:
        target = "/?" + source.url(path)
        assert answered(service, target) == "200"
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        wait_until(lambda: not _clients(process, service.port), seconds=30)
        with Reader(service, target) as reader:
            wait_until(lambda: _clients(process, service.port) == 1)
            wait_until(lambda: not _clients(process, service.port), seconds=30)
            # The client can still read what was sent before, then finds the connection dead.
            with contextlib.suppress(ConnectionError):
                while reader.connection.recv(65536):
                    pass
        assert answered(service, target) == "200"
    assert "Traceback" not in service.log()
    assert "ERROR" not in service.log()


def _clients(process: psutil.Process, port: int) -> int:
    """Count the connections of clients that the service holds."""
    return sum(
        row.laddr.port == port and row.status != psutil.CONN_LISTEN for row in process.net_connections("tcp4")
    )


# In this process, where the test sets the time: how much of its answer a client must take.


@pytest.fixture
async def big_answers() -> AsyncIterator[tuple[Server, int]]:
    """A server whose every answer is 16 MiB, and its port."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(ANSWER_BYTES)})
        await response.prepare(request)
        await response.write(bytes(ANSWER_BYTES))
        return response

    server = Server(handler, ServerConfig(write_timeout=60), account=lambda *_: None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield server, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        await server.shutdown()


@contextlib.asynccontextmanager
async def _unread(server: Server, port: int) -> AsyncIterator[tuple[socket.socket, float]]:
    """A client that has sent a request and for which the server waits, and the time of the server's next check."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not server.reading:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        yield client, _next_look(server)


def _next_look(server: Server) -> float:
    ((deadline, _),) = server.reading.values()
    return deadline


async def _left_to_read(client: socket.socket) -> int:
    """Read until the connection ends, well or broken; return the bytes that still came."""
    got = 0
    with contextlib.suppress(ConnectionError):
        while piece := await asyncio.get_running_loop().sock_recv(client, 1 << 20):
            got += len(piece)
    return got


async def test_client_that_took_too_little_is_hung_up_on_at_its_deadline(
    big_answers: tuple[Server, int], caplog: pytest.LogCaptureFixture
) -> None:
    server, port = big_answers
    caplog.set_level(logging.INFO)
    async with _unread(server, port) as (client, deadline):
        server._hang_up_on_unread(deadline - 0.001)
        assert server.reading
        server._hang_up_on_unread(deadline)
        assert not server.reading
        assert await _left_to_read(client) < ANSWER_BYTES
    assert caplog.messages == ["client does not read"]


async def test_client_that_takes_enough_is_given_time_again_and_again(
    big_answers: tuple[Server, int],
) -> None:
    """The whole answer may take as long as it likes; the next deadline counts from what is left then."""
    server, port = big_answers
    loop = asyncio.get_running_loop()
    async with _unread(server, port) as (client, first):
        for turn in range(3):
            ((connection, (_, before)),) = server.reading.items()
            assert connection.transport is not None
            while connection.transport.get_write_buffer_size() > before - PROGRESS_BYTES:
                await loop.sock_recv(client, 4096)
            server._hang_up_on_unread(first + 60 * turn)
            assert _next_look(server) == first + 60 * (turn + 1)
        server._hang_up_on_unread(first + 180)
        assert not server.reading


async def test_client_that_leaves_in_the_middle_leaves_no_traceback(
    big_answers: tuple[Server, int], caplog: pytest.LogCaptureFixture
) -> None:
    """A visitor who closes the page is not an error of the service, whether the connection is closed or reset."""
    server, port = big_answers
    for lingering in (b"", struct.pack("ii", 1, 0)):
        async with _unread(server, port) as (client, _):
            if lingering:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        while server.connections:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0)
        server.reading.clear()
    assert not caplog.records
