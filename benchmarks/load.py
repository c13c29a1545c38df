"""A load generator for one address: keep-alive connections, raw bytes, no parsing beyond Content-Length.

A full HTTP client would be slower than the server it measures. Runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence

import uvloop


async def _connection(
    host: str, port: int, requests: Sequence[bytes], deadline: float, latencies: list[float]
) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    position = 0
    while time.perf_counter() < deadline:
        begun = time.perf_counter()
        writer.write(requests[position % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {head[:200]!r}")
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        latencies.append(time.perf_counter() - begun)
        position += 1
    writer.close()


async def _main(args: argparse.Namespace) -> None:
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: {args.host}:{args.port}\r\nAccept: {args.accept}\r\n\r\n".encode()
        for path in args.path
    ]
    latencies: list[float] = []
    deadline = time.perf_counter() + args.seconds
    await asyncio.gather(
        *(_connection(args.host, args.port, requests, deadline, latencies) for _ in range(args.connections))
    )
    latencies.sort()
    print(
        json.dumps(
            {
                "answers": len(latencies),
                "per_second": len(latencies) / args.seconds,
                "p50_ms": latencies[len(latencies) // 2] * 1000,
                "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
            }
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--accept", default="image/webp,*/*")
    parser.add_argument("path", nargs="+")
    uvloop.run(_main(parser.parse_args()))
