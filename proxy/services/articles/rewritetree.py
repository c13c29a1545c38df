"""Runs a task over many articles: a few in this process, a tree with one process per usable processor. Blocking.

    with Run(settings, task) as run:
        for job, outcome in run.outcomes(jobs):    in the order of the jobs, as they are done
            …

1. Threads take the jobs in order, a batch at a time, send them to a process and read its answers one by one.
2. When a process dies, only its current article fails. The rest of its batch goes to a new process.
3. Outcomes are yielded in order. Threads far ahead of the slowest one wait for it, so memory stays bounded.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

from proxy.rewrite.ondisk.files import ArticleFile
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.articles.forked import forked_processes
from proxy.services.articles.rewritejobs import ArticleLimits, settings_to_wire
from proxy.services.articles.rewriteprocess import LIMITS, GuardedRewriter, RewriteProcess, TooCostly
from proxy.services.articles.treework import (
    ArticleJob,
    ArticleOutcome,
    Task,
    job_to_wire,
    outcome_from_wire,
    work,
)

FEW_BYTES = 1 << 18
"""Smaller runs are done in this process: that is faster than starting others."""
BATCH = 16
BATCH_BYTES = 256 << 10
"""The size of a batch of articles for a process. A larger article makes a batch of its own."""
_AHEAD = 8
"""Batches per process that may be finished ahead of the oldest unfinished one."""
Answers = SimpleQueue[ArticleOutcome | BaseException]
"""A queue of the outcomes of a batch, in order."""
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_processors() -> int:
    """Return how many processors this process may use, according to its affinity and its control group."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CPU_MAX.read_text("ascii").split()
        count = min(count, -(-int(quota) // int(period)))
    return max(1, count)


class Run:
    """Does the jobs of one task."""

    def __init__(
        self,
        settings: RewriteSettings,
        task: Task,
        *,
        limits: ArticleLimits = LIMITS,
        processors: int | None = None,
        few_bytes: int | None = None,
    ) -> None:
        self.task = task
        self._settings = settings
        self._limits = limits
        self._most = processors or usable_processors()
        self._few_bytes = FEW_BYTES if few_bytes is None else few_bytes
        self._look = settings.quick_look()
        self._near = GuardedRewriter(settings, limits=limits)
        self._far: _Processes | None = None

    @property
    def asks(self) -> bool:
        """Whether articles need facts of their kept pictures."""
        return self._settings.responsive

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self._near.__exit__()
        if self._far is not None:
            self._far.close()

    def prepare(self, articles: Iterable[ArticleFile]) -> None:
        """Start the processes if these articles are worth it. Forking before any thread runs is quick."""
        if sum(_size(article) for article in articles) > self._few_bytes:
            self._begin()

    def outcomes(self, jobs: Iterable[ArticleJob]) -> Iterator[tuple[ArticleJob, ArticleOutcome]]:
        """Yield every job with its outcome, in order."""
        jobs = iter(jobs)
        first, size = [], 0
        for job in jobs:
            first.append(job)
            size += _size(job.article)
            if size > self._few_bytes:
                yield from self._begin().outcomes(itertools.chain(first, jobs))
                return
        yield from ((job, self._outcome(job)) for job in first)

    def _begin(self) -> _Processes:
        if self._far is None:
            self._far = _Processes(self._settings, self.task, self._limits, self._most)
        return self._far

    def _outcome(self, job: ArticleJob) -> ArticleOutcome:
        try:
            return work(self.task, job, self._near, self._look)
        except TooCostly as error:
            return too_costly(error)


def _size(article: ArticleFile) -> int:
    try:
        return article.path.stat().st_size
    except OSError:
        return 0


def too_costly(error: TooCostly) -> ArticleOutcome:
    """Return the outcome of an article that takes too much time or memory."""
    return ArticleOutcome(failure=str(error), reason=str(error), too_costly=True)


class _Processes:
    """Up to `most` rewrite processes, each with its own thread, started when there is work for it."""

    def __init__(self, settings: RewriteSettings, task: Task, limits: ArticleLimits, most: int) -> None:
        self._header = {"task": "tree", "settings": settings_to_wire(settings), "run": asdict(task)}
        self._writes = task.write
        self._limits = limits
        self._most = most
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="rewrite")
        self._own = threading.local()
        self._lock = threading.Lock()
        # Fork the processes before any thread runs. A process that replaces one of them is a new interpreter.
        self._fresh = forked_processes(most, limits)
        self._running = set(self._fresh)
        self._closed = False

    def outcomes(self, jobs: Iterable[ArticleJob]) -> Iterator[tuple[ArticleJob, ArticleOutcome]]:
        """Yield every job with its outcome, in order."""
        batches = _batches(jobs)
        ahead: deque[tuple[list[ArticleJob], Answers]] = deque()
        while True:
            for batch in itertools.islice(batches, _AHEAD * self._most - len(ahead)):
                answers: Answers = SimpleQueue()
                self._threads.submit(self._do, batch, answers)
                ahead.append((batch, answers))
            if not ahead:
                return
            batch, answers = ahead.popleft()
            for job in batch:
                yield job, _next(answers)

    def close(self) -> None:
        """End the processes. Those that write may finish their article, so that it is complete."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            if self._writes:
                process.end()
            else:
                process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in running:
            process.close()

    def _do(self, batch: list[ArticleJob], answers: Answers) -> None:
        """Put the outcome of each job into `answers` as soon as it is ready, or the exception that prevented it."""
        done = 0
        try:
            while done < len(batch):
                process = self._process()
                header = {**self._header, "jobs": [job_to_wire(job) for job in batch[done:]]}
                try:
                    for words, body in process.stream(header, answers=len(batch) - done):
                        answers.put(outcome_from_wire(words, body))
                        done += 1
                except TooCostly as error:
                    answers.put(too_costly(error))
                    done += 1
        except BaseException as error:
            answers.put(error)
            raise

    def _process(self) -> RewriteProcess:
        """Return this thread's process; start a new one when it has none that is running."""
        process: RewriteProcess | None = getattr(self._own, "process", None)
        if process is not None and not process.retired:
            return process
        with self._lock:
            if self._closed:
                raise CancelledError
            if process is not None:
                self._running.discard(process)
            started = self._fresh.pop() if self._fresh else RewriteProcess(self._limits)
            self._running.add(started)
        self._own.process = started
        if process is not None:
            process.close()
        return started


def _next(answers: Answers) -> ArticleOutcome:
    found = answers.get()
    if isinstance(found, BaseException):
        raise found
    return found


def _batches(jobs: Iterable[ArticleJob]) -> Iterator[list[ArticleJob]]:
    batch: list[ArticleJob] = []
    size = 0
    for job in jobs:
        size += _size(job.article)
        batch.append(job)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
