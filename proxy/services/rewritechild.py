"""The rewrite process: reads articles within limits of processor time and memory. Blocking; its own interpreter.

`python -m proxy.services.rewritechild FD CPU_SECONDS MEMORY_BYTES`. It ends when the other side of the socket does.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import socket
import sys
from pathlib import Path
from typing import Any

from proxy.services.rewritejobs import (
    OUT_OF_MEMORY,
    RETIRE_BYTES,
    frame,
    known_from_wire,
    read_frame,
    result_to_wire,
    settings_from_wire,
)
from proxy.source import Source


def main() -> None:
    """Answer jobs until there are no more."""
    descriptor, cpu_seconds, memory_bytes = map(int, sys.argv[1:])
    # What it could be ended for writes no memory to the disk, keys least of all.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rb") as reader:

        def read(size: int) -> bytes:
            data = reader.read(size)
            if len(data) < size:
                raise EOFError
            return data

        try:
            while True:
                header, body = read_frame(read)
                _limit_processor_time(cpu_seconds)
                connection.sendall(_answer(header, body))
        except (EOFError, OSError):
            return
        except MemoryError:
            os._exit(OUT_OF_MEMORY)


def _answer(header: dict[str, Any], body: bytes) -> bytes:
    rewriter = settings_from_wire(header["settings"]).rewriter()
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
