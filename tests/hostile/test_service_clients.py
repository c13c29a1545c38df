"""Clients that speak HTTP badly, slowly or not at all: a plain answer or a closed connection, one line in the log."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = write_config(
        tmp_path_factory.mktemp("clients"), {"server": {"read_timeout": "1s", "max_body": "64 KiB"}}
    )
    with Service(config) as service:
        yield service


def exchange(service: Service, request: bytes, *, then: bytes = b"") -> bytes:
    """Send bytes over a new connection and return everything that arrives until the service closes it."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(request)
        if then:
            connection.sendall(then)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


@pytest.mark.parametrize(
    "request_head",
    [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "],
    ids=["nothing", "half a line", "half a head"],
)
def test_client_whose_request_does_not_come_is_hung_up_on(service: Service, request_head: bytes) -> None:
    assert exchange(service, request_head) == b""


@pytest.mark.parametrize(
    "rest", [b"GET / HT", b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"\r"], ids=["line", "head", "byte"]
)
def test_half_request_on_a_kept_connection_is_hung_up_on(service: Service, rest: bytes) -> None:
    """The first request was complete. The second one also has `server.read_timeout`, not the time of an idle client."""
    answer = exchange(service, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", then=rest)
    assert answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GARBAGE\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET /a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /?http://h/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=[
        "no http", "version", "nul", "header name", "length", "smuggling", "long line", "long header", "tls hello",
    ],
)  # fmt: skip
def test_request_that_the_parser_refuses_gets_400_and_one_line_in_the_log(
    service: Service, request_bytes: bytes
) -> None:
    before = service.log()
    answer = exchange(service, request_bytes)
    assert answer.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 ", b"HTTP/1.0 414", b"HTTP/1.1 414"))
    added = service.log()[len(before) :]
    assert "Traceback" not in added
    assert len(added.splitlines()) == 1, added
    assert "unreadable request client=127.0.0.1 reason=" in added


@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate", b"zstd"])
@pytest.mark.parametrize("target", [b"/healthz", b"/nowhere", b"/desk/sign-in", b"/purge"])
def test_body_with_a_broken_content_coding_is_no_error_of_ours(
    service: Service, target: bytes, coding: bytes
) -> None:
    """No body is decoded, so a broken one or a bomb costs nothing and leaves no traceback."""
    before = service.log()
    request = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: %s\r\n" % (target, coding)
    request += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 8\r\n"
    answer = exchange(service, request + b"Connection: close\r\n\r\n\x1f\x8b\x08xxxxx")
    assert answer.startswith((b"HTTP/1.1 405 ", b"HTTP/1.1 415 "))
    assert "Traceback" not in service.log()[len(before) :]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/%", 404),
        (b"/%zz/%00", 404),
        (b"/image/width=%/http://h.example/a.png", 400),
        (b"/image/%00/http://h.example/a.png", 400),
        (b"/image/width=4/http://[::1/a.png", 400),
        (b"/image/b64:!!!!/x", 400),
        (b"/image/width=4/b64:%FF%FE", 400),
        (b"/?http://%ff%fe/", 400),
        (b"/?http://h.example:99999999999999999999/", 400),
        (b"/?http:" + b"/" * 4000, 400),
        (b"/image/" + b"width=1," * 900 + b"/http://h.example/", 400),
        (b"/image//////", 400),
        (b"/explain/", 200),
        (b"/explain//explain//explain/", 200),
        (b"//", 404),
        (b"http://h.example/healthz", 200),
        (b"http://h.example?x", 400),
    ],
)
def test_odd_target_is_answered_and_never_internal(service: Service, target: bytes, status: int) -> None:
    answer = exchange(
        service, b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    assert b'"internal"' not in answer
    assert answer.split(b" ", 2)[1] == str(status).encode(), answer[:400]
    assert "Traceback" not in service.log()


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = exchange(service, one + one + last)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


def test_http_1_0_client_is_answered_and_the_connection_ends(service: Service) -> None:
    assert exchange(service, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")


def test_body_that_does_not_come_is_not_waited_for(service: Service) -> None:
    head = b"POST /rewrite HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/html\r\nContent-Length: 100\r\n"
    answer = exchange(service, head + b"Connection: close\r\n\r\n", then=b"<p>")
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"invalid_request" in answer


async def test_body_beyond_the_limit_is_too_large(service: Service) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await Client(session, service.base).get(
            "/rewrite", method="POST", data=b"x" * 100_000, headers={"Content-Type": "text/markdown"}
        )
    assert (answer.status, answer.code) == (413, "request_too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b'"x"', b"\xff\xfe", b"[" * 60_000, b"{}", b'{"source": 1}', b'{"sauce": "http://h/"}',
        b'{"source": "http://h/", "origin": "http://h/"}', b'{"source": "http://h/", "block": "yes"}',
        b'{"source": "\\ud800"}', b'{"source": "http://h/\\ud800"}', b'{"origin": "nonsense"}',
    ],
)  # fmt: skip
async def test_purge_of_nonsense_is_refused_and_named(service: Service, body: bytes) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await Client(session, service.base).get("/purge", method="POST", data=body)
    assert answer.status == 400, answer.body
    assert answer.code in {"invalid_request", "invalid_source"}


async def test_client_that_leaves_does_not_stop_the_fetch_of_the_others(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """The client that started the fetch leaves. The clients that share the fetch get the picture from it."""
    body, release = chart_png(50, 40), asyncio.Event()

    async def slow(_request: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    origin.script("/shared.png", slow)
    with Service(write_config(tmp_path)) as service:
        target = "/?" + origin.url("/shared.png")
        async with aiohttp.ClientSession() as one, aiohttp.ClientSession() as two:
            leaving = asyncio.create_task(Client(one, service.base).get(target))
            while not origin.count():  # noqa: ASYNC110 - the service is another process
                await asyncio.sleep(0.01)
            staying = asyncio.create_task(Client(two, service.base).get(target))
            leaving.cancel()
            await asyncio.sleep(0.1)
            release.set()
            answer = await staying
        assert (answer.status, answer.body) == (200, body)
        assert origin.count() == 1
        assert json.loads(await _readiness(service))["status"] == "ok"


async def _readiness(service: Service) -> bytes:
    async with aiohttp.ClientSession() as session:
        return (await Client(session, service.base).get("/readyz")).body
