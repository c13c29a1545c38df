"""Runs the real commands as separate processes, so that the demo does what a user would do."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import proxy

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


class ServiceFailed(Exception):
    """The service did not start; the message contains the end of its log."""


def free_port(preferred: int) -> int:
    """Return `preferred` if that port is free, else another free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServiceFailed("no port of 127.0.0.1 is free")


def write_config(folder: Path, *, port: int) -> Path:
    """Write the demo's configuration: its own store, and permission to fetch from loopback."""
    path = folder / "config.toml"
    path.write_text(
        f'[server]\nport = {port}\npublic_url = "http://127.0.0.1:{port}"\n\n'
        '[store]\ndir = "store"\nmin_free = 0\n\n'
        '[fetch]\nallow_networks = ["127.0.0.0/8"]  # the sample origin; never do this in public\n',
        encoding="utf-8",
    )
    return path


class Commands:
    """Runs commands with one configuration; their logs go to a file beside it."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._log_path = config.parent / "log.txt"
        self._service: Process | None = None

    async def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end; return its exit code and output."""
        process = await self._start(*words)
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode("utf-8", "replace")

    async def start_service(self) -> None:
        """Start `imgmirror serve` and wait until it listens.

        Raises:
            ServiceFailed: the service exited or took too long.
        """
        self._service = process = await self._start("serve")
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await process.stdout.readline() if process.stdout else b""
        except TimeoutError:
            line = b""
        if b"listening on" not in line:
            await self.stop_service()
            raise ServiceFailed(f"the service did not start: {self._log_tail()}")

    async def stop_service(self) -> None:
        """Stop the service as a service manager does."""
        process, self._service = self._service, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def wait(self) -> None:
        """Wait until the service exits by itself."""
        if self._service is not None:
            await self._service.wait()

    async def _start(self, *words: str) -> Process:
        # Run in the folder that contains the package, so that an uninstalled checkout works as well.
        with self._log_path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "proxy", words[0], "--config", str(self._config), *words[1:],
                stdin=DEVNULL, stdout=PIPE, stderr=log, env=_environment(),
                cwd=Path(proxy.__file__).parents[1],
            )  # fmt: skip

    def _log_tail(self) -> str:
        return self._log_path.read_text(encoding="utf-8", errors="replace")[-2000:]


def _environment() -> dict[str, str]:
    # The user's settings would make the demo use the user's own store.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IMGMIRROR_")}
    return {**kept, "IMGMIRROR_LOG": "warning", "PYTHONUNBUFFERED": "1"}
