"""What traces cost a hit from memory: switched off, on, and on with one request in a hundred sampled.

Services take turns in one run, beside one of another checkout (`--before`), because only ratios are meaningful on a
shared machine. A collector in a process of its own takes everything and looks at nothing. Run by hand.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hits import Row, spread
from peers.process_tree import cpu_seconds
from service import HERE, Server, fetched, launched, load, machine, origin, photo, settings

OFF = "off"


class _Sink(BaseHTTPRequestHandler):
    """Takes what it gets."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


def collect() -> None:
    """Be the collector; print the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    print(f":{server.server_port}", flush=True)
    server.serve_forever()


def services(
    stack: contextlib.ExitStack, folder: Path, collector: int, before: Path | None
) -> dict[str, Server]:
    """Start every service; return them by name."""
    on = {
        "IMGMIRROR_TELEMETRY_OTLP": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}",
    }
    sampled = {**on, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    kinds: dict[str, tuple[dict[str, str], Path]] = {
        OFF: ({}, HERE.parent),
        "off, again": ({}, HERE.parent),
        "on": (on, HERE.parent),
        "on, 1 in 100": (sampled, HERE.parent),
    }
    if before is not None:
        kinds["before"] = ({}, before.absolute())
    command = [sys.executable, "-m", "proxy", "serve", "--port", "0"]
    return {
        name: stack.enter_context(launched(command, {**settings(folder / name), **changes}, cwd=root))
        for name, (changes, root) in kinds.items()
    }


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="another checkout, run by this interpreter")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--collect", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.collect:
        collect()
    print(f"traces, {datetime.now(UTC):%Y-%m-%d}, {machine()}")
    with origin([photo(1)]) as base, tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        collector = stack.enter_context(launched([sys.executable, __file__, "--collect"]))
        path = f"/image/width=512,quality=60/{base}/0.jpg"
        found = services(stack, Path(folder), collector.port, args.before)
        rows = {name: Row(name, server.port, path, (server.pid,)) for name, server in found.items()}
        for row in rows.values():
            fetched(row.port, row.path)
            load(row.port, [row.path], seconds=0.5)
        order = list(rows.values())
        for _ in range(args.rounds):
            order.append(order.pop(0))
            for row in order:
                used = cpu_seconds(row.pids[0])
                result = load(row.port, [row.path], seconds=args.seconds)
                used = cpu_seconds(row.pids[0]) - used
                row.rates.append(result["per_second"])
                row.cpu_us.append(used / result["answers"] * 1e6)
    print(
        f"hits from memory, 16 connections, {args.rounds} rounds: median, and ratio to '{OFF}' (minimum-maximum)"
    )
    for row in rows.values():
        rate, cpu = statistics.median(row.rates), statistics.median(row.cpu_us)
        print(
            f"  {row.name:<14}{rate:>7.0f} /s {spread(row.rates, rows[OFF].rates)}"
            f"   {cpu:>5.0f} us of CPU {spread(row.cpu_us, rows[OFF].cpu_us)}"
        )


if __name__ == "__main__":
    main()
