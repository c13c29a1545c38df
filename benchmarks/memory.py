"""`python benchmarks/memory.py`: does the memory of a web process level off, or does it grow with each source?

It requests random variants of many small pictures of a scripted origin from a service with one worker. After every
5,000 requests it prints the resident memory of the web process as a bar. The default is 200,000 requests over 50,000
sources.
"""

from __future__ import annotations

import argparse
import http.client
import http.server
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image

CLIENTS = 4
_BAR_BYTES = 4 << 20


def plain() -> bytes:
    """Return a small JPEG."""
    buffer = BytesIO()
    Image.effect_noise((96, 64), 40).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@contextmanager
def origin() -> Iterator[str]:
    """Serve a different picture under every path: a comment segment (ITU-T T.81 §B.2.4.5) holds the path."""
    body = plain()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/robots.txt":
                self.send_error(404)
                return
            note = self.path.encode("ascii")
            answer = body[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + body[2:]
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Cache-Control", "max-age=86400")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def service(folder: Path, memory_bytes: int) -> Iterator[tuple[int, int]]:
    """Start a service of one worker; yield its process number and port."""
    env = {
        **os.environ,
        "IMGMIRROR_STORE_DIR": str(folder / "store"),
        "IMGMIRROR_STORE_MIN_FREE": "0",
        "IMGMIRROR_STORE_MEMORY_MAX_BYTES": str(memory_bytes),
        "IMGMIRROR_FETCH_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        "IMGMIRROR_LOG": "error",
    }
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline().strip().rsplit(":", 1)[-1])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process (Linux)."""
    pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def ask(port: int, paths: list[str]) -> int:
    """Request each path over one connection; return how many requests failed."""
    failed = 0
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for path in paths:
        connection.request("GET", path, headers={"Accept": "image/webp,*/*"})
        answer = connection.getresponse()
        answer.read()
        failed += answer.status != 200
    connection.close()
    return failed


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--sources", type=int, default=50_000)
    parser.add_argument("--each", type=int, default=5_000, help="requests between two bars")
    parser.add_argument("--memory", type=int, default=16 << 20, help="store.memory_max_bytes")
    parser.add_argument("--folder", type=Path, help="where the store is made for the time of the run")
    args = parser.parse_args()
    rng = random.Random(1)  # noqa: S311 - which pictures, not a secret
    seen: set[int] = set()
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as folder,
        origin() as base,
        service(Path(folder), args.memory) as (process, port),
        ThreadPoolExecutor(CLIENTS) as clients,
    ):
        begun = time.perf_counter()
        for done in range(0, args.requests, args.each):
            chosen = [rng.randrange(args.sources) for _ in range(args.each)]
            seen.update(chosen)
            paths = [f"/image/width={rng.choice((32, 48, 64))}/{base}/{number}.jpg" for number in chosen]
            failed = sum(
                clients.map(ask, [port] * CLIENTS, [paths[first::CLIENTS] for first in range(CLIENTS)])
            )
            size = resident_bytes(process)
            bar = "#" * (size // _BAR_BYTES)
            print(
                f"{done + args.each:7} requests {len(seen):6} sources {size / 2**20:7.1f} MiB {bar}"
                + (f" ({failed} failed)" if failed else ""),
                flush=True,
            )
        print(f"{args.requests / (time.perf_counter() - begun):.0f} requests a second")


if __name__ == "__main__":
    main()
