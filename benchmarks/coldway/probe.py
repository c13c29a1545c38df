"""Runs `imgmirror serve` with counters in it: `python probe.py serve ...`, from a checkout.

It counts calls of Python functions on the event loop and on other threads, the files of ours that they enter, jobs
handed to threads, and calls that hand a result back to the loop. A file "begin" in the folder BENCH_PROBE sets the
counters to zero, and a file "end" writes them to counts.json. The probe deletes each file when it has obeyed it.
Counting makes the service many times slower, so nothing else is measured in such a round.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

ROOMS = tuple(f"{Path.cwd()}{os.sep}{room}{os.sep}" for room in ("proxy", "cache"))


class Counts:
    """The counts since the last `begin`."""

    def __init__(self) -> None:
        self.main = threading.get_ident()
        self.begin()

    def begin(self) -> None:
        """Start from zero."""
        self.on_loop: Counter[str] = Counter()
        self.on_threads: Counter[str] = Counter()
        self.handed: Counter[str] = Counter()

    def note_loop(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count a call on the event loop (`sys.setprofile`)."""
        if event == "call":
            self.on_loop[frame.f_code.co_filename] += 1

    def note_thread(self, frame: FrameType, event: str, _argument: object) -> None:
        """Count a call on another thread."""
        if event == "call":
            self.on_threads[frame.f_code.co_filename] += 1

    def as_json(self) -> str:
        """Return the counters, with our own files separate from the others."""
        ours = [name for name in {*self.on_loop, *self.on_threads} if name.startswith(ROOMS)]
        return json.dumps(
            {
                "calls of ours on the loop": sum(self.on_loop[name] for name in ours),
                "calls on the loop": self.on_loop.total(),
                "calls on threads": self.on_threads.total(),
                "jobs handed to threads": self.handed["submit"],
                "calls back to the loop": self.handed["back"],
                "files of ours on the loop": sum(1 for name in ours if self.on_loop[name]),
                "files of ours entered": len(ours),
            }
        )


def _count_hand_overs(counts: Counts) -> None:
    pool: Any = concurrent.futures.ThreadPoolExecutor
    submit = pool.submit

    def counted_submit(*args: Any, **kwargs: Any) -> Any:
        counts.handed["submit"] += 1
        return submit(*args, **kwargs)

    pool.submit = counted_submit
    with contextlib.suppress(ImportError):  # an earlier checkout
        from cache.base.threadpool import ThreadPool  # noqa: PLC0415 - the checkout's own

        run = ThreadPool.run

        def counted_run(pool: Any, call: Any) -> Any:
            counts.handed["submit"] += 1
            return run(pool, call)

        setattr(ThreadPool, "run", counted_run)  # noqa: B010 - it is a method to mypy
    import uvloop  # noqa: PLC0415 - the checkout's own

    back = uvloop.Loop.call_soon_threadsafe

    def counted_back(*args: Any, **kwargs: Any) -> Any:
        counts.handed["back"] += 1
        return back(*args, **kwargs)

    setattr(uvloop.Loop, "call_soon_threadsafe", counted_back)  # noqa: B010 - it is a method to mypy


def _obey(counts: Counts, folder: Path) -> None:
    begin, end, out = folder / "begin", folder / "end", folder / "counts.json"
    while True:
        if begin.exists():
            counts.begin()
            begin.unlink()
        if end.exists():
            out.write_text(counts.as_json(), encoding="utf-8")
            end.unlink()
        time.sleep(0.05)


def main() -> None:
    """Count, and serve."""
    counts = Counts()
    threading.Thread(target=_obey, args=(counts, Path(os.environ["BENCH_PROBE"])), daemon=True).start()
    _count_hand_overs(counts)
    threading.setprofile(counts.note_thread)
    sys.setprofile(counts.note_loop)
    sys.argv = ["imgmirror", *sys.argv[1:]]
    sys.path[0] = str(Path.cwd())
    runpy.run_module("proxy", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
