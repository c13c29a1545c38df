"""An error after the head of an answer: its text never becomes part of the body."""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from proxy.config import ServerConfig
from proxy.observe.metrics import Metrics
from proxy.web import routes
from proxy.web.connections.server import Server

_ASKED = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
async def failing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, list[object]]]:
    """A service whose handler fails; before that it sends as many bytes of an answer as the number says. Yields its
    port, and the requests that were recorded as left."""
    left: list[object] = []
    numbers = itertools.count()

    async def handled(_context: object, request: web.BaseRequest, _id: str) -> web.StreamResponse:
        if next(numbers) == 0:
            response = web.StreamResponse(headers={"Content-Length": "4000"})
            await response.prepare(request)
            await response.write(b"the beginning")
        raise OSError("the disk is gone")

    monkeypatch.setattr(routes, "_handled", handled)
    monkeypatch.setattr(routes, "_source", lambda *_: "")
    accounts = SimpleNamespace(client=lambda _request: "", left=left.append)
    context: Any = SimpleNamespace(next_request_id=lambda: "id", accounts=accounts, metrics=Metrics())
    dispatch: Any = functools.partial(routes.dispatch, context)
    server = Server(dispatch, ServerConfig(), account=lambda *_: None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1], left
    listening.close()
    await server.shutdown()


async def _answer(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_ASKED)
    got = b""
    try:
        while piece := await reader.read(1 << 16):
            got += piece
    except ConnectionError:
        pass
    writer.close()
    return got


async def test_error_after_the_head_cuts_the_connection_and_one_before_it_is_an_answer(
    failing: tuple[int, list[object]],
) -> None:
    port, left = failing
    begun = await _answer(port)
    assert b"internal" not in begun
    assert begun.count(b"HTTP/1.1") <= 1
    assert len(left) == 1
    whole = await _answer(port)
    assert whole.startswith(b"HTTP/1.1 500")
    assert b"internal" in whole
    assert len(left) == 1
