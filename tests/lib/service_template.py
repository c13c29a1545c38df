"""A process that has loaded `imgmirror serve` and forks services from itself. Blocking; Linux.

A service uses two seconds of processor time before it listens, most of it for imports, and the tests start several
hundred services. The template imports once. Each service is a fork of it that runs `python -m proxy serve` from the
first line of `proxy.__main__` on, in a session of its own, with the caller's environment, folder and umask.
`tests/functional/test_start.py`, and services with a program of their own, start a new interpreter.

Run as a script, this file is the template: `service_template.py DESCRIPTOR`. It ends when its socket closes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

CAN_FORK = hasattr(os, "pidfd_open")
"""Linux only. Elsewhere each service is a new interpreter, and everything else is the same."""

_MAX_REQUEST_BYTES = 1 << 20
_EXIT_BYTES = 4


class ForkedService:
    """A service forked from the template, with the part of `subprocess.Popen` that tests use.

    The template is its parent and waits for it; the exit code comes through a pipe.
    """

    def __init__(self, pid: int, stdout: IO[str], ended: int) -> None:
        self.pid = pid
        self.stdout = stdout
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
            raise subprocess.TimeoutExpired("imgmirror serve", timeout or 0)
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
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            data = os.read(self._ended, _EXIT_BYTES)
            os.close(self._ended)
            self.returncode = int.from_bytes(data, "big", signed=True) if data else -signal.SIGKILL
        return self.returncode


class Template:
    """The template as tests see it. The first service starts it, and the end of the test run ends it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def start(self, arguments: list[str], environment: dict[str, str], log: IO[bytes]) -> ForkedService:
        """Fork `imgmirror ARGUMENTS`, with stderr to `log`."""
        read_output, output = os.pipe()
        read_ended, ended = os.pipe()
        request = {
            "arguments": arguments,
            "environment": environment,
            "folder": str(Path.cwd()),
            "umask": _umask(),
        }
        try:
            socket.send_fds(self._ours, [json.dumps(request).encode()], [output, log.fileno(), ended])
            pid = int(self._ours.recv(_MAX_REQUEST_BYTES))
        finally:
            os.close(output)
            os.close(ended)
        return ForkedService(pid, os.fdopen(read_output, encoding="utf-8"), read_ended)

    def close(self) -> None:
        """End the template; the services that it forked keep running."""
        self._ours.close()
        self._process.wait()


def _umask() -> int:
    """Read the umask from /proc: `os.umask` would change it for other threads."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


class _Child(Exception):
    """Raised in the forked process to leave the template's loop."""


def _serve_forks(requests: socket.socket) -> None:
    """Fork for each request, and write the exit code of each fork into its pipe; return when the socket closes.

    Raises:
        _Child: in each forked process.
    """
    ends: dict[int, tuple[int, int]] = {}
    while True:
        ready, _, _ = select.select([requests.fileno(), *ends], [], [])
        for descriptor in ready:
            if descriptor != requests.fileno():
                _report(descriptor, *ends.pop(descriptor))
                continue
            data, descriptors, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 3)
            if not data:
                return
            output, log, ended = descriptors
            pid = os.fork()
            if pid == 0:
                for other in (requests.detach(), ended, *ends, *(pipe for _, pipe in ends.values())):
                    os.close(other)
                _become(json.loads(data), output, log)
                raise _Child
            os.close(output)
            os.close(log)
            ends[os.pidfd_open(pid)] = pid, ended
            requests.send(str(pid).encode())


def _report(descriptor: int, pid: int, ended: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(descriptor)
    with contextlib.suppress(BrokenPipeError):  # the test run has ended
        os.write(ended, code.to_bytes(_EXIT_BYTES, "big", signed=True))
    os.close(ended)


def _become(request: dict[str, object], output: int, log: int) -> None:
    """Take over everything that a new process would have inherited from the caller."""
    os.setsid()
    for descriptor, number in ((output, 1), (log, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]  # written by Template.start
    os.chdir(str(request["folder"]))
    os.umask(int(str(request["umask"])))
    time.tzset()
    tempfile.tempdir = None
    sys.argv = ["proxy", *request["arguments"]]  # type: ignore[misc]  # as above
    sys.path[0] = str(request["folder"])


def _load() -> None:
    """Import the modules that a listening service has imported, and exclude them from garbage collection."""
    for module in ("proxy.cli.serve", "proxy.web.application", "uvloop"):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()


def _main() -> None:
    _load()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        try:
            _serve_forks(requests)
        except _Child:
            pass
        else:
            return
    # Here as `python -m proxy` does it: worker processes look for the main module by its name.
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
