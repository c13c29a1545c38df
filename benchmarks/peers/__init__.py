"""The image servers that `make bench-images` compares: how each is found, started and addressed.

A peer is only a command line and a way to write addresses. A missing one raises `Missing` with the reason.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
START_TIMEOUT_SECONDS = 120.0
EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "avif": "avif"}


class Missing(Exception):
    """A peer cannot be compared; the text says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for one picture. quality: None where the format has none (PNG)."""

    source: str
    output_format: str
    quality: int | None
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Launch:
    """The facts that a peer's command line needs. scratch: an empty folder of its own."""

    port: int
    origin_port: int
    scratch: Path
    cpus: int


@dataclass(frozen=True, slots=True)
class Peer:
    """One kind of server. converts: whether the format of the answer can differ from the source's."""

    name: str
    version: str
    address: Callable[[Ask], str]
    command: Callable[[Launch], list[str]]
    formats: frozenset[str] = frozenset(EXTENSIONS)
    converts: bool = True
    environment: Callable[[Launch], dict[str, str]] = field(default=lambda _launch: {})
    folder: Path = ROOT
    """Working directory of the server."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running peer. scratch: the folder that it was given."""

    peer: Peer
    port: int
    pid: int
    scratch: Path


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(
    peer: Peer, *, origin_port: int, cpus: int, environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run `peer` until the block ends; `environment` overrides its own.

    Raises:
        Missing: the peer does not listen in time, or ends at once.
    """
    with tempfile.TemporaryDirectory(prefix=f"bench-{peer.name}-") as folder:
        scratch = Path(folder)
        launch = Launch(free_port(), origin_port, scratch, cpus)
        log_path = scratch / "server.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                peer.command(launch),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **peer.environment(launch), **(environment or {})},
                cwd=peer.folder,
            )
        try:
            if not _listens(process, launch.port):
                tail = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                raise Missing(f"did not start: {' '.join(tail) or 'it said nothing'}")
            yield Running(peer, launch.port, process.pid, scratch)
        finally:
            # Some peers leave their children behind.
            children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False
