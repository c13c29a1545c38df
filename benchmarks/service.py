"""Helpers of the benchmarks: a service on loopback, an origin, a photo, load, a description of the machine."""

from __future__ import annotations

import contextlib
import http.server
import json
import math
import os
import platform
import random
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageFilter

HERE = Path(__file__).parent
BROWSER = "image/webp,*/*"


def photo(seed: int, size: tuple[int, int] = (2040, 1360)) -> bytes:
    """Return a JPEG with the spectrum of a photo: smooth shapes under fine grain."""
    rng = random.Random(seed)  # noqa: S311 - a picture, not a secret
    small = Image.frombytes("RGB", (48, 32), rng.randbytes(48 * 32 * 3))
    smooth = small.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(6))
    grain = Image.effect_noise(size, 24).convert("RGB")
    buffer = BytesIO()
    Image.blend(smooth, grain, 0.15).save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


@contextlib.contextmanager
def origin(bodies: list[bytes]) -> Iterator[str]:
    """Serve `bodies` as /0.jpg, /1.jpg, …; a query makes another source with the same body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            number = self.path.lstrip("/").split(".")[0]
            if not number.isdecimal():
                self.send_error(404)  # robots.txt
                return
            body = bodies[int(number) % len(bodies)]
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int


@contextlib.contextmanager
def launched(
    command: list[str], env: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Server]:
    """Start a server that prints a line ending in its port.

    Raises:
        ValueError: it prints none.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}, cwd=cwd
    )
    assert process.stdout is not None
    try:
        yield Server(int(process.stdout.readline().strip().rsplit(":", 1)[-1]), process.pid)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextlib.contextmanager
def started(command: list[str], env: dict[str, str] | None = None) -> Iterator[int]:
    """Start a server that prints a line ending in its port; yield the port."""
    with launched(command, env) as server:
        yield server.port


def settings(folder: Path) -> dict[str, str]:
    """Return the environment of a service that keeps everything in `folder` and may fetch from loopback."""
    return {
        "IMGMIRROR_STORE_DIR": str(folder / "store"),
        "IMGMIRROR_STORE_MIN_FREE": "0",
        "IMGMIRROR_FETCH_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        "IMGMIRROR_LOG_LEVEL": "error",
    }


def service(
    folder: Path, *, workers: int = 1, root: Path | None = None, **changes: str
) -> contextlib.AbstractContextManager[Server]:
    """Start imgmirror on `folder` with the environment's overrides; `root` is another work tree with a `.venv`."""
    python = str(root / ".venv" / "bin" / "python") if root else sys.executable
    command = [python, "-m", "proxy", "serve", "--port", "0", "--workers", str(workers)]
    return launched(command, {**settings(folder), **changes}, cwd=root)


def load(port: int, paths: list[str], *, connections: int = 16, seconds: float = 3.0) -> dict[str, float]:
    """Return the result of a load generator: `answers`, `per_second`, `p50_ms` and `p99_ms`.

    For one path it is wrk, if that is installed. `load.py` takes as long for an answer as nginx does, so with it nginx
    and two workers look slower than they are.
    """
    if len(paths) == 1 and (wrk := shutil.which("wrk")):
        return _wrk(wrk, port, paths[0], connections=connections, seconds=seconds)
    command = [sys.executable, str(HERE / "load.py"), "--port", str(port), "--connections", str(connections)]
    command += ["--seconds", str(seconds), "--accept", BROWSER, *paths]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def load_generator() -> str:
    """Return the name of the load generator for one path."""
    return "wrk" if shutil.which("wrk") else "load.py"


def _wrk(executable: str, port: int, path: str, *, connections: int, seconds: float) -> dict[str, float]:
    command = [executable, "--latency", "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s"]
    command += ["-H", f"Accept: {BROWSER}", f"http://127.0.0.1:{port}{path}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"(\d+) requests in [^\n]*?\n.*?Requests/sec:\s+([\d.]+)", told, re.DOTALL)
    at = dict(re.findall(r"^\s+(\d\d)%\s+(\S+)$", told, re.MULTILINE))
    if rate is None or re.search("Non-2xx|Socket errors", told):
        raise SystemExit(f"wrk: not every answer was 200:\n{told}")
    return {
        "answers": int(rate[1]),
        "per_second": float(rate[2]),
        "p50_ms": _ms(at["50"]),
        "p99_ms": _ms(at["99"]),
    }


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]  # wrk's format
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def fetched(port: int, path: str) -> bytes:
    """Return the body at `path`.

    Raises:
        OSError: the answer is not 200.
    """
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": BROWSER})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        return bytes(answer.read())


def machine() -> str:
    """Return CPU, cores and Python in words."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{cpu}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} {platform.release()}"
