"""Handles the signals that end a command, from its first step to its last. Main thread.

On the first SIGINT or SIGTERM the current step ends in its own way. The second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal arrived. It derives from KeyboardInterrupt, so that no `except Exception` catches it."""


class Signals:
    """The signals received so far.

    number: the first signal, 0 before it. step: the current step in words, until the main work begins.
    """

    def __init__(self, step: str) -> None:
        self.number = 0
        self.step = step
        self._over = False
        self._end: Callable[[], object] = lambda: None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise `Stopped` inside the block when a signal arrives."""

        def take(number: int, _frame: object) -> None:
            self._take(number)
            if not self._over:
                raise Stopped

        before = {number: signal.signal(number, take) for number in ENDING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def require_none(self) -> None:
        """Raise `Stopped` if a signal has arrived. Python drops an exception that was raised in a finalizer."""
        if self.number:
            raise Stopped

    @contextmanager
    def heard(self, end: Callable[[], object]) -> Iterator[None]:
        """Call `end` from the running event loop when a signal arrives."""
        self._end = end
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in ENDING}
        for number in ENDING:
            loop.add_signal_handler(number, self._hear, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def then(self, end: Callable[[], object]) -> None:
        """Call `end` instead from now on."""
        self._end = end

    def ignore_first(self) -> int:
        """Ignore the first signal from now on; a second one ends the process. Return the number received so far."""
        self._over = True
        return self.number

    def _hear(self, number: int) -> None:
        self._take(number)
        if not self._over:
            self._end()

    def _take(self, number: int) -> None:
        if self.number:
            # The store needs no shutdown: unfinished writes have not been reported as kept.
            os._exit(128 + number)
        self.number = number
