"""A service gets signals before it has begun, and does the duties of process 1 of a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from service import Service, write_config

from cache.across.elsewhere import LOCK
from proxy.process import signals_waiting


@pytest.mark.parametrize("workers", [1, 2])
def test_signals_during_the_start_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """SIGHUP and SIGUSR1 before the first request leave a service that answers, and SIGTERM then ends it well."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    config = write_config(tmp_path)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", "0"]
    # The interpreter starts with signals blocked, as it blocks them itself a moment later.
    with signals_waiting():
        process = subprocess.Popen(
            [*command, "--workers", str(workers)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    for _ in range(20):
        os.killpg(process.pid, signal.SIGHUP)
        os.killpg(process.pid, signal.SIGUSR1)
    line = process.stdout.readline()
    process.terminate()
    process.stdout.close()
    assert "listening on" in line
    assert process.wait(30) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_start_removes_what_a_killed_process_had_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The folder for bodies that the store's disk did not take goes; folders of other things stay."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    left, others = tmp_path / "imgmirror-0123456789abcdef", tmp_path / "imgmirror-doctor-x"
    for folder in (left, others):
        folder.mkdir()
        (folder / LOCK).touch()
    with Service(write_config(tmp_path), workers=workers):
        assert not left.exists()
        assert others.exists()


def test_orphans_of_a_container_are_waited_for_and_the_exit_code_is_that_of_the_service() -> None:
    """A subreaper stands for process 1: orphans become its children."""
    program = """
import ctypes, os, signal, sys, time
from pathlib import Path
from proxy.process import below_init
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
def serve():
    middle = os.fork()
    if middle == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    assert os.waitpid(middle, 0) == (middle, 0)
    children = Path(f"/proc/{os.getppid()}/task/{os.getppid()}/children")
    while children.read_text().split() != [str(os.getpid())]:
        time.sleep(0.01)
    print("reaped", flush=True)
    signal.sigwait({signal.SIGTERM})
    sys.exit(7)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
sys.exit(below_init(serve))
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reaped\n"
        process.terminate()
        assert process.wait(20) == 7
