"""Signals that end a command in good order, from its first step to its last. Main thread.

The first SIGINT or SIGTERM ends the step at work as that step wishes; the second one ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ENDING = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A signal came. No `except Exception` takes it for a fault of the step at work."""


class Signals:
    """What came so far.

    number: that of the first signal, 0 before. step: what is being done, in words, while nothing was begun yet.
    """

    def __init__(self, step: str) -> None:
        self.number = 0
        self.step = step
        self._over = False
        self._end: Callable[[], object] = lambda: None

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Raise `Stopped` wherever the block is when a signal comes."""

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
        """Raise `Stopped` if a signal came: an exception raised in a finalizer is lost."""
        if self.number:
            raise Stopped

    @contextmanager
    def heard(self, end: Callable[[], object]) -> Iterator[None]:
        """Call `end` from the running event loop when a signal comes."""
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
        """End nothing from now on but by a second signal; return the number of the one that came."""
        self._over = True
        return self.number

    def _hear(self, number: int) -> None:
        self._take(number)
        if not self._over:
            self._end()

    def _take(self, number: int) -> None:
        if self.number:
            # The store needs no goodbye: what is under way has not been announced.
            os._exit(128 + number)
        self.number = number
