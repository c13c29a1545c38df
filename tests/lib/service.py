"""A real service for tests: the command `imgmirror serve` in separate processes, on a free port of loopback."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forking import CAN_FORK
from service_template import ForkedService, ServiceTemplate

PROGRAM = ("-m", "proxy")

BASE: dict[str, dict[str, Any]] = {
    "store": {"min_free": 0, "variants_max_bytes": "64 MiB"},
    "fetch": {"allow_networks": ["127.0.0.0/8", "::1/128"], "timeout": "10s"},
    "render": {"processes": 1, "timeout": "20s"},
}


def write_config(folder: Path, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Write `config.toml` with the base settings of the tests, overridden by `changes`; return its path."""
    tables = {name: dict(keys) for name, keys in BASE.items()}
    tables["store"]["dir"] = str(folder / "store")
    for name, keys in (changes or {}).items():
        tables.setdefault(name, {}).update(keys)
    path = folder / "config.toml"
    path.write_text("".join(_table(name, keys) for name, keys in tables.items()), encoding="utf-8")
    return path


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONDEVMODE": "", "PYTHONWARNINGS": "default"}


@functools.cache
def _template() -> ServiceTemplate:
    template = ServiceTemplate(_environment())
    atexit.register(template.close)
    return template


def _table(name: str, keys: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in keys.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in keys.items() if isinstance(value, dict)}
    # JSON spells texts, numbers, booleans and lists as TOML does.
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in plain.items())
    return f"[{name}]\n{lines}" + "".join(_table(f"{name}.{key}", value) for key, value in nested.items())


class Service:
    """One running service. `start` returns when it listens; `stop` ends it gracefully."""

    forks_renderers = False
    """Whether the render processes of a single worker are forks too. They are no children of it then
    (`forked_renderers.py`)."""

    def __init__(
        self, config: Path, *, workers: int = 1, port: int = 0, program: tuple[str, ...] = PROGRAM
    ) -> None:
        self.config = config
        self.program = program
        self.workers = workers
        self.port = port
        self.process: subprocess.Popen[str] | ForkedService | None = None
        self.log_path = config.parent / "service.log"

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        command = [
            "serve",
            "--config",
            str(self.config),
            "--port",
            str(self.port),
            "--workers",
            str(self.workers),
        ]
        with self.log_path.open("ab") as log:
            if CAN_FORK and self.program == PROGRAM:
                forks_renderers = self.forks_renderers and self.workers == 1
                self.process = _template().start(
                    command, _environment(), log, forks_renderers=forks_renderers
                )
            else:
                self.process = subprocess.Popen(
                    [sys.executable, *self.program, *command],
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=_environment(),
                    start_new_session=True,
                )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if "listening on" not in line:
            raise RuntimeError(f"the service did not start: {line!r}\n{self.log_path.read_text()}")
        self.port = int(line.rsplit(":", 1)[1])

    def stop(self) -> int:
        """End the service as `kill` does; return its exit code."""
        if self.process is None:
            return 0
        self.process.terminate()
        try:
            code = self.process.wait(30)
        finally:
            self.kill()
        return code

    def kill(self) -> None:
        """Kill the whole process group at once, as a power loss would."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()
        self.process = None

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return self.base + path

    def metrics(self, *, token: str = "") -> dict[str, float]:
        """Return the samples of /metrics by name with labels, as Prometheus writes them."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url("/metrics"), headers=headers)  # noqa: S310 - our own loopback address
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
            lines = answer.read().decode().splitlines()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in lines
            if not line.startswith("#")
        }

    def renders(self, *, token: str = "") -> float:
        return self.metrics(token=token).get("imgmirror_render_seconds_count", 0.0)

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8", errors="replace")


def wait_until(condition: Any, *, seconds: float = 10.0) -> None:
    """Poll until `condition()` is true, for changes that another process makes at its own pace."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds} s")
        time.sleep(0.02)
