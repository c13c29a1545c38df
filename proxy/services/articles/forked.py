"""Forks rewrite processes from this one. A fork takes milliseconds, a new interpreter a second.

Fork only while no other thread runs: the copy has one thread, and locks held by others stay locked forever. Blocking.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import subprocess
import sys
import threading

from proxy.services.articles.rewritechild import answer_jobs
from proxy.services.articles.rewritejobs import ArticleLimits
from proxy.services.articles.rewriteprocess import RewriteProcess


def forked_processes(count: int, limits: ArticleLimits) -> list[RewriteProcess]:
    """Return `count` rewrite processes, or none where this process cannot be forked."""
    if threading.active_count() > 1 or not hasattr(os, "pidfd_open"):
        return []
    sys.stdout.flush()
    sys.stderr.flush()
    # The garbage collector no longer touches frozen objects, so their pages stay shared.
    gc.freeze()
    begun: list[RewriteProcess] = []

    try:
        for _ in range(count):
            begun.append(RewriteProcess(limits, begin=_fork))
    finally:
        gc.unfreeze()
    return begun


class _Copy:
    """A forked copy of this process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None
        self._lock = threading.Lock()

    def kill(self) -> None:
        """Kill the process."""
        with self._lock:
            if self._status is None:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended; return its exit status, negative for a signal."""
        # Another thread may have waited for the process before the descriptor was opened.
        with contextlib.suppress(ProcessLookupError):
            if self._status is None:
                self._wait_for_end(timeout)
        with self._lock:
            if self._status is None:
                self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            return self._status

    def _wait_for_end(self, timeout: float | None) -> None:
        descriptor = os.pidfd_open(self.pid)
        try:
            gone, _, _ = select.select([descriptor], [], [], timeout)
        finally:
            os.close(descriptor)
        if not gone:
            raise subprocess.TimeoutExpired("a rewrite process", timeout or 0)


def _fork(theirs: socket.socket, limits: ArticleLimits) -> _Copy:
    pid = os.fork()
    if pid:
        return _Copy(pid)
    try:
        _serve(theirs, limits)
    finally:
        # Skip the parent's exit handlers, so that its buffers are not flushed twice.
        os._exit(1)


def _serve(theirs: socket.socket, limits: ArticleLimits) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    # Also close the copies of the parent's ends: while one is open, no process learns that the parent has ended.
    os.closerange(3, theirs.fileno())
    os.closerange(theirs.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    answer_jobs(theirs, limits.cpu_seconds, limits.memory_bytes)
    os._exit(0)
