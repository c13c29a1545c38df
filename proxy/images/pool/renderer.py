"""The main program of a render process: `python -m proxy.images.pool.renderer DESCRIPTOR MEMORY_BYTES DECODER
[READABLE...]`.

It takes jobs from its socket one at a time and ends when the socket closes. Before the first picture it gives up
everything that it does not need: the environment, precedence over other processes, unlimited memory, core files,
writing files, and on Linux everything that `proxy.images.pool.cage` takes away. It dies with its parent, when a step
has used up its processor time, and by its own alarm if nobody is left to kill it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import io
import logging
import math
import os
import resource
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from PIL import Image, _imaging

from proxy.images import jobs
from proxy.images.decode.choice import decoder_for
from proxy.images.decode.pillow import prepare
from proxy.images.decode.registered import register_only_ours
from proxy.images.encode import Result, encode
from proxy.images.formats import OUTPUTS, PictureFacts
from proxy.images.jobs import LENGTH_BYTES, Settings
from proxy.images.pipeline import Memory, inspect
from proxy.images.pool import cage
from proxy.images.transforms.resolved import Resolved

MAX_JOBS = 5_000
"""After this many jobs a new process replaces this one, in case a library leaks memory."""
MAX_RESIDENT_BYTES = 192 << 20
"""A process that holds more memory than this after releasing what it can is replaced. An idle one has about 40 MiB."""
_MAX_KEPT_BYTES = 128 << 20
"""A process may hold this much memory between jobs without releasing it, because new pages cost a tenth of a decode."""
_IDLE_SECONDS = 0.5
"""A process that has been idle for this long releases its free memory."""
_ALARM_GRACE_SECONDS = 2.0
_ENDLESS_SECONDS = 1e6
_PR_SET_PDEATHSIG = 1
NICENESS = 10
"""Of 20. A process of the usual niceness, 0, gets nine times the share of this one while both want the processor."""
_GROUP_TRIES, _GROUP_PAUSE_SECONDS = 4, 0.12


def main() -> None:
    """Serve jobs until the socket closes."""
    descriptor, memory_max_bytes, decoder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    parent = os.getppid()
    _harden(memory_max_bytes, parent)
    _statm()
    # Close the cage before libraries start threads, so that it applies to these threads too.
    walls = cage.shut([Path(path) for path in sys.argv[4:]])
    register_only_ours()
    _practise(decoder)
    with socket.socket(fileno=descriptor) as connection:
        connection.sendall(jobs.frame({jobs.WALLS: walls}))
        # Everything loaded so far stays, so garbage collections need not examine it again.
        gc.collect()
        gc.freeze()
        _Server(connection).serve()


def _harden(memory_max_bytes: int, parent: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The service decides when its processes end: by closing their socket, or with SIGKILL.
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    _die_with(parent)
    _give_precedence()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 32)
    _limit(resource.RLIMIT_AS, memory_max_bytes)
    logging.disable()


def _practise(decoder: str) -> None:
    """Run everything once, so that libraries are loaded and memory is allocated before a visitor waits for it."""
    # A process with a low memory limit may fail here. It will fail again for a picture and report that.
    with contextlib.suppress(MemoryError, OSError, ValueError):
        decoder_for(decoder)
        result = Result(frames=((Image.new("RGB", (256, 256)), 0),), plays=0, exif=b"", wanted=Resolved())
        for output_format in OUTPUTS:
            Image.open(io.BytesIO(encode(result, output_format))).load()


def _give_precedence() -> None:
    """Let the service and others use the processors first: answers from memory need them for less than a millisecond.

    Without this, the slowest hundredth of them took 1.4 times as long while every process rendered.
    """
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    # Outside of control groups, Linux shares processors among sessions first, and this process has a session of its
    # own. Sessions have a niceness too (sched(7), "The autogroup feature").
    if os.getsid(0) != os.getpid():
        return
    for _ in range(_GROUP_TRIES):
        try:
            Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")
        except BlockingIOError:
            # The kernel permits all ordinary users together one change in a tenth of a second.
            select.select([], [], [], _GROUP_PAUSE_SECONDS)
        except OSError:
            return
        else:
            return


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(kind, (bound, bound))
    except (OSError, ValueError):
        # macOS does not support a limit of the address space.
        return


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


class _PutOff(Exception):
    """There is no memory for the job now; the service keeps it."""


class _Server:
    """Takes jobs and answers them."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._done = 0

    def serve(self) -> None:
        """Answer jobs until the socket closes or this process should be replaced."""
        while (header := self._next()) is not None:
            job, settings = jobs.job_from_wire(header)
            _allow(settings.timeout_seconds)
            with contextlib.suppress(_PutOff):
                self._answer(job, settings, granted_bytes=int(header.get(jobs.GRANTED, 0)))
            _allow(math.inf)
            if self._finished:
                return

    @property
    def _finished(self) -> bool:
        return self._done >= MAX_JOBS

    def _has_leave(self, needs: int) -> bool:
        self._connection.sendall(jobs.frame({jobs.NEEDS: needs}))
        answer = self._header()
        return answer is not None and bool(answer.get(jobs.LEAVE))

    def _next(self) -> dict[str, Any] | None:
        if self._done and not select.select([self._connection], [], [], _IDLE_SECONDS)[0]:
            _give_back_memory()
        return self._header()

    def _header(self) -> dict[str, Any] | None:
        length = int.from_bytes(self._read(LENGTH_BYTES), "big")
        return jobs.read_header(self._read(length)) if length else None

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._connection.recv(size - len(parts))
            if not part:
                return b""
            parts += part
        return bytes(parts)

    def _answer(self, job: jobs.Job, settings: Settings, *, granted_bytes: int) -> None:
        prepare(max_pixels=settings.max_pixels)

        def on_facts(facts: PictureFacts) -> None:
            self._connection.sendall(jobs.frame({"facts": facts.to_dict()}))

        def on_step(step: jobs.Step, number: int) -> None:
            self._connection.sendall(jobs.frame({jobs.STEP: (step, number)}))
            _allow(settings.drawing_timeout_seconds if step == "draw" else settings.timeout_seconds)

        def ask_leave(needs: int, tight: bool) -> None:
            if needs > granted_bytes and not self._has_leave(needs):
                raise _PutOff
            if tight:
                self._connection.sendall(jobs.frame({jobs.TIGHT: True}))

        decoder, memory = decoder_for(settings.decoder), Memory(ask_leave, _room_bytes)
        try:
            inspection = inspect(
                job, settings, decoder=decoder, on_facts=on_facts, on_step=on_step, memory=memory
            )
        except PermissionError:
            # Exit immediately. An interpreter that exits normally closes the socket long before the process is gone.
            os._exit(jobs.SHUT_OUT)
        header, bodies = jobs.inspection_to_wire(inspection)
        self._done += 1
        if _resident_bytes() > _MAX_KEPT_BYTES:
            _give_back_memory()
            if _resident_bytes() > MAX_RESIDENT_BYTES:
                self._done = MAX_JOBS
        self._connection.sendall(jobs.frame(header | {"finished": self._finished}))
        for body in bodies:
            self._connection.sendall(body)


def _allow(seconds: float) -> None:
    """End this process after this much processor time from now on, or after a long time by the clock."""
    # The default action of both signals ends the process even while it executes a library.
    signal.setitimer(signal.ITIMER_PROF, seconds if seconds < _ENDLESS_SECONDS else 0)
    wall_seconds = jobs.wall_seconds(seconds) + _ALARM_GRACE_SECONDS
    signal.setitimer(signal.ITIMER_REAL, wall_seconds if wall_seconds < _ENDLESS_SECONDS else 0)


def _give_back_memory() -> None:
    gc.collect()
    _imaging.clear_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _resident_bytes() -> int:
    return _statm_bytes(1)


def _room_bytes() -> int:
    """Return how much of the permitted address space is free."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft - _statm_bytes(0)


def _statm_bytes(field: int) -> int:
    """Return a field of proc_pid_statm(5): 0 for mapped memory, 1 for resident memory. Return 0 without /proc."""
    descriptor = _statm()
    if descriptor is None:
        return 0
    return int(os.pread(descriptor, 256, 0).split()[field]) * resource.getpagesize()


@functools.cache
def _statm() -> int | None:
    # Open the file before the cage is closed: nothing below /proc can be opened after that.
    try:
        return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


if __name__ == "__main__":
    main()
