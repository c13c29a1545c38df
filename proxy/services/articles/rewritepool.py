"""Articles for the running service: a few processes, a short queue, and an end when the client is gone. Event loop."""

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
"""Articles that may wait for a process; a site generator sends one after the other."""


class RewritePool:
    """Rewrites articles in processes of its own.

    1. At most `PROCESSES` articles are read at a time, `WAITING` more wait, the next is refused before it is sent.
       One whose bytes hold nothing of ours comes back as it is.
    2. The process reads the article; a thread of the pool waits for its answer, the event loop does not.
    3. When the caller is cancelled, or the article takes too much, the process is ended and a new one is started
       for the next article.
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
        """Hold one of the places for articles that come, wait or are read.

        Raises:
            QueueFull: there is none left.
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
        """Return the article rewritten; the pictures of one that need not be read are not listed.

        `look_up` says what is kept of the pictures that responsive markup is for.

        Raises:
            RequestTooLarge: it takes too much time or memory.
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
            raise RequestTooLarge(f"The article is too much work: {error}.") from error

    async def close(self) -> None:
        """End the processes, those at work as well."""
        for process in self._busy:
            process.kill()
        while self._idle:
            self._idle.pop().close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _is_worth_reading(self, data: bytes, settings: RewriteSettings) -> bool:
        """Tell whether an article may hold anything of ours; the thread does not hold the event loop up meanwhile."""
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
            # The thread's answer comes as soon as the process is gone; the place is free only then.
            await asyncio.wait([work])
            work.exception()
            raise
        finally:
            self._busy.remove(process)
            if process.retired:
                process.close()
            else:
                self._idle.append(process)
