"""The floor that no server can beat: `codec_loop.py` in one process for each processor."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from peers.jobs import Job

NAME = "bare codecs"
_SCRIPT = Path(__file__).with_name("codec_loop.py")


class BareCodecs:
    """Loops that wait for work. `work` returns the seconds of each step for one picture."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self._processes = processes
        self.processes = len(processes)
        for process in processes:
            self._line(process)

    def work(self, count: int) -> dict[str, float]:
        """Let every loop make `count` thumbnails; return seconds of each step for one, and "passed" for all."""
        begun = time.perf_counter()
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(f"{count}\n")
            process.stdin.flush()
        answers = [dict(json.loads(self._line(process))) for process in self._processes]
        passed = time.perf_counter() - begun
        made = count * len(self._processes)
        return {step: sum(one[step] for one in answers) / made for step in answers[0]} | {"passed": passed}

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the bare codecs ended")
        return line


@contextlib.contextmanager
def bare_codecs(folder: Path, job: Job, *, processes: int = 1) -> Iterator[BareCodecs]:
    """Run `processes` loops over the pictures of `folder` until the block ends."""
    words = [folder, job.output, job.quality or 0, *job.box]
    command = [sys.executable, str(_SCRIPT), *map(str, words)]
    with contextlib.ExitStack() as stack:
        yield BareCodecs(
            [
                stack.enter_context(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                )
                for _ in range(processes)
            ]
        )
