"""Runs jobs in a worker, one of each kind at a time in the whole service, and writes their progress. Event loop.

A job ends with its service. It is not continued after a restart, and its record says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from cache.across.jobs import JobFiles, JobRecord, JobRunning, JobState, OwnedJob
from cache.base.errors import CacheError
from proxy.errors import MirrorError, QueueFull

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
"""The greatest age of the progress that others see, and the longest wait of a request to stop."""

CLOSE_SECONDS = 5.0
"""How long a shutdown waits for jobs to write their end."""

STOPPED = "It was stopped on request."
SHUT_DOWN = "The service was stopped."
BROKEN = "An error of this program ended it; the log has the details."


class JobProgress(Protocol):
    """Takes the progress of a job; costs nothing."""

    def __call__(self, done: int, total: int | None = None, note: str = "") -> None:
        """Record how much is done."""


Work = Callable[[JobProgress], Awaitable[Mapping[str, Any]]]
"""The work of a job. Returns its figures. A cancellation ends it at its next step, and leaves nothing half done."""


class JobRunner:
    """The jobs of this process, and the records of all jobs of the store. `closing` is set when the service ends."""

    def __init__(self, files: JobFiles) -> None:
        self.files = files
        self.closing = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}

    async def start(self, kind: str, work: Work, *, detail: str = "") -> JobRecord:
        """Begin a job and return its record.

        Raises:
            QueueFull: a job of this kind is running, the disk refuses the record, or the service is shutting down.
        """
        if self.closing.is_set():
            raise QueueFull("This service is shutting down; try again.")
        try:
            job = await asyncio.to_thread(
                self.files.begin, kind, started_by="api", detail=detail, may_stop=True, only=True
            )
        except JobRunning as error:
            raise QueueFull(f"A {kind} is running; wait for its end, or stop it.") from error
        except OSError as error:
            raise QueueFull("The record of the job cannot be written.", detail=str(error)) from error
        task = asyncio.create_task(self._run(job, work), name=f"job {job.record.id}")
        self._running[job.record.id] = task
        task.add_done_callback(lambda _: self._running.pop(job.record.id, None))
        return job.record

    async def close(self) -> None:
        """End the jobs of this process, and say so in their records."""
        self.closing.set()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    async def _run(self, job: OwnedJob, work: Work) -> None:
        running = asyncio.ensure_future(work(job.note))
        watch = asyncio.create_task(self._watch(job, running))
        state: JobState = "failed"
        message, result = BROKEN, None
        try:
            result = await running
            state, message = "done", ""
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.wait((running,))
            state, message = "stopped", SHUT_DOWN if self.closing.is_set() else STOPPED
        except (MirrorError, CacheError, OSError) as error:
            message = error.message if isinstance(error, MirrorError) else str(error)
        except Exception:
            log.exception("the job %s failed", job.record.id)
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            await asyncio.to_thread(job.end, state, message, result)

    async def _watch(self, job: OwnedJob, running: asyncio.Future[Mapping[str, Any]]) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            await asyncio.to_thread(job.write)
            if await asyncio.to_thread(job.is_to_stop):
                running.cancel()
