"""`make bench-mixed`: does the service's memory level off? 200,000 requests over 50,000 sources by default.

Sources are small PNG pictures, each with a body of its own. Half of the requests go to a tenth of the sources, so a
request may be a hit in memory, in the variant store or of a kept original, or cold. One request in sixteen asks for the
original, one in sixteen is a revalidation, and one in thirty-two names a source that does not exist.
`store.memory_max_bytes` is small, so the budget is full early.

It prints the resident memory of the web process and of its children during the run and the growth over the second half,
and plots it as an SVG. `--before CHECKOUT` then runs another state of the project on the same requests.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import struct
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from peers import ROOT
from service import machine, service

CLIENTS = 8
SAMPLES = 100
MIB = 1 << 20
_SIDE_PX = 48
_ABSENT_EVERY, _ORIGINAL_EVERY, _REVALIDATED_EVERY = 32, 16, 16
_POPULAR_SHARE = 10
_WIDTHS = (16, 24, 32)
_COLOURS = ("#1f77b4", "#d62728")


def picture(number: int) -> bytes:
    """Return a PNG of one row of noise, repeated, different for every number (PNG §5, 24-bit colours)."""
    row = b"\0" + random.Random(number).randbytes(3 * _SIDE_PX)  # noqa: S311 - a picture, not a secret
    header = struct.pack(">IIBBBBB", _SIDE_PX, _SIDE_PX, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _SIDE_PX, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve the origin: /N.png is a picture, and every other path answers 404."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            name = head.split(b" ", 2)[1].strip(b"/").removesuffix(b".png")
            body = picture(int(name)) if name.isdigit() else b""
            status = b"200 OK" if body else b"404 Not Found"
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
            )
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@dataclass(slots=True)
class Run:
    """The result of one run. memory: (requests so far, bytes of the web process, bytes of its children)."""

    name: str
    memory: list[tuple[int, int, int]] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def late_growth(self) -> float:
        """The growth of the web process over the second half, relative to its size at the start of that half."""
        half = self.memory[len(self.memory) // 2][1]
        return self.memory[-1][1] / half - 1


class Visitors:
    """The requests of one run; the same seed gives the same requests."""

    def __init__(self, args: argparse.Namespace, origin: str, *, port: int, pid: int, run: Run) -> None:
        self._rng = random.Random(args.seed)  # noqa: S311 - visitors, not a secret
        self._sources = args.sources
        self._left = args.requests
        self._all = args.requests
        self._origin = origin
        self._port = port
        self._process = psutil.Process(pid)
        self._run = run

    async def run(self) -> None:
        """Send requests until none is left."""
        begun = time.perf_counter()
        self._sample()
        await asyncio.gather(*(self._visit() for _ in range(CLIENTS)))
        self._run.seconds = time.perf_counter() - begun

    def _request(self, number: int) -> bytes:
        popular = self._rng.random() < 0.5
        source = self._rng.randrange(max(1, self._sources // _POPULAR_SHARE) if popular else self._sources)
        absent = number % _ABSENT_EVERY == 0
        path = f"{self._origin}/absent{source}" if absent else f"{self._origin}/{source}.png"
        wish = "original" if number % _ORIGINAL_EVERY == 1 else f"width={_WIDTHS[source % len(_WIDTHS)]}"
        condition = 'If-None-Match: "nothing"\r\n' if number % _REVALIDATED_EVERY == 3 else ""
        return (
            f"GET /image/{wish}/{path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Accept: image/webp,*/*\r\n{condition}\r\n"
        ).encode()

    async def _visit(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while self._left:
            self._left -= 1
            done = self._all - self._left
            writer.write(self._request(done))
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)
            self._run.statuses[status] = self._run.statuses.get(status, 0) + 1
            if done % max(1, self._all // SAMPLES) == 0:
                self._sample()
        writer.close()

    def _sample(self) -> None:
        below = sum(child.memory_info().rss for child in self._process.children(recursive=True))
        self._run.memory.append((self._all - self._left, self._process.memory_info().rss, below))


async def measured(args: argparse.Namespace, origin: str, *, name: str, root: Path | None) -> Run:
    """Start a service and send it the requests."""
    run = Run(name)
    with (
        tempfile.TemporaryDirectory(dir=args.folder) as folder,
        service(
            Path(folder),
            root=root,
            IMGMIRROR_STORE_MEMORY_MAX_BYTES=args.memory,
            IMGMIRROR_STORE_VARIANTS_MAX_BYTES="256 MiB",
            IMGMIRROR_FETCH_PER_ORIGIN="64",
        ) as server,
    ):
        await Visitors(args, origin, port=server.port, pid=server.pid, run=run).run()
    return run


def plot(runs: list[Run], *, title: str) -> str:
    """Return a plot of the memory of the web processes over the requests, as an SVG."""
    width, height, left, top = 800, 400, 70, 40
    most = max(rss for run in runs for _, rss, _ in run.memory) * 1.1
    last = max(done for run in runs for done, _, _ in run.memory)
    size = f'width="{width + 100}" height="{height + 90}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect width="100%" height="100%" fill="white"/><text x="{left}" y="22">{title}</text>',
    ]
    for step in range(5):
        y = top + height - height * step / 4
        lines.append(f'<line x1="{left}" x2="{left + width}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        lines.append(f'<text x="4" y="{y + 4}">{most * step / 4 / MIB:.0f} MiB</text>')
        lines.append(
            f'<text x="{left + width * step / 4 - 20}" y="{top + height + 20}">{last * step // 4}</text>'
        )
    for number, (run, colour) in enumerate(zip(runs, _COLOURS, strict=False)):
        points = " ".join(
            f"{left + width * done / last:.1f},{top + height * (1 - rss / most):.1f}"
            for done, rss, _ in run.memory
        )
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lines.append(
            f'<text x="{left + 200 * number}" y="{top + height + 42}" fill="{colour}">{run.name}</text>'
        )
    return "\n".join([*lines, "</svg>\n"])


def told(run: Run) -> str:
    """Return a run in words."""
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(run.statuses.items()))
    memory = " ".join(f"{rss / MIB:.0f}" for _, rss, _ in run.memory[:: max(1, len(run.memory) // 20)])
    below = run.memory[-1][2] / MIB
    return (
        f"{run.name}: {run.seconds:.0f} s, {statuses}\n  resident memory of the web process, MiB: {memory}\n"
        f"  growth over the second half {run.late_growth:+.1%}; render processes {below:.0f} MiB at the end"
    )


async def everything(args: argparse.Namespace) -> None:
    """Run, print and plot."""
    origin = await asyncio.start_server(answer, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{origin.sockets[0].getsockname()[1]}"
    title = f"{args.requests} requests over {args.sources} sources, {args.memory} of hot variants"
    print(f"imgmirror, {title}; {machine()}")
    runs = [await measured(args, base, name="imgmirror", root=None)]
    print(told(runs[0]), flush=True)
    if args.before:
        runs.append(await measured(args, base, name="before", root=args.before.absolute()))
        print(told(runs[1]))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench-mixed.svg").write_text(plot(runs, title=title), encoding="utf-8")
    print(f"plot: {args.out / 'bench-mixed.svg'}")
    origin.close()
    # The service's connections have been closed; give the loop time to notice.
    await asyncio.sleep(0.2)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--sources", type=int, default=50_000)
    parser.add_argument("--memory", default="16 MiB", help="store.memory_max_bytes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--before", type=Path, help="another work tree with a .venv, measured after this one")
    parser.add_argument("--folder", type=Path, help="where stores are put (default: the temporary folder)")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="folder of the plot")
    asyncio.run(everything(parser.parse_args()))


if __name__ == "__main__":
    main()
