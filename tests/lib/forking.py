"""A process that has loaded a program and forks it whenever a test wants one more. Blocking; Linux.

Loading takes most of the processor time of a start, and the tests start a thousand services and render processes. A
template is an interpreter that has loaded the program and waits for requests. Each request carries descriptors, the
last of which is a pipe: it tells the id of the fork, and later its exit code. A template ends when the last copy of its
socket closes; its forks go on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CAN_FORK = hasattr(os, "pidfd_open")
"""Linux only. Elsewhere each program is a new interpreter, and everything else is the same."""

_MAX_REQUEST_BYTES = 1 << 20
_MAX_DESCRIPTORS = 4
_NUMBER_BYTES = 4


class ForkedProcess:
    """A program forked from a template, with the part of `subprocess.Popen` that is used here.

    The template is its parent and waits for it; id and exit code come through a pipe.
    """

    def __init__(self, ended: int) -> None:
        self.pid = int.from_bytes(os.read(ended, _NUMBER_BYTES), "big")
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal, or None while the process runs."""
        return self._await(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit code.

        Raises:
            subprocess.TimeoutExpired: the process still runs.
        """
        code = self._await(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a fork", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _await(self, timeout: float | None) -> int | None:
        # Not `select`: a test may have more than a thousand descriptors.
        poll = select.poll()
        if self.returncode is None:
            poll.register(self._ended, select.POLLIN)
            if poll.poll(None if timeout is None else timeout * 1000):
                data = os.read(self._ended, _NUMBER_BYTES)
                os.close(self._ended)
                self.returncode = int.from_bytes(data, "big", signed=True) if data else -signal.SIGKILL
        return self.returncode


class Template:
    """A template as those see it who want forks. Several processes may share its socket."""

    def __init__(
        self,
        script: Path,
        environment: dict[str, str],
        *,
        flags: Sequence[str] = (),
        shared: Sequence[int] = (),
    ) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, *flags, str(script), *map(str, (theirs.fileno(), *shared))],
                pass_fds=(theirs.fileno(), *shared),
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Ask for a fork; return the pipe for `ForkedProcess`."""
        return ask_for_fork(self.requests, request, descriptors)

    def close(self) -> None:
        """End the template once nobody else uses it; its forks keep running."""
        self.requests.close()


def ask_for_fork(template: socket.socket, request: dict[str, Any], descriptors: Sequence[int]) -> int:
    """Ask a template for a fork that gets `descriptors`; return the pipe for `ForkedProcess`."""
    read_ended, ended = os.pipe()
    try:
        socket.send_fds(template, [json.dumps(request).encode()], [*descriptors, ended])
    finally:
        os.close(ended)
    return read_ended


def load(*modules: str) -> None:
    """Import what the program imports, and exclude it from garbage collection."""
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()


def serve_forks(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request, and write the id and the exit code of each fork into its pipe.

    Return the request and its descriptors in each fork, and None in the template when nobody can ask any more.
    """
    ends: dict[int, tuple[int, int]] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), *ends], [], [])
        for descriptor in ready:
            if descriptor != requests.fileno():
                _report(descriptor, *ends.pop(descriptor))
                continue
            data, descriptors, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, _MAX_DESCRIPTORS)
            if not data:
                return None
            ended = descriptors.pop()
            pid = os.fork()
            if pid == 0:
                for other in (requests.detach(), ended, *ends, *(pipe for _, pipe in ends.values())):
                    os.close(other)
                return json.loads(data), descriptors
            for other in descriptors:
                os.close(other)
            _tell(ended, pid)
            ends[os.pidfd_open(pid)] = pid, ended


def _report(descriptor: int, pid: int, ended: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(descriptor)
    _tell(ended, code)
    os.close(ended)


def _tell(pipe: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more
        os.write(pipe, number.to_bytes(_NUMBER_BYTES, "big", signed=True))
