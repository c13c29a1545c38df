"""The usage of a service's threads and render processes so far, read from /proc (Linux).

The event loop is the main thread of the web process. Its other threads count as "threads".
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds of processor time, and context switches: voluntary ones (a thread waits) and involuntary ones."""

    loop_seconds: float = 0.0
    threads_seconds: float = 0.0
    render_seconds: float = 0.0
    loop_waits: float = 0.0
    threads_waits: float = 0.0
    render_waits: float = 0.0
    preempted: float = 0.0

    def __sub__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, f.name) - getattr(other, f.name) for f in fields(self)))

    def each(self, count: int) -> Usage:
        """Return the share of one of `count` pictures."""
        return Usage(*(getattr(self, f.name) / count for f in fields(self)))

    @property
    def web_seconds(self) -> float:
        """Processor time of the web process."""
        return self.loop_seconds + self.threads_seconds


@dataclass(frozen=True, slots=True)
class _Thread:
    seconds: float
    waits: int
    preempted: int


def _thread(folder: Path) -> _Thread:
    status = (folder / "status").read_text(encoding="ascii", errors="replace")
    counts = dict(line.split(":", 1) for line in status.splitlines() if "ctxt_switches" in line)
    ran_ns = int((folder / "schedstat").read_text(encoding="ascii").split()[0])
    return _Thread(
        ran_ns * _NS, int(counts["voluntary_ctxt_switches"]), int(counts["nonvoluntary_ctxt_switches"])
    )


def _threads(pid: int) -> dict[int, _Thread]:
    found = {}
    for folder in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended
            found[int(folder.name)] = _thread(folder)
    return found


def usage(pid: int) -> Usage:
    """Return the usage of the process `pid` and its children.

    Threads that have ended are left out, because the service keeps its threads.
    """
    process = psutil.Process(pid)
    threads = _threads(pid)
    loop = threads.pop(pid)
    render: list[_Thread] = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            render += _threads(child.pid).values()
    return Usage(
        loop_seconds=loop.seconds,
        threads_seconds=sum(one.seconds for one in threads.values()),
        render_seconds=sum(one.seconds for one in render),
        loop_waits=loop.waits,
        threads_waits=sum(one.waits for one in threads.values()),
        render_waits=sum(one.waits for one in render),
        preempted=loop.preempted + sum(one.preempted for one in (*threads.values(), *render)),
    )
