"""The cost of a server: CPU seconds and proportional memory (PSS) of its process and its children."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType

import psutil

POLL_SECONDS = 0.1


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    return []


def cpu_seconds(pid: int) -> float:
    """Return user and system time of the tree so far, including children that have ended."""
    total = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += sum(process.cpu_times()[:4])
    return total


def pss_bytes(pid: int) -> int:
    """Return the tree's proportional set size, which counts shared memory once."""
    total = 0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


class PeakMemory:
    """Polls the tree while the block runs; `peak_bytes` is the largest value."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._ended.is_set():
            self.peak_bytes = max(self.peak_bytes, pss_bytes(self._pid))
            self._ended.wait(POLL_SECONDS)
