"""The rewrite process: reads articles within limits on processor time and memory. Runs in its own process; Blocking.

`python -m proxy.services.articles.rewritechild FD CPU_SECONDS MEMORY_BYTES`. It exits when the other end of the socket
is closed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

from proxy.rewrite.quicklook import QuickLook
from proxy.rewrite.rewriter import Rewriter
from proxy.services.articles.rewritejobs import (
    OUT_OF_MEMORY,
    RETIRE_BYTES,
    frame,
    known_from_wire,
    read_frame,
    result_to_wire,
    settings_from_wire,
)
from proxy.services.articles.treework import Task, job_from_wire, outcome_to_wire, work
from proxy.source import Source


def main() -> None:
    """Answer jobs until there are no more."""
    descriptor, cpu_seconds, memory_bytes = map(int, sys.argv[1:])
    answer_jobs(socket.socket(fileno=descriptor), cpu_seconds, memory_bytes)


def answer_jobs(connection: socket.socket, cpu_seconds: int, memory_bytes: int) -> None:
    """Answer jobs within these limits until there are no more. The limits apply to the whole process."""
    # No core dump: memory may hold signing keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with connection, connection.makefile("rb") as reader:

        def read(size: int) -> bytes:
            data = reader.read(size)
            if len(data) < size:
                raise EOFError
            return data

        try:
            while True:
                header, body = read_frame(read)
                _limit_processor_time(cpu_seconds)
                if header["task"] == "tree":
                    _work(header, connection, cpu_seconds)
                else:
                    connection.sendall(_answer(header, body))
        except (EOFError, OSError):
            return
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _work(header: dict[str, Any], connection: socket.socket, cpu_seconds: int) -> None:
    """Do the jobs of a header one after the other. Each is answered at once and may use the full processor time."""
    rewriter, look = _reader_of(json.dumps(header["settings"]))
    task = Task(**header["run"])
    for words in header["jobs"]:
        _limit_processor_time(cpu_seconds)
        outcome = work(task, job_from_wire(words), rewriter, look)
        answer = {**outcome_to_wire(outcome), "retires": _peak_bytes() > RETIRE_BYTES}
        connection.sendall(frame(answer, outcome.diff))


@functools.lru_cache(maxsize=1)
def _reader_of(settings: str) -> tuple[Rewriter, QuickLook]:
    """Return the rewriter for settings given as JSON; building one takes longer than reading a small article."""
    read = settings_from_wire(json.loads(settings))
    return read.rewriter(), read.quick_look()


def _answer(header: dict[str, Any], body: bytes) -> bytes:
    rewriter, _ = _reader_of(json.dumps(header["settings"]))
    if header["task"] == "addresses":
        answer: dict[str, Any] = {"addresses": rewriter.addresses(body, kind=header["kind"])}
        data = b""
    else:
        shown = [Source(**item) for item in header["shown"]]
        kept = known_from_wire(header["kept"])
        result = rewriter.rewrite(
            body, kind=header["kind"], shown=shown, ignored=header["ignored"], kept=kept
        )
        answer, data = result_to_wire(result), result.data
    return frame({**answer, "retires": _peak_bytes() > RETIRE_BYTES}, data)


def _peak_bytes() -> int:
    """Return the peak resident memory of this program."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    # Only without /proc: on Linux this figure includes the parent's memory from before exec. The BSDs count in bytes,
    # not KiB; the overestimate only retires the process earlier.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _limit_processor_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
