"""The client side of one rewrite process: start it, send articles, kill it. Blocking.

A hostile article may hold the interpreter's lock or gigabytes of memory. A thread cannot be killed; a process can, and
that frees its memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from proxy.rewrite.base.kept import Known
from proxy.rewrite.rewriter import RewriteResult, TextKind
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.rewritejobs import (
    OUT_OF_MEMORY,
    ArticleLimits,
    frame,
    known_to_wire,
    read_frame,
    result_from_wire,
    settings_to_wire,
)
from proxy.source import Source

LIMITS = ArticleLimits()
WALL_FACTOR = 10
"""Longest wait for an answer, as a multiple of the permitted processor time, because the machine may be busy."""
SMALL_BYTES = 64 * 1024
"""Articles up to this size are read in the command's process: that is faster than starting another one."""

_SECONDS_TO_END = 5
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class TooCostly(OSError):
    """An article takes more time or memory than permitted; the message says which."""


class Running(Protocol):
    """A started process, such as `subprocess.Popen`."""

    @property
    def pid(self) -> int:
        """The process's id."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is gone; return its exit status, negative for a signal.

        Raises:
            subprocess.TimeoutExpired: the process is still running.
        """


Begin = Callable[[socket.socket, ArticleLimits], Running]
"""Starts a process that answers on its end of a socket, within limits."""


def _new_interpreter(theirs: socket.socket, limits: ArticleLimits) -> Running:
    numbers = (theirs.fileno(), limits.cpu_seconds, limits.memory_bytes)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", "proxy.services.articles.rewritechild", *map(str, numbers)],
        pass_fds=(theirs.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env=_environment(),
        start_new_session=True,
    )


class RewriteProcess:
    """A running rewrite process. It has ended after `TooCostly` and after `kill`."""

    def __init__(self, limits: ArticleLimits = LIMITS, *, begin: Begin | None = None) -> None:
        self.retired = False
        self._limits = limits
        ours, theirs = socket.socketpair()
        with theirs:
            self._socket = ours
            self._reader = ours.makefile("rb")
            ours.settimeout(WALL_FACTOR * limits.cpu_seconds)
            self._process = (begin or _new_interpreter)(theirs, limits)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor of this side of its socket."""
        return self._socket.fileno()

    def rewrite(  # noqa: PLR0913 - what rewriters are told, and their settings
        self,
        data: bytes,
        *,
        kind: TextKind,
        settings: RewriteSettings,
        shown: Collection[Source] = (),
        ignored: bool = False,
        kept: Known | None = None,
    ) -> RewriteResult:
        """Return the article rewritten; see `Rewriter.rewrite`.

        Raises:
            TooCostly: it takes too much time or memory.
        """
        words = {
            "shown": [dataclasses.asdict(source) for source in shown],
            "ignored": ignored,
            "kept": known_to_wire(kept),
        }
        return result_from_wire(*self._exchange("rewrite", data, kind=kind, settings=settings, words=words))

    def addresses(self, data: bytes, *, kind: TextKind, settings: RewriteSettings) -> list[bytes]:
        """Return the addresses in the article as spelled there.

        Raises:
            TooCostly: it takes too much time or memory.
        """
        answer, _ = self._exchange("addresses", data, kind=kind, settings=settings)
        return [address.encode("latin-1") for address in answer["addresses"]]

    def stream(self, header: Mapping[str, Any], *, answers: int) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield the answers to a header with several jobs, each as soon as it is ready.

        Raises:
            TooCostly: the next job takes too much time or memory.
        """
        try:
            self._socket.sendall(frame(dict(header)))
            for _ in range(answers):
                answer, body = read_frame(self._read)
                self.retired = answer.pop("retires") or self.retired
                yield answer, body
        except (OSError, EOFError) as error:
            raise self._too_costly(error) from error

    def kill(self) -> None:
        """Kill the process. A thread that waits for its answer gets `TooCostly`. Safe from any thread."""
        self.retired = True
        self._process.kill()

    def end(self) -> None:
        """Let the process finish its article and wait until it has exited; kill it if that takes long."""
        self.retired = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Kill the process and wait until it has ended."""
        self.kill()
        self._process.wait()
        self._reader.close()
        self._socket.close()

    def _exchange(
        self,
        task: str,
        data: bytes,
        *,
        kind: TextKind,
        settings: RewriteSettings,
        words: Mapping[str, Any] = MappingProxyType({}),
    ) -> tuple[dict[str, Any], bytes]:
        header = {"task": task, "kind": kind, "settings": settings_to_wire(settings), **words}
        try:
            self._socket.sendall(frame(header, data))
            answer, body = read_frame(self._read)
        except (OSError, EOFError) as error:
            raise self._too_costly(error) from error
        self.retired = self.retired or answer["retires"]
        return answer, body

    def _too_costly(self, error: Exception) -> TooCostly:
        """End the process and return the reason for the missing answer."""
        late = isinstance(error, TimeoutError)
        if late:
            self.kill()
        status = self._process.wait()
        self.retired = True
        return TooCostly(self._reason(status, late=late))

    def _read(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def _reason(self, status: int, *, late: bool) -> str:
        if status == -signal.SIGXCPU:
            return f"reading it takes more than {self._limits.cpu_seconds} s of processor time"
        if status == OUT_OF_MEMORY:
            return f"reading it takes more than {self._limits.memory_bytes >> 20} MiB of memory"
        if late:
            return f"reading it takes more than {WALL_FACTOR * self._limits.cpu_seconds} s"
        return "the process that read it ended"


class GuardedRewriter:
    """Rewrites many articles one after the other; large ones in a process that can be killed.

    An article that takes too much time or memory raises `TooCostly`, and the next one gets a new process.
    """

    def __init__(self, settings: RewriteSettings, *, limits: ArticleLimits = LIMITS) -> None:
        self._settings = settings
        self._limits = limits
        self._near = settings.rewriter()
        self._process: RewriteProcess | None = None

    def __enter__(self) -> GuardedRewriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def rewrite(
        self,
        data: bytes,
        *,
        kind: TextKind,
        shown: Collection[Source] = (),
        ignored: bool = False,
        kept: Known | None = None,
    ) -> RewriteResult:
        """Return the article rewritten; see `Rewriter.rewrite`.

        Raises:
            TooCostly: it takes too much time or memory.
        """
        if len(data) <= SMALL_BYTES:
            return self._near.rewrite(data, kind=kind, shown=shown, ignored=ignored, kept=kept)
        return self._far().rewrite(
            data, kind=kind, settings=self._settings, shown=shown, ignored=ignored, kept=kept
        )

    def addresses(self, data: bytes, *, kind: TextKind) -> list[bytes]:
        """Return the addresses in an article; see `Rewriter.addresses`.

        Raises:
            TooCostly: it takes too much time or memory.
        """
        if len(data) <= SMALL_BYTES:
            return self._near.addresses(data, kind=kind)
        return self._far().addresses(data, kind=kind, settings=self._settings)

    def _far(self) -> RewriteProcess:
        if self._process is not None and self._process.retired:
            self._process.close()
            self._process = None
        self._process = self._process or RewriteProcess(self._limits)
        return self._process


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),  # noqa: PTH100 - keeps ".."
        "PYTHONHASHSEED": "0",
        "LC_ALL": "C.UTF-8",
        # One malloc arena: each further one would take 64 MiB of the limited address space.
        "MALLOC_ARENA_MAX": "1",
    }
