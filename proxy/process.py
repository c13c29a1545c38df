"""Holds signals back until their handlers are installed, and runs the service below an init process.

A new process inherits the signals its parent blocks. So no signal is lost before the interpreter has installed its
handlers, and none kills a process that is still starting. POSIX. Blocking.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})
"""Signals that a service handles. SIGUSR1, which log rotation sends to other servers, does nothing."""


@contextlib.contextmanager
def signals_waiting() -> Iterator[None]:
    """Hold signals back while the block runs, or until `release_signals` is called."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Deliver signals from now on, including the pending ones. Call it when every handler is installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def below_init(serve: Callable[[], int]) -> int:
    """Run `serve` in a child process and act as process 1 of a container; return the child's exit code.

    Orphaned processes of a container become children of its process 1, which must wait for them and pass signals on.
    The service runs as a child, so that this waiting does not take the exit statuses of the service's own children.
    """
    with signals_waiting():
        child = os.fork()
        if child == 0:
            return serve()
        for number in SIGNALS:
            signal.signal(number, lambda received, _frame: os.kill(child, received))
        release_signals()
        return _wait_for(child)


def _wait_for(child: int) -> int:
    while True:
        number, status = os.waitpid(-1, 0)
        if number == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
