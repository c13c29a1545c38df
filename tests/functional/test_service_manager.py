"""The service under a service manager: it says when it is ready, shows that it lives, and takes a socket.

The manager is scripted here: a datagram socket and a listening socket. tests/deployment starts the units of deploy/
under a real systemd.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import write_config

_STARTER = """
import os, sys
given, *command = sys.argv[1:]
os.dup2(int(given), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execv(command[0], command)
"""
"""LISTEN_PID must be the number of the service, which only the process itself knows before it becomes the service."""


class Manager:
    """Starts the service as systemd does. `heard` returns the next datagram that satisfies a condition."""

    def __init__(self, folder: Path, *, watchdog_seconds: float = 0.0) -> None:
        self.folder = folder
        self.news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.news.bind(str(folder / "notify"))
        self.news.settimeout(60)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self._environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "PYTHONDEVMODE": ""}
        if watchdog_seconds:
            self._environment["WATCHDOG_USEC"] = str(int(watchdog_seconds * 1e6))

    @contextmanager
    def service(
        self, changes: dict[str, dict[str, Any]] | None = None, *options: str
    ) -> Iterator[subprocess.Popen[str]]:
        config = write_config(self.folder, changes)
        serve = [sys.executable, "-m", "proxy", "serve", "--config", str(config), *options]
        descriptor = self.listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", _STARTER, str(descriptor), *serve],
            env=self._environment,
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.communicate(timeout=60)

    def heard(self, word: str) -> list[str]:
        """Return the lines of the next datagram that begins with `word`; others are passed over."""
        while True:
            lines = self.news.recv(4096).decode().splitlines()
            if lines[0] == word:
                return lines

    def close(self) -> None:
        self.news.close()
        self.listener.close()


@contextmanager
def manager(folder: Path, **options: Any) -> Iterator[Manager]:
    made = Manager(folder, **options)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_service_takes_the_socket_of_its_manager_and_says_when_it_is_ready(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, workers: str
) -> None:
    """The address of the configuration is not used; the end is announced, and the exit code is 0."""
    origin.serve("/p.png", chart_png(40, 40))
    with manager(tmp_path) as above, above.service({"server": {"port": 1}}, "--workers", workers) as service:
        assert above.heard("READY=1") == ["READY=1", f"STATUS=listening on http://127.0.0.1:{above.port}"]
        client = Client(http, f"http://127.0.0.1:{above.port}")
        assert (await client.get("/image/width=20/" + origin.url("/p.png"))).status == 200
        service.terminate()
        assert above.heard("STOPPING=1") == ["STOPPING=1"]
        assert service.wait(60) == 0


async def test_connection_made_while_the_service_is_away_is_answered_by_the_next_one(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """The socket stays open in the manager, so a restart refuses no visitor."""
    with manager(tmp_path) as above:
        with above.service() as first:
            above.heard("READY=1")
            first.terminate()
            first.wait(60)
        with socket.create_connection(("127.0.0.1", above.port)) as waiting:
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            with above.service():
                waiting.settimeout(60)
                assert waiting.recv(12) == b"HTTP/1.1 200"


def test_open_mirror_refuses_a_public_socket_of_its_manager(tmp_path: Path) -> None:
    """The rule for public addresses looks at the socket, not at server.host."""
    with manager(tmp_path) as above:
        above.listener.close()
        above.listener = socket.create_server(("0.0.0.0", 0))
        with above.service({"server": {"host": "127.0.0.1"}}) as service:
            _, told = service.communicate(timeout=60)
            assert service.returncode == 2
            assert "can be reached by others" in told


@pytest.mark.parametrize("workers", ["1", "2"])
def test_living_service_gives_signs_of_life(tmp_path: Path, workers: str) -> None:
    """More than once, so the sign comes from something that repeats."""
    with manager(tmp_path, watchdog_seconds=2.0) as above, above.service(None, "--workers", workers):
        above.heard("READY=1")
        for _ in range(3):
            above.heard("WATCHDOG=1")


def test_worker_that_stands_still_is_replaced_while_the_other_serves(tmp_path: Path) -> None:
    """The service as a whole goes on giving signs of life."""
    with manager(tmp_path, watchdog_seconds=2.0) as above, above.service(None, "--workers", "2") as service:
        above.heard("READY=1")
        stuck = psutil.Process(service.pid).children()[0]
        above.heard("WATCHDOG=1")
        stuck.suspend()
        stuck.wait(60)
        for _ in range(3):
            above.heard("WATCHDOG=1")
        assert service.poll() is None
