"""Rewrites articles for the running service: a few processes, a short queue, no work for lost clients. Event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from proxy.errors import QueueFull, RequestTooLarge
from proxy.rewrite.base.kept import Known, Wanted, nothing_kept
from proxy.rewrite.rewriter import RewriteResult, TextKind
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.rewritejobs import ArticleLimits
from proxy.services.articles.rewriteprocess import LIMITS, RewriteProcess, TooCostly

AskKept = Callable[[Iterable[Wanted]], Awaitable[Known]]
"""Looks sources up in the store; fetches nothing."""

PROCESSES = 2
WAITING = 16
"""Articles that may wait for a process. A site generator sends many in a row."""


class RewritePool:
    """Rewrites articles in separate processes.

    1. At most `PROCESSES` articles are read at a time, and `WAITING` more wait; further ones are refused before they
       are sent. An article whose bytes cannot contain anything to rewrite is returned unchanged.
    2. A process reads the article. A thread of the pool waits for its answer, so the event loop is free.
    3. When the caller is cancelled, or the article exceeds a limit, the process is killed. The next article gets a new
       one.
    """

    def __init__(
        self, *, processes: int = PROCESSES, waiting: int = WAITING, limits: ArticleLimits = LIMITS
    ) -> None:
        self._places = asyncio.Semaphore(processes)
        self._under_way = 0
        self._most = processes + waiting
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="rewrite")
        self._limits = limits
        self._idle: list[RewriteProcess] = []
        self._busy: set[RewriteProcess] = set()

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Reserve a place for an article while it is received, waits and is read.

        Raises:
            QueueFull: all places are taken.
        """
        if self._under_way >= self._most:
            raise QueueFull("Too many articles are waiting; try again soon.")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def rewrite(
        self, data: bytes, *, kind: TextKind, settings: RewriteSettings, look_up: AskKept | None = None
    ) -> RewriteResult:
        """Return the rewritten article. The pictures of an article that need not be read are not listed.

        `look_up` returns the kept facts of the pictures that get responsive markup.

        Raises:
            RequestTooLarge: the article takes too much time or memory.
        """
        try:
            async with self._places:
                if not await self._is_worth_reading(data, settings):
                    return RewriteResult(data, (), (), ())
                result = await self._rewrite(data, kind, settings, None)
            if not result.asked:
                return result
            kept = await look_up(result.asked) if look_up else nothing_kept(result.asked)
            async with self._places:
                return await self._rewrite(data, kind, settings, kept)
        except TooCostly as error:
            raise RequestTooLarge(f"The article takes too much work: {error}.") from error

    async def close(self) -> None:
        """Kill the processes, including busy ones."""
        for process in self._busy:
            process.kill()
        while self._idle:
            self._idle.pop().close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _is_worth_reading(self, data: bytes, settings: RewriteSettings) -> bool:
        """Return whether an article may contain anything to rewrite. Runs in a thread to keep the event loop free."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: settings.quick_look().sees(data))

    async def _rewrite(
        self, data: bytes, kind: TextKind, settings: RewriteSettings, kept: Known | None
    ) -> RewriteResult:
        process = self._idle.pop() if self._idle else RewriteProcess(self._limits)
        self._busy.add(process)
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._threads, lambda: process.rewrite(data, kind=kind, settings=settings, kept=kept)
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            process.kill()
            # The thread returns as soon as the process is gone. Only then is the place free.
            await asyncio.wait([work])
            work.exception()
            raise
        finally:
            self._busy.remove(process)
            if process.retired:
                process.close()
            else:
                self._idle.append(process)
