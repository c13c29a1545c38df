"""Counting rounds: system calls with strace, calls of Python functions with the probe."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
PROBED = (str(HERE / "probe.py"),)
_GROUPS = {
    "stat": ("stat", "fstat", "lstat", "newfstatat", "statx"),
    "open": ("open", "openat", "openat2"),
    "rename": ("rename", "renameat", "renameat2"),
    "fcntl": ("fcntl", "flock"),
    "sync": ("fsync", "fdatasync", "sync_file_range"),
    "write": ("write", "writev", "pwrite64", "pwritev", "pwritev2"),
    "read": ("read", "readv", "pread64", "preadv", "preadv2"),
    "memory": ("mmap", "munmap", "madvise", "brk", "mremap", "mprotect"),
}
_ATTACH_SECONDS = 1.0
_ANSWER_SECONDS = 30.0


@contextlib.contextmanager
def system_calls(pid: int, scratch: Path) -> Iterator[dict[str, int]]:
    """Count the system calls of `pid` and all its threads while the block runs; the yielded dict is filled after it."""
    counts: dict[str, int] = {}
    out = scratch / "strace.txt"
    command = ["strace", "-c", "-f", "-qq", "-o", str(out), "-p", str(pid)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(_ATTACH_SECONDS)
    try:
        yield counts
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    counts |= _grouped(_parsed(out.read_text(encoding="ascii", errors="replace")))


def _parsed(text: str) -> dict[str, int]:
    calls = {}
    for line in text.splitlines():
        words = line.split()
        # % time, seconds, usecs/call, calls, sometimes errors, name.
        if len(words) in (5, 6) and words[3].isdecimal() and words[-1] != "total":
            calls[words[-1]] = int(words[3])
    return calls


def _grouped(calls: dict[str, int]) -> dict[str, int]:
    """Return the sum, the calls by kind, and the calls without a kind by name, the most frequent first."""
    counts = {"all": sum(calls.values())}
    counts |= {kind: sum(calls.pop(name, 0) for name in names) for kind, names in _GROUPS.items()}
    return counts | dict(sorted(calls.items(), key=lambda call: -call[1]))


@contextlib.contextmanager
def orders_folder() -> Iterator[Path]:
    """Yield a folder for the orders to a probe and its answer."""
    with tempfile.TemporaryDirectory(prefix="bench-probe-") as folder:
        yield Path(folder)


def python_calls(folder: Path, work: Callable[[], object]) -> dict[str, int]:
    """Return the counts of the probe that watches `folder` while `work` ran."""
    _order(folder, "begin")
    work()
    _order(folder, "end")
    return dict(json.loads((folder / "counts.json").read_text(encoding="utf-8")))


def _order(folder: Path, word: str) -> None:
    path = folder / word
    path.touch()
    deadline = time.monotonic() + _ANSWER_SECONDS
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
