"""`make bench`: hits per second (memory, variant store), cold thumbnails and warm pictures per second.

Everything runs on loopback. Hits are compared with a bare aiohttp server in turns of one run, because only the
ratio says something on a shared machine. Photos are generated; `--photos FOLDER` takes JPEGs of yours instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.server
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
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
    """Serve `bodies` as /0.jpg, /1.jpg, … ; a query makes the same body another source."""

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


@contextlib.contextmanager
def started(command: list[str], env: dict[str, str] | None = None) -> Iterator[int]:
    """Start a server that prints a line ending in its port; yield the port."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline().strip().rsplit(":", 1)[-1])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def service(folder: Path, **changes: str) -> contextlib.AbstractContextManager[int]:
    """Start imgmirror on `folder` with the environment's overrides."""
    env = {
        "IMGMIRROR_STORE_DIR": str(folder / "store"),
        "IMGMIRROR_STORE_MIN_FREE": "0",
        "IMGMIRROR_FETCH_ALLOW_NETWORKS": '["127.0.0.0/8"]',
        "IMGMIRROR_LOG": "error",
        **changes,
    }
    return started([sys.executable, "-m", "proxy", "serve", "--port", "0"], env)


def load(port: int, paths: list[str], *, connections: int = 16, seconds: float = 3.0) -> dict[str, float]:
    """Return what the load generator measured."""
    command = [sys.executable, str(HERE / "load.py"), "--port", str(port), "--connections", str(connections)]
    command += ["--seconds", str(seconds), "--accept", BROWSER, *paths]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def hits(base: str, *, rounds: int, seconds: float) -> None:
    """Print hits per second from memory and from the variant store beside a bare aiohttp server."""
    path = f"/image/width=512,quality=60/{base}/0.jpg"
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
        contextlib.ExitStack() as stack,
    ):
        memory = stack.enter_context(service(Path(one)))
        store = stack.enter_context(service(Path(two), IMGMIRROR_STORE_MEMORY_MAX_BYTES="0"))
        sizes = [len(_get(port, path)) for port in (memory, store)]
        bare = stack.enter_context(started([sys.executable, str(HERE / "bare.py"), str(sizes[0])]))
        rates: dict[str, list[float]] = {"bare aiohttp": [], "memory": [], "variant store": []}
        for _ in range(rounds):
            for name, port in (("bare aiohttp", bare), ("memory", memory), ("variant store", store)):
                rates[name].append(load(port, [path], seconds=seconds)["per_second"])
    print(f"hits, {sizes[0]} bytes, 16 connections, one worker, median of {rounds} rounds")
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, rates["bare aiohttp"], strict=True))
        print(f"  {name:<14} {statistics.median(values):>9.0f} /s   {ratio:>5.2f} of bare aiohttp")


def _get(port: int, path: str) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept": BROWSER})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - loopback
        return bytes(answer.read())


def cold(base: str, *, pictures: int) -> None:
    """Print cold thumbnails per second: every request is a new source, so a fetch, a check, a commit, a render."""
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as port:
        _get(port, f"/image/width=64/{base}/0.jpg?before")

        async def run() -> float:
            queue = [f"/image/width=512,height=512/{base}/{n}.jpg?cold" for n in range(pictures)]
            begun = time.perf_counter()

            async def client() -> None:
                while queue:
                    await asyncio.to_thread(_get, port, queue.pop())

            await asyncio.gather(client(), client())
            return pictures / (time.perf_counter() - begun)

        print(f"cold thumbnails, 2040 px JPEG to 512 px WebP, two clients: {asyncio.run(run()):.1f} /s")


def warm(base: str, *, pictures: int) -> None:
    """Print how many pictures a second the command `warm` keeps, with the presets in every format."""
    with tempfile.TemporaryDirectory() as folder:
        article = Path(folder) / "article.md"
        lines = [f"![]({'https://cors.zfour.workers.dev/?'}{base}/{n}.jpg?warm)\n" for n in range(pictures)]
        article.write_text("\n".join(lines), encoding="utf-8")
        env = {
            **os.environ,
            "IMGMIRROR_STORE_DIR": str(Path(folder) / "store"),
            "IMGMIRROR_STORE_MIN_FREE": "0",
            "IMGMIRROR_FETCH_ALLOW_NETWORKS": '["127.0.0.0/8"]',
            "IMGMIRROR_LOG": "error",
        }
        command = [sys.executable, "-m", "proxy", "warm", str(article)]
        begun = time.perf_counter()
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begun
    print(
        f"warm, content preset in AVIF, WebP and JPEG, start-up included: {pictures / seconds:.1f} pictures/s"
    )


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, help="folder of JPEGs (default: generated ones)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--pictures", type=int, default=60)
    args = parser.parse_args()
    bodies = [path.read_bytes() for path in sorted(args.photos.glob("*.jpg"))] if args.photos else []
    print(f"imgmirror benchmark, {datetime.now(UTC):%Y-%m-%d}, {machine()}")
    print(f"photos: {args.photos or 'generated, 2040x1360'}")
    with origin(bodies or [photo(seed) for seed in range(4)]) as base:
        hits(base, rounds=args.rounds, seconds=args.seconds)
        cold(base, pictures=args.pictures)
        warm(base, pictures=args.pictures)


def machine() -> str:
    """Return CPU, cores and Python in words."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{cpu}, {os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} {platform.release()}"


if __name__ == "__main__":
    main()
