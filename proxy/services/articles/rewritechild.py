"""The rewrite process: reads articles within limits of processor time and memory. Blocking; its own interpreter.

`python -m proxy.services.articles.rewritechild FD CPU_SECONDS MEMORY_BYTES`. It ends when the other side of the
socket does.
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
    """Answer jobs within these limits until there are no more; for a process of its own."""
    # What it could be ended for writes no memory to the disk, keys least of all.
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
    """Do the jobs of a header one after the other; each is answered at once, and has the whole time."""
    rewriter, look = _reader_of(json.dumps(header["settings"]))
    task = Task(**header["run"])
    for words in header["jobs"]:
        _limit_processor_time(cpu_seconds)
        outcome = work(task, job_from_wire(words), rewriter, look)
        answer = {**outcome_to_wire(outcome), "retires": _peak_bytes() > RETIRE_BYTES}
        connection.sendall(frame(answer, outcome.diff))


@functools.lru_cache(maxsize=1)
def _reader_of(settings: str) -> tuple[Rewriter, QuickLook]:
    """Return what reads articles for settings, as JSON; making it takes longer than a small article."""
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
    """Return the most memory this program had resident."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    # Where there is no /proc. Linux keeps what the process had before it became this program: its parent's.
    # The BSDs count in bytes, not KiB; too many there only retires earlier.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _limit_processor_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
