"""The pool of render processes: jobs wait in one line, each process takes the next. Runs on the event loop.

Knows nothing of pictures but what `jobs` says about them; the work is done by `proxy.images.renderer`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field, replace

from proxy.config import RenderConfig
from proxy.errors import DecodeFailed, Internal, QueueFull, RenderTimeout, TooManyPixels
from proxy.images import jobs
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Inspection, Job, Output, Rendered, Settings, Verdict, Wish
from proxy.images.renderprocess import ProcessDied, RenderProcess

__all__ = ["Inspection", "Job", "Output", "RenderPool", "Rendered", "Settings", "Verdict", "Wish"]

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""Starts that may fail in a row before the pool counts as dead; it goes on trying."""
_MAX_PAUSE_SECONDS = 5.0


@dataclass(slots=True)
class _Waiting:
    job: Job
    done: asyncio.Future[Inspection]
    facts: PictureFacts | None = None

    def note_facts(self, facts: PictureFacts | None) -> None:
        self.facts = facts

    def settle(self, inspection: Inspection) -> None:
        if not self.done.done():
            self.done.set_result(inspection)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(slots=True)
class _Slot:
    """A place for one process, and the task that keeps it filled."""

    process: RenderProcess | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class RenderPool:
    """Render pictures in processes that can be killed one by one.

    1. A job waits in line; when more wait than the configuration allows, `QueueFull`.
    2. The next free process gets it and the configuration's time. What it finds out before decoding is kept.
    3. Out of time: the process is killed, the answer is `RenderTimeout`, a new process takes the place.
    4. The process dies: by a signal from outside (an operator; the kernel, when memory ran out) the job is tried
       once more; the second time the picture needs too much memory. By its own fault: `DecodeFailed`.
    5. A caller that goes away leaves its job running when it has begun, else the job is dropped.
    """

    def __init__(self, config: RenderConfig, *, processes: int) -> None:
        self._config = config
        self._slots = [_Slot() for _ in range(processes)]
        self._line: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._running = 0
        self._failed_starts = 0
        self._open = False

    def reconfigure(self, config: RenderConfig) -> None:
        """Take new limits for the jobs that begin from now on; memory holds for processes started from now on."""
        self._config = config

    @property
    def alive(self) -> bool:
        """Whether jobs are taken and processes can be started."""
        return self._open and self._failed_starts < MAX_FAILED_STARTS

    @property
    def processes(self) -> int:
        """How many jobs can run at once."""
        return len(self._slots)

    @property
    def queue_max(self) -> int:
        """How many jobs may wait for a process."""
        return self._config.queue

    @property
    def queued(self) -> int:
        """How many jobs wait for a process."""
        return self._line.qsize()

    @property
    def pids(self) -> tuple[int, ...]:
        """The ids of the processes that run now."""
        return tuple(slot.process.pid for slot in self._slots if slot.process is not None)

    async def start(self) -> None:
        """Start the processes and wait until all are ready.

        Raises:
            Internal: they cannot be started.
        """
        starts = [self._fill(slot) for slot in self._slots]
        results = await asyncio.gather(*starts, return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.close()
            raise Internal(detail=f"no render process: {failures[0]!r}") from failures[0]
        self._open = True
        for slot in self._slots:
            slot.task = asyncio.create_task(self._serve(slot), name="render slot")

    async def close(self) -> None:
        """Kill all processes. Jobs that have not ended fail with `QueueFull`."""
        self._open = False
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._empty(slot) for slot in self._slots))
        self._drop_line(QueueFull("The service is shutting down."))

    async def run(self, job: Job) -> Inspection:
        """Return what a render process finds and makes of `job`.

        Raises:
            QueueFull: too many jobs wait, or the pool is closed meanwhile.
            Internal: no render process can be started.
        """
        if not self.alive:
            raise Internal(detail="the render pool is not alive")
        if self._running + self._line.qsize() >= len(self._slots) + self._config.queue:
            raise QueueFull
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._line.put_nowait(waiting)
        return await waiting.done

    async def _serve(self, slot: _Slot) -> None:
        while True:
            if slot.process is None:
                await self._refill(slot)
                continue
            waiting = await self._line.get()
            if waiting.done.done():
                continue
            self._running += 1
            try:
                await self._work(slot, waiting)
            finally:
                self._running -= 1
                waiting.fail(QueueFull("The service is shutting down."))

    async def _work(self, slot: _Slot, waiting: _Waiting) -> None:
        try:
            inspection = await self._attempt(slot, waiting)
        except ProcessDied as death:
            if not death.from_outside:
                log.warning("a render process died of a picture: %s, %s", death, waiting.job.path)
                waiting.settle(self._failure(waiting, DecodeFailed(detail=str(death))))
                return
            inspection = await self._second_attempt(slot, waiting, death)
        waiting.settle(inspection)

    async def _second_attempt(self, slot: _Slot, waiting: _Waiting, death: ProcessDied) -> Inspection:
        log.warning("a render process was killed: %s; trying %s once more", death, waiting.job.path)
        try:
            await self._fill(slot)
            return await self._attempt(slot, waiting)
        except ProcessDied as again:
            error = TooManyPixels("Rendering the picture takes more memory than there is.", detail=str(again))
            return self._failure(waiting, error)
        except (OSError, TimeoutError) as error:
            return self._failure(waiting, RenderTimeout(detail=f"no process: {error!r}"))

    async def _attempt(self, slot: _Slot, waiting: _Waiting) -> Inspection:
        process, config = slot.process, self._config
        assert process is not None  # noqa: S101 - _serve fills the slot first
        header = jobs.job_to_wire(waiting.job, _settings(config))
        try:
            async with asyncio.timeout(config.timeout if math.isfinite(config.timeout) else None):
                inspection = await process.exchange(header, on_facts=waiting.note_facts)
        except TimeoutError:
            await self._empty(slot)
            return self._failure(waiting, RenderTimeout(detail=f"killed after {config.timeout} s"))
        except ProcessDied:
            slot.process = None
            raise
        if process.finished:
            await self._empty(slot)
        return inspection

    def _failure(self, waiting: _Waiting, error: DecodeFailed | RenderTimeout | TooManyPixels) -> Inspection:
        return replace(Inspection.failed(error, waiting.facts, wishes=len(waiting.job.wishes)), killed=True)

    async def _fill(self, slot: _Slot) -> None:
        slot.process = await RenderProcess.start(
            memory_max_bytes=self._config.memory_max_bytes, decoder=self._config.decoder
        )

    async def _refill(self, slot: _Slot) -> None:
        try:
            await self._fill(slot)
        except (OSError, TimeoutError, ProcessDied) as error:
            self._failed_starts += 1
            log.error("a render process cannot be started: %r", error)
            if not self.alive:
                self._drop_line(Internal(detail="no render process can be started"))
            await asyncio.sleep(min(0.1 * 2**self._failed_starts, _MAX_PAUSE_SECONDS))
        else:
            self._failed_starts = 0

    async def _empty(self, slot: _Slot) -> None:
        process, slot.process = slot.process, None
        if process is not None:
            await process.kill()

    def _drop_line(self, error: Exception) -> None:
        while not self._line.empty():
            self._line.get_nowait().fail(error)


def _settings(config: RenderConfig) -> Settings:
    return Settings(
        timeout_seconds=config.timeout,
        max_pixels=config.max_pixels,
        max_frames=config.max_frames,
        max_output_side=config.max_output_side,
        max_output_pixels=config.max_output_pixels,
        decoder=config.decoder,
    )
