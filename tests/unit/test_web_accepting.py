"""Connections are shared out among workers: two of them here, in one process, on one listening socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from aiohttp import web

from proxy.config import ServerConfig
from proxy.web.connections.accepting import GONE, OpenConnections, SharedSite
from proxy.web.connections.server import Server


@dataclass
class Worker:
    """A server on the shared socket."""

    server: Server
    site: SharedSite
    runner: web.ServerRunner


async def _nothing(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)


@pytest.fixture
def listener() -> socket.socket:
    """A listening socket that stays open, as the parent's does."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    return listening


@pytest.fixture
def counts() -> list[int]:
    """The counts that the workers share."""
    return [GONE, GONE]


@pytest.fixture
async def workers(listener: socket.socket, counts: list[int]) -> AsyncIterator[list[Worker]]:
    """Two that accept on copies of it."""
    made = []
    for number in range(2):
        server = Server(_nothing, ServerConfig(), account=lambda *_: None)
        runner = web.ServerRunner(server, shutdown_timeout=0)
        await runner.setup()
        connections = OpenConnections(counts, number)
        site = SharedSite(runner, listener.dup(), server=server, connections=connections)
        made.append(Worker(server, site, runner))
        await site.start()
    yield made
    for worker in made:
        await worker.runner.cleanup()
    listener.close()


@contextlib.asynccontextmanager
async def visitors(listener: socket.socket, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Open this many connections at once."""
    host, port = listener.getsockname()
    streams = await asyncio.gather(*(asyncio.open_connection(host, port) for _ in range(count)))
    writers = [writer for _, writer in streams]
    try:
        yield writers
    finally:
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def test_visitors_that_come_together_are_shared_out(
    workers: list[Worker], listener: socket.socket, counts: list[int]
) -> None:
    """Each worker takes half of them and tells the other."""
    async with visitors(listener, 16):
        await until(lambda: sum(worker.server.held for worker in workers) == 16)
        assert counts == [worker.server.held for worker in workers]
        assert abs(counts[0] - counts[1]) <= 2
    await until(lambda: counts == [0, 0])


async def test_visitor_goes_to_the_worker_that_holds_fewer(
    workers: list[Worker], listener: socket.socket, counts: list[int]
) -> None:
    """This holds even if it is not the first to wake up."""
    async with visitors(listener, 2) as first:
        await until(lambda: counts == [1, 1])
        first[0].close()
        await until(lambda: sum(counts) == 1)
        fewer = counts.index(0)
        async with visitors(listener, 1):
            await until(lambda: sum(counts) == 2)
            assert counts[fewer] == 1


async def test_worker_that_does_not_wake_keeps_nobody_waiting(
    workers: list[Worker], listener: socket.socket, counts: list[int]
) -> None:
    """The others take its connections after a moment."""
    asyncio.get_running_loop().remove_reader(workers[1].site._listener)
    async with visitors(listener, 8):
        await until(lambda: workers[0].server.held == 8)
        assert counts == [8, 0]


async def test_worker_that_ends_leaves_its_visitors_to_the_others(
    workers: list[Worker], listener: socket.socket, counts: list[int]
) -> None:
    """Connections in the queue of the socket are not lost, and nobody waits for the worker that is gone."""
    for worker in workers:
        asyncio.get_running_loop().remove_reader(worker.site._listener)
    async with visitors(listener, 4):
        await workers[0].site.stop()
        assert counts[0] == GONE
        workers[1].site._watch()
        await until(lambda: workers[1].server.held == 4)


async def test_socket_that_cannot_accept_is_tried_again(
    workers: list[Worker],
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process without descriptors says so and recovers."""
    monkeypatch.setattr("proxy.web.connections.accepting.RETRY_SECONDS", 0)

    class Full:
        def accept(self) -> None:
            raise OSError(24, "Too many open files")

        def fileno(self) -> int:
            return own.fileno()

        def close(self) -> None:
            own.close()

    site = workers[0].site
    own, site._listener = site._listener, Full()  # type: ignore[assignment]
    site._accept()
    site._listener = own
    assert "Too many open files" in caplog.text
    async with visitors(listener, 1):
        await until(lambda: sum(worker.server.held for worker in workers) == 1)
    assert site._listener is own
