"""`make bench-slow-readers`: how clients that request a large original and read nothing affect other clients.

It prints the longest wait of `/healthz`, which is the longest time that the event loop was busy, and the memory of the
service and of the kernel's sockets before and during the run. Every client has an address of its own (Linux has all of
127.0.0.0/8), so `server.client_streams` limits none of them; `--one-address` shows its effect.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from crowd import MIB, Origin, percentile
from peers.process_tree import pss_bytes
from service import machine, photo, service

PAGE_BYTES = 4096
_FIRST_ADDRESS = (127 << 24) + (1 << 16)


def kernel_bytes() -> int:
    """Return the bytes in the kernel's TCP buffers (proc_net_sockstat(5)), for all processes."""
    lines = Path("/proc/net/sockstat").read_text(encoding="ascii").splitlines()
    words = next(line.split() for line in lines if line.startswith("TCP:"))
    return int(words[words.index("mem") + 1]) * PAGE_BYTES


def ask(port: int, path: str, *, address: str) -> socket.socket:
    """Request `path` from `address` with the smallest possible receive buffer, and read nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.bind((address, 0))
    client.connect(("127.0.0.1", port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return client


def ask_all(args: argparse.Namespace, port: int, path: str) -> list[socket.socket]:
    """Return the connections of all clients."""
    if args.one_address:
        return [ask(port, path, address="127.0.0.1") for _ in range(args.clients)]
    addresses = (socket.inet_ntoa((_FIRST_ADDRESS + n).to_bytes(4, "big")) for n in range(args.clients))
    return [ask(port, path, address=address) for address in addresses]


def statuses(clients: list[socket.socket]) -> Counter[str]:
    """Return the statuses that the clients got, from the first waiting bytes, which stay unread."""
    found: Counter[str] = Counter()
    for client in clients:
        client.setblocking(False)
        try:
            found[client.recv(12, socket.MSG_PEEK)[9:].decode("ascii") or "hung up on"] += 1
        except BlockingIOError:
            found["nothing yet"] += 1
        except ConnectionError:
            found["hung up on"] += 1
    return found


async def waits(port: int, work: asyncio.Future[object]) -> list[float]:
    """Return the seconds that each `/healthz` took until `work` is done, one after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    while not work.done():
        begun = time.perf_counter()
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]))
        seconds.append(time.perf_counter() - begun)
        await asyncio.sleep(0.001)
    writer.close()
    return seconds


def fetch(port: int, path: str) -> float:
    """Read the original once; return the seconds."""
    begun = time.perf_counter()
    with ask(port, path, address="127.0.0.1") as client:
        got, length = b"", 0
        while b"\r\n\r\n" not in got:
            got += client.recv(65536)
        head, _, got = got.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        left = length - len(got)
        while left:
            left -= len(client.recv(65536))
    return time.perf_counter() - begun


async def run(args: argparse.Namespace, port: int, base: str) -> None:
    """Measure and print."""
    process = next(child for child in psutil.Process().children() if "serve" in child.cmdline())
    path = f"/?{base}/large.jpg"
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, fetch, port, path)
    quiet = await waits(port, asyncio.ensure_future(asyncio.sleep(args.seconds)))
    memory, kernel, descriptors = pss_bytes(process.pid), kernel_bytes(), process.num_fds()

    clients: list[socket.socket] = []
    held: list[tuple[int, int, int]] = []

    async def unread() -> None:
        clients.extend(await loop.run_in_executor(None, ask_all, args, port, path))
        for _ in range(10):
            await asyncio.sleep(args.seconds / 10)
            memory = await loop.run_in_executor(None, pss_bytes, process.pid)
            held.append((memory, kernel_bytes(), process.num_fds()))

    loud = await waits(port, asyncio.ensure_future(unread()))
    answers = statuses(clients)
    alone = await loop.run_in_executor(None, fetch, port, path) if not args.one_address else None
    for client in clients:
        client.close()

    print(f"{args.clients} clients that read nothing of {args.mib} MiB: {dict(answers)}")
    print(f"healthz, longest: {1000 * max(quiet):.0f} ms alone, {1000 * max(loud):.0f} ms meanwhile")
    print(f"healthz, p50: {percentile(quiet, 0.5):.2f} ms alone, {percentile(loud, 0.5):.2f} ms meanwhile")
    for name, before, column in (("memory (PSS of all processes)", memory, 0), ("TCP buffers", kernel, 1)):
        peak = max(row[column] for row in held)
        print(f"{name}: {before / MIB:.1f} MiB before, {peak / MIB:.1f} MiB meanwhile")
    print(f"descriptors of the service: {descriptors} before, {max(row[2] for row in held)} meanwhile")
    if alone is not None:
        print(f"another client reads all of it meanwhile in {alone:.2f} s")


async def start(args: argparse.Namespace) -> None:
    """Start origin and service, and run."""
    body = photo(1)
    # Bytes behind the end mark belong to the file and take no time to decode.
    origin = Origin(body + bytes(args.mib * MIB - len(body)))
    server = await asyncio.start_server(origin.answer, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as ours:
        await run(args, ours.port, base)
    server.close()


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--mib", type=int, default=29, help="size of the original")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--one-address", action="store_true")
    print(f"imgmirror, slow readers, {machine()}")
    asyncio.run(start(parser.parse_args()))


if __name__ == "__main__":
    main()
