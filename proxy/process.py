"""What a service needs of its own process: signals that wait until they can be handled, and to be no process 1.

Blocking; POSIX. A blocked signal stays blocked in a new process, so nothing is lost between the start of an
interpreter and its handlers, and nothing ends a process that has not begun.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})
"""What may be sent to a service; SIGUSR1, which log rotation sends to other servers, does nothing."""


@contextlib.contextmanager
def signals_waiting() -> Iterator[None]:
    """Let signals wait while the block runs, unless `release_signals` ends that before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """Let signals come in, those that waited first; called when every handler is installed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def below_init(serve: Callable[[], int]) -> int:
    """Run `serve` in a child of this process, which does what process 1 must; return the exit code.

    Orphans of a container become children of its process 1. It waits for every one of them and passes signals on.
    The service itself runs below it, so that nobody takes the exit statuses of the service's own children.
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
