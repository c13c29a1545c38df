"""`make bench`: hits per second, cold thumbnails and warm pictures per second.

Everything runs on loopback, in turns of one run, because only ratios are meaningful on a shared machine. Hits are
measured from memory and from the variant store, by one worker and by two, and through web servers in front, beside a
bare aiohttp server and a file that nginx serves. Photos are generated; `--photos FOLDER` uses your JPEGs instead.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from hits import Hits
from service import fetched, machine, origin, photo, service, settings


def hits(base: str, args: argparse.Namespace) -> None:
    """Print hits per second of every server, and their latency while cold pictures are rendered."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        servers = Hits(base, Path(folder), stack, seconds=args.seconds)
        servers.start(args.before and args.before.absolute())
        servers.measure(rounds=args.rounds)
        for line in servers.told(rounds=args.rounds):
            print(line, flush=True)
        print(f"  processor time of the idler of two workers to the busier one: {servers.fairness():.2f}")
        print(servers.under_cold(rounds=args.rounds), flush=True)


def cold(base: str, *, pictures: int) -> None:
    """Print cold thumbnails per second. Every request is a new source: one fetch, one check, one commit, one render."""
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as server:
        fetched(server.port, f"/image/width=64/{base}/0.jpg?before")

        async def run() -> float:
            queue = [f"/image/width=512,height=512/{base}/{n}.jpg?cold" for n in range(pictures)]
            begun = time.perf_counter()

            async def client() -> None:
                while queue:
                    await asyncio.to_thread(fetched, server.port, queue.pop())

            await asyncio.gather(client(), client())
            return pictures / (time.perf_counter() - begun)

        print(f"cold thumbnails, 2040 px JPEG to 512 px WebP, two clients: {asyncio.run(run()):.1f} /s")


def warm(base: str, *, pictures: int) -> None:
    """Print how many pictures per second the command `warm` keeps, with the presets in every format."""
    with tempfile.TemporaryDirectory() as folder:
        article = Path(folder) / "article.md"
        lines = [f"![]({'https://cors.zfour.workers.dev/?'}{base}/{n}.jpg?warm)\n" for n in range(pictures)]
        article.write_text("\n".join(lines), encoding="utf-8")
        env = {**os.environ, **settings(Path(folder))}
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
    parser.add_argument(
        "--before", type=Path, help="another work tree with a .venv, measured in the same run"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--only-hits", action="store_true", help="leave cold and warm pictures out")
    args = parser.parse_args()
    bodies = [path.read_bytes() for path in sorted(args.photos.glob("*.jpg"))] if args.photos else []
    print(f"imgmirror benchmark, {datetime.now(UTC):%Y-%m-%d}, {machine()}")
    print(f"photos: {args.photos or 'generated, 2040x1360'}")
    with origin(bodies or [photo(seed) for seed in range(4)]) as base:
        hits(base, args)
        if not args.only_hits:
            cold(base, pictures=args.pictures)
            warm(base, pictures=args.pictures)


if __name__ == "__main__":
    main()
