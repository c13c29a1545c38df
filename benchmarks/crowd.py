"""`make bench-crowd`: how a thousand clients on one cold picture with a stalled origin affect other clients.

It prints the number of requests to the origin, the service's memory and descriptors before, during and after, and the
latency of other pictures, as ratios within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from peers.process_tree import pss_bytes
from service import machine, photo, service

MIB = 1 << 20
OTHERS = 8
"""Pictures that the other clients request in turn, again and again."""


@dataclass(slots=True)
class Origin:
    """Serves one photo under every path; paths that begin with /stall wait for `release`."""

    body: bytes
    asked: Counter[str] = field(default_factory=Counter)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request after another."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode("ascii")
                self.asked[path] += 1
                if path.startswith("/stall"):
                    await self.release.wait()
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                    % len(self.body)
                )
                writer.write(self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def get(
    path: str, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> tuple[int, bytes, float]:
    """Return status, body and seconds of one GET on an open connection."""
    reader, writer = connection
    begun = time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: image/webp,*/*\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length), time.perf_counter() - begun


class Prober:
    """Requests other pictures, one at a time, until it is stopped."""

    def __init__(self, port: int, paths: list[str]) -> None:
        self._port, self._paths = port, paths
        self._stopped = False

    async def run(self) -> list[float]:
        """Return the latencies in seconds."""
        connection = await asyncio.open_connection("127.0.0.1", self._port)
        seconds: list[float] = []
        while not self._stopped:
            status, _, taken = await get(self._paths[len(seconds) % len(self._paths)], connection)
            if status != 200:
                raise SystemExit(f"another picture was answered {status}")
            seconds.append(taken)
            await asyncio.sleep(0.001)
        connection[1].close()
        return seconds

    async def during(self, work: asyncio.Future[object]) -> list[float]:
        """Return the latencies until `work` is done."""
        self._stopped = False
        probing = asyncio.create_task(self.run())
        await work
        self._stopped = True
        return await probing


def percentile(values: list[float], share: float) -> float:
    """Return the percentile at `share`, in milliseconds."""
    return 1000 * sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def run(args: argparse.Namespace, port: int, origin: Origin, base: str) -> None:
    """Measure and print."""
    parent = psutil.Process().children(recursive=False)
    pid = next(child.pid for child in parent if "serve" in child.cmdline())
    process = psutil.Process(pid)
    paths = [f"/image/width={200 + n}/{base}/other.jpg" for n in range(OTHERS)]
    connection = await asyncio.open_connection("127.0.0.1", port)
    for path in paths:
        await get(path, connection)
    prober = Prober(port, paths)
    quiet = await prober.during(asyncio.ensure_future(asyncio.sleep(args.stall)))
    before = pss_bytes(pid), process.num_fds()

    crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(args.clients)]
    cold = f"/image/width=640/{base}/stall.jpg"
    asking = asyncio.gather(*(get(cold, client) for client in crowd))
    meanwhile: list[tuple[int, int]] = []

    async def stalled() -> None:
        for _ in range(10):
            await asyncio.sleep(args.stall / 10)
            meanwhile.append((pss_bytes(pid), process.num_fds()))
        origin.release.set()
        await asking

    loud = await prober.during(asyncio.ensure_future(stalled()))
    answers = asking.result()
    for _, writer in crowd:
        writer.close()
    statuses = Counter(status for status, _, _ in answers)
    print(f"{args.clients} clients, origin stalls {args.stall:g} s: answers {dict(statuses)}")
    print(f"bodies that differ: {len({body for _, body, _ in answers}) - 1}")
    print(f"fetches of the cold picture: {origin.asked['/stall.jpg']}")
    peak, descriptors = max(size for size, _ in meanwhile), max(count for _, count in meanwhile)
    print(f"memory (PSS of all processes): {before[0] / MIB:.0f} MiB before, {peak / MIB:.0f} MiB meanwhile")
    print(f"descriptors of the service: {before[1]} before, {descriptors} meanwhile")
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        one, two = percentile(quiet, share), percentile(loud, share)
        print(f"other pictures, {name}: {one:.2f} ms alone, {two:.2f} ms meanwhile, {two / one:.2f} times")


async def start(args: argparse.Namespace) -> None:
    """Start origin and service, and run."""
    origin = Origin(photo(1))
    server = await asyncio.start_server(origin.answer, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as ours:
        await run(args, ours.port, origin, base)
    server.close()
    # The service's connections have been closed; give the loop time to notice.
    await asyncio.sleep(0.1)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--stall", type=float, default=5.0, help="seconds")
    print(f"imgmirror, a crowd, {machine()}")
    asyncio.run(start(parser.parse_args()))


if __name__ == "__main__":
    main()
