"""A template of services (`forking.py`).

A service uses two seconds of processor time before it listens, most of it for imports. Each fork runs
`python -m proxy serve` from the first line of `proxy.__main__` on, in a session of its own, with the caller's
environment, folder and umask. Its render processes may be forks too. It does not make the folders of a new store
beforehand, as it does not on a disk that refuses: a thousand tests would make, and later remove, 768 each.
`tests/functional/test_start.py` and services with a program of their own start new interpreters.

Run as a script, this file is the template.
"""

from __future__ import annotations

import os
import runpy
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from forked_renderers import fork_renderers, render_template
from forking import ForkedProcess, Template, load, serve_forks

from cache.originals.keeping import OriginalFiles


class ForkedService(ForkedProcess):
    """A service forked from its template."""

    def __init__(self, ended: int, stdout: IO[str]) -> None:
        super().__init__(ended)
        self.stdout = stdout


class ServiceTemplate:
    """The template as tests see it. The first service starts it, and the end of the test run ends it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._template = Template(Path(__file__), environment, shared=[render_template().requests.fileno()])
        self.close = self._template.close

    def start(
        self, arguments: list[str], environment: dict[str, str], log: IO[bytes], *, forks_renderers: bool
    ) -> ForkedService:
        """Fork `imgmirror ARGUMENTS`, with stderr to `log`."""
        read_output, output = os.pipe()
        request = {
            "arguments": arguments,
            "environment": environment,
            "folder": str(Path.cwd()),
            "umask": _umask(),
            "forks_renderers": forks_renderers,
        }
        try:
            ended = self._template.fork(request, [output, log.fileno()])
        finally:
            os.close(output)
        return ForkedService(ended, os.fdopen(read_output, encoding="utf-8"))


def _umask() -> int:
    """Read the umask from /proc: `os.umask` would change it for other threads."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))


def _become(request: dict[str, Any], output: int, log: int) -> None:
    """Take over everything that a new process would have inherited from the caller."""
    os.setsid()
    for descriptor, number in ((output, 1), (log, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    time.tzset()
    tempfile.tempdir = None
    sys.argv = ["proxy", *request["arguments"]]
    sys.path[0] = request["folder"]


async def _make_no_shards(_store: OriginalFiles) -> None:
    return


def _main() -> None:
    load("proxy.cli.serve", "proxy.web.application", "uvloop")
    renderers = int(sys.argv[2])
    os.set_inheritable(renderers, False)
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        asked = serve_forks(requests)
    if asked is None:
        return
    request, descriptors = asked
    _become(request, *descriptors)
    if request["forks_renderers"]:
        fork_renderers(renderers)
    else:
        os.close(renderers)
    OriginalFiles.make_shards = _make_no_shards  # type: ignore[assignment]  # see above
    # As `python -m proxy` does it.
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
