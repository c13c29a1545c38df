"""The rows of `make bench` about hits: how fast each server answers the same picture again and again.

Servers take turns, and ratios compare turns of the same round. Processor time is that of the server's process tree.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fronts
import psutil
from peers import Missing
from peers.process_tree import cpu_seconds
from service import HERE, Server, fetched, launched, load, load_generator, service

BARE = "bare aiohttp"
STATIC = "nginx static"
ONE = "memory"
TWO = "memory, two workers"
BARE_TWO = "bare aiohttp, two processes"
_WARM_UP_SECONDS = 0.5
_COLD_CLIENTS = 4


@dataclass(slots=True)
class Row:
    """One server and its results. pids: the processes whose processor time counts, together with their children."""

    name: str
    port: int
    path: str
    pids: tuple[int, ...]
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


class Hits:
    """The servers of one run, on one picture."""

    def __init__(self, base: str, folder: Path, stack: contextlib.ExitStack, *, seconds: float) -> None:
        self._base = base
        self._folder = folder
        self._stack = stack
        self._seconds = seconds
        self._names = itertools.count()
        self.path = f"/image/width=512,quality=60/{base}/0.jpg"
        self.rows: list[Row] = []
        self.left_out: list[str] = []
        self.body_bytes = 0

    def start(self, before: Path | None) -> None:
        """Start every server."""
        one = self._service(ONE)
        body = fetched(one.port, self.path)
        self.body_bytes = len(body)
        self.rows[:0] = [self._bare(BARE, 1), self._bare(BARE_TWO, 2)]
        self._service("variant store", STORE_MEMORY_MAX_BYTES="0")
        self._service(TWO, workers=2)
        self._service("variant store, two workers", workers=2, STORE_MEMORY_MAX_BYTES="0")
        if before is not None:
            self._service("before: memory", root=before)
            self._service("before: variant store", root=before, STORE_MEMORY_MAX_BYTES="0")
            self._service("before: memory, two workers", root=before, workers=2)
        self._front(STATIC, lambda folder: fronts.static(body, folder), path="/body.webp")
        self._front("nginx that keeps answers", lambda folder: fronts.cached(one.port, folder), behind=one)
        self._accelerated("nginx", "nginx, X-Accel-Redirect", fronts.accelerated)
        self._accelerated("sendfile", "lighttpd, X-Sendfile", fronts.sendfile)

    def _bare(self, name: str, processes: int) -> Row:
        command = [sys.executable, str(HERE / "bare.py"), str(self.body_bytes), str(processes)]
        server = self._stack.enter_context(launched(command))
        return Row(name, server.port, self.path, (server.pid,))

    def _service(self, name: str, *, workers: int = 1, root: Path | None = None, **changes: str) -> Server:
        folder = self._new_folder()
        environment = {f"IMGMIRROR_{key}": value for key, value in changes.items()}
        server = self._stack.enter_context(service(folder, workers=workers, root=root, **environment))
        fetched(server.port, self.path)
        self.rows.append(Row(name, server.port, self.path, (server.pid,)))
        return server

    def _new_folder(self) -> Path:
        folder = self._folder / str(next(self._names))
        folder.mkdir()
        return folder

    def _front(
        self,
        name: str,
        front: Callable[[Path], contextlib.AbstractContextManager[tuple[int, int]]],
        *,
        path: str = "",
        behind: Server | None = None,
    ) -> None:
        try:
            port, pid = self._stack.enter_context(front(self._new_folder()))
            body = fetched(port, path or self.path)
        except (Missing, OSError) as reason:
            self.left_out.append(f"{name}: left out, {reason}")
            return
        if len(body) != self.body_bytes:
            self.left_out.append(f"{name}: left out, it answers {len(body)} bytes")
            return
        self.rows.append(Row(name, port, path or self.path, (pid, behind.pid) if behind else (pid,)))

    def _accelerated(self, accel: str, name: str, front: fronts.Accelerated) -> None:
        folder = self._new_folder()
        try:
            server = self._stack.enter_context(
                service(folder, IMGMIRROR_SERVER_ACCEL=accel, IMGMIRROR_STORE_MODE="group")
            )
        except ValueError:
            self.left_out.append(f"{name}: left out, this state of the service has no server.accel")
            return
        fetched(server.port, self.path)
        store = folder / "store"
        self._front(name, lambda own: front(server.port, own, store=store), behind=server)

    def measure(self, *, rounds: int) -> None:
        """Let the servers answer in turns."""
        for row in self.rows:
            load(row.port, [row.path], seconds=_WARM_UP_SECONDS)
        for round_ in range(rounds):
            turn = round_ % len(self.rows)
            for row in self.rows[turn:] + self.rows[:turn]:
                before = sum(map(cpu_seconds, row.pids))
                result = load(row.port, [row.path], seconds=self._seconds)
                used = sum(map(cpu_seconds, row.pids)) - before
                row.rates.append(result["per_second"])
                row.cpu_us.append(used / result["answers"] * 1e6)

    def told(self, *, rounds: int) -> Iterator[str]:
        """Yield the table."""
        named = {row.name: row for row in self.rows}
        yield (
            f"hits, {self.body_bytes} bytes, 16 connections of {load_generator()}, {rounds} rounds: "
            "median (minimum-maximum)"
        )
        for row in self.rows:
            against = [(BARE, named[BARE])]
            if STATIC in named:
                against.append((STATIC, named[STATIC]))
            ratios = "   ".join(f"{spread(row.rates, to.rates)} of {name}" for name, to in against)
            cpu = f"{statistics.median(row.cpu_us):>5.0f} us of CPU, {spread(row.cpu_us, named[BARE].cpu_us)} times"
            yield f"  {row.name:<28} {statistics.median(row.rates):>7.0f} /s {cpu}   {ratios}"
        # What the machine and the load generator leave to two processes shows in the bare ones.
        for one, two in ((BARE, BARE_TWO), (ONE, TWO), ("variant store", "variant store, two workers")):
            yield f"  two workers to one, {one}: {spread(named[two].rates, named[one].rates)}"
        yield from (f"  {line}" for line in self.left_out)

    def fairness(self) -> float:
        """Return the processor time of the idler of two workers relative to that of the busier one."""
        row = next(row for row in self.rows if row.name == TWO)
        workers = _workers(row.pids[0])
        before = [cpu_seconds(pid) for pid in workers]
        load(row.port, [row.path], seconds=self._seconds)
        used = sorted(cpu_seconds(pid) - start for pid, start in zip(workers, before, strict=True))
        return used[-2] / used[-1] if len(used) > 1 and used[-1] else 0.0

    def under_cold(self, *, rounds: int) -> str:
        """Return the p99 of hits from memory, with and without cold pictures that keep every render process busy."""
        port = next(row.port for row in self.rows if row.name == ONE)
        idle, busy, made = [], [], 0
        for _ in range(rounds):
            idle.append(load(port, [self.path], connections=4, seconds=self._seconds)["p99_ms"])
            with ColdClients(self._base, port) as clients:
                busy.append(load(port, [self.path], connections=4, seconds=self._seconds)["p99_ms"])
            made += clients.made
        return (
            f"p99 of hits from memory, 4 connections: idle {statistics.median(idle):.2f} ms, while cold pictures keep "
            f"the render processes busy {statistics.median(busy):.2f} ms ({made} made): {spread(busy, idle)} times"
        )


class ColdClients:
    """Run clients that request cold pictures while the block runs."""

    _tickets = itertools.count()

    def __init__(self, base: str, port: int) -> None:
        self._base = base
        self._port = port
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(_COLD_CLIENTS)]
        self.made = 0

    def __enter__(self) -> ColdClients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            number = next(self._tickets)
            fetched(self._port, f"/image/width=512,height=512/{self._base}/{number % 4}.jpg?busy{number}")
            self.made += 1


def spread(values: Sequence[float], others: Sequence[float]) -> str:
    """Return the median, minimum and maximum of the ratios of two values of the same round."""
    found = [a / b for a, b in zip(values, others, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f}-{max(found):.2f})"


def _workers(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children()]
