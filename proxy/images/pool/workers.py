"""The pool of render processes: jobs wait in one queue, and each process takes the next one. Runs on the event loop.

The pool knows only what `proxy.images.jobs` says about pictures. `proxy.images.pool.renderer` does the work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy.errors import Internal, PictureError, QueueFull
from proxy.images import jobs
from proxy.images.jobs import JUDGE, Inspection, Job, Output, Rendered, Settings, Verdict, Wish
from proxy.images.pool import machine
from proxy.images.pool.fair_queue import FairQueue
from proxy.images.pool.renderprocess import Listener, ProcessDied, RenderProcess
from proxy.images.pool.settings import PoolSettings
from proxy.images.pool.waiting_jobs import WaitingJob, blamed

__all__ = ["JUDGE", "Inspection", "Job", "Output", "RenderPool", "Rendered", "Settings", "Verdict", "Wish"]

log = logging.getLogger(__name__)

MAX_FAILED_STARTS = 3
"""After this many failed starts in a row, the pool counts as dead. It keeps trying."""
_MAX_PAUSE_SECONDS = 5.0
PATIENCE_SECONDS = 1.0
"""When all processes have been busy for this long, an origin without a running job gets an additional process."""
_BUDGET_SHARE = 3, 8
"""The share of memory for pictures. The rest is for the service, hot answers, idle processes and the system."""
_LEAST_BUDGET_BYTES = 64 << 20


@dataclass(slots=True)
class _Slot:
    """A place for one process, and the task that keeps it filled."""

    process: RenderProcess | None = None
    begun: float | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class RenderPool:
    """Renders pictures in processes that can be killed one by one.

    1. A job waits in the queue. If more jobs wait than the configuration allows, it gets `QueueFull`.
    2. The next free process takes it, with the configured time limits. The facts found before decoding are kept even if
       the process dies later. A picture that needs more memory than is free returns to the queue
       (`proxy.images.pool.fair_queue`).
    3. A step that uses up its processor time ends the process: `RenderTimeout`, and a new process takes its place. A
       step that takes much longer than that by the clock says nothing about the picture: `QueueFull`.
    4. If the process dies, a new one tries the job again. A second death that says nothing about the picture
       (`ProcessDied.is_unexplained`) gives `QueueFull`, and so does a process that cannot be started. A second crash is
       the picture's fault. It gives `OutOfMemory` if a drawing or an encoder crashed, which then exceeded the memory or
       the stack, or if memory was short, and `DecodeFailed` otherwise.
    5. Origins take turns in the queue. While long jobs occupy every process, an additional one is started for origins
       without a running job. It ends with its job.
    6. If the caller goes away, a running job is completed and a waiting job is dropped.

    workers: the number of pools like this one that share the machine's memory. readable: the folders that contain the
    files of jobs. Where the kernel supports it, the processes may read nothing else except their libraries and fonts.
    """

    def __init__(
        self,
        config: PoolSettings,
        *,
        processes: int,
        workers: int = 1,
        readable: Sequence[Path] = (Path("/"),),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._readable = tuple(str(path.absolute()) for path in readable)
        self._workers = workers
        self._slots = [_Slot() for _ in range(processes)]
        self._relief = _Slot()
        self.clock = clock
        self._line: FairQueue[WaitingJob] = FairQueue(_budget_bytes(config) // workers)
        self._line_moved = asyncio.Event()
        self._crowded = asyncio.Event()
        self._running = 0
        self._failed_starts = 0
        self._open = False

    def reconfigure(self, config: PoolSettings) -> None:
        """Set new limits for jobs that begin from now on; the memory limit applies to processes started from now on."""
        self._config = config
        self._line.budget_bytes = _budget_bytes(config) // self._workers
        self._line_moved.set()
        self._crowded.set()

    def limits(self) -> PoolSettings:
        """Return the limits for jobs that begin now."""
        return self._config

    @property
    def alive(self) -> bool:
        """Whether the pool accepts jobs and can start processes."""
        return self._open and self._failed_starts < MAX_FAILED_STARTS

    @property
    def processes(self) -> int:
        """The number of jobs that can run at once."""
        return len(self._slots)

    @property
    def running(self) -> int:
        """The number of jobs that are being processed."""
        return self._running

    @property
    def queue_max(self) -> int:
        """The number of jobs that may wait for a process."""
        return self._config.queue

    @property
    def queued(self) -> int:
        """The number of jobs that wait for a process."""
        return len(self._line)

    @property
    def longest_wait_seconds(self) -> float:
        """How long the oldest waiting job has waited."""
        now = self.clock()
        return max((now - waiting.since for waiting in self._line), default=0.0)

    @property
    def pids(self) -> tuple[int, ...]:
        """The ids of the running processes."""
        return tuple(slot.process.pid for slot in self._all if slot.process is not None)

    @property
    def _all(self) -> tuple[_Slot, ...]:
        return (*self._slots, self._relief)

    @property
    def walls(self) -> tuple[str, ...]:
        """The parts of the cage that are active in every process (`proxy.images.pool.cage`)."""
        found = [slot.process.walls for slot in self._slots if slot.process is not None]
        return tuple(wall for wall in found[0] if all(wall in walls for walls in found)) if found else ()

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
        self._relief.task = asyncio.create_task(self._relieve(self._relief), name="render relief")

    async def close(self) -> None:
        """Kill all processes. Unfinished jobs fail with `QueueFull`."""
        self._open = False
        tasks = [slot.task for slot in self._all if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(self._empty(slot) for slot in self._all))
        self._drop_line(QueueFull("The service is shutting down."))

    async def run(self, job: Job) -> Inspection:
        """Run `job` in a render process and return the result.

        Raises:
            QueueFull: too many jobs wait, or the pool was closed meanwhile.
            Internal: no render process can be started.
        """
        if not self.alive:
            raise Internal(detail="the render pool is not alive")
        if self._running + len(self._line) >= len(self._slots) + self._config.queue:
            raise QueueFull
        waiting = WaitingJob(job, asyncio.get_running_loop().create_future(), self.clock())
        self._line.put(waiting, owner=job.origin)
        self._line_moved.set()
        self._note_crowd()
        try:
            return replace(await waiting.done, begun=waiting.begun)
        finally:
            # A caller that goes away leaves no job in the queue.
            self._line.drop(waiting)

    async def _serve(self, slot: _Slot) -> None:
        while True:
            if slot.process is None:
                await self._refill(slot)
                continue
            await self._run_in(slot, await self._next())

    async def _run_in(self, slot: _Slot, waiting: WaitingJob) -> None:
        self._running += 1
        slot.begun = self.clock()
        waiting.begun = waiting.begun or slot.begun
        self._note_crowd()
        try:
            await self._work(slot, waiting)
        except QueueFull as error:
            waiting.fail(error)
        except asyncio.CancelledError:
            waiting.fail(QueueFull("The service is shutting down."))
            raise
        except Exception as error:
            # Nothing is known to lead here. If something does, it costs one job and one process, not the slot.
            log.exception("a render slot failed")
            waiting.fail(QueueFull(detail=f"a render slot failed: {error!r}"))
            await self._empty(slot)
        finally:
            self._running -= 1
            slot.begun = None
            self._line.end(waiting)
            if waiting.done.done():
                self._line.drop(waiting)
            if self._line:
                # Another slot may be idle because this job held the memory.
                self._line_moved.set()

    def _note_crowd(self) -> None:
        """Wake `_relieve` if a job waits while every process works."""
        if self._line and self._patience_left() < math.inf:
            self._crowded.set()

    async def _relieve(self, slot: _Slot) -> None:
        """Run a job of an origin without a running job whenever all processes have been busy for long."""
        while True:
            left = self._patience_left()
            waiting = None if left else self._line.take(barred=self._line.running_owners)
            if waiting is None:
                self._crowded.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left if 0 < left < math.inf else None):
                        await self._crowded.wait()
                continue
            await self._run_in(slot, waiting)
            await self._empty(slot)

    def _patience_left(self) -> float:
        """Return how many seconds remain before an additional process may start. Each new job restarts the count."""
        begun = [slot.begun for slot in self._slots if slot.begun is not None]
        if len(begun) < len(self._slots):
            return math.inf
        return max(0.0, max(begun) + PATIENCE_SECONDS - self.clock())

    async def _next(self) -> WaitingJob:
        """Return the next job to run. It holds its share until `FairQueue.end`."""
        while True:
            waiting = self._line.take()
            if waiting is None:
                self._line_moved.clear()
                await self._line_moved.wait()
            elif waiting.done.done():
                self._line.end(waiting)
            else:
                return waiting

    async def _work(self, slot: _Slot, waiting: WaitingJob) -> None:
        """Finish a job, or return it to the queue."""
        deaths: list[ProcessDied] = []
        while True:
            try:
                if slot.process is None:
                    await self._replace(slot)
                inspection = await self._attempt(slot, waiting)
            except ProcessDied as death:
                log.warning("a render process ended: %s, %s", death, waiting.job.path)
                deaths.append(death)
                inspection = self._judged(deaths, waiting)
                if inspection is None:
                    continue
            if inspection is not None:
                waiting.settle(inspection)
            return

    def _judged(self, deaths: Sequence[ProcessDied], waiting: WaitingJob) -> Inspection | None:
        error = blamed(deaths, waiting)
        return None if error is None else self._failure(waiting, error)

    async def _replace(self, slot: _Slot) -> None:
        try:
            await self._fill(slot)
        except (OSError, TimeoutError, ProcessDied) as error:
            raise QueueFull(detail=f"no process: {error!r}") from error

    async def _attempt(self, slot: _Slot, waiting: WaitingJob) -> Inspection | None:
        process, config = slot.process, self._config
        assert process is not None  # noqa: S101 - _serve fills the slot first
        header = jobs.job_to_wire(waiting.job, _settings(config))
        header[jobs.GRANTED] = self._line.granted(waiting)
        waiting.tight, waiting.encoding = False, None
        try:
            async with asyncio.timeout(None) as limit:
                inspection = await process.exchange(header, self._listener(waiting, limit))
        except TimeoutError:
            await self._empty(slot)
            raise ProcessDied(None, overdue=True) from None
        except ProcessDied:
            slot.process = None
            raise
        if process.finished:
            await self._empty(slot)
        return inspection

    def _listener(self, waiting: WaitingJob, limit: asyncio.Timeout) -> Listener:
        """Return the listener for a process. Each step postpones `limit`."""
        clock = asyncio.get_running_loop().time
        seconds = jobs.wall_seconds(self._config.timeout)

        def note_step(step: jobs.Step, number: int) -> None:
            waiting.note_step(step, number)
            if math.isfinite(seconds):
                limit.reschedule(clock() + seconds)

        note_step("draw", 0)
        return Listener(
            waiting.note_facts, lambda needs: self._line.ask(waiting, needs), waiting.note_tight, note_step
        )

    def _failure(self, waiting: WaitingJob, error: PictureError) -> Inspection:
        wishes = len(waiting.job.wishes)
        if waiting.encoding is None:
            return replace(Inspection.failed(error, waiting.facts, wishes=wishes), killed=True)
        outputs: list[Output] = [QueueFull(detail="not tried: another wish ended the process")] * wishes
        outputs[waiting.encoding] = error
        return Inspection(waiting.facts, "whole", None, tuple(outputs), killed=True)

    async def _fill(self, slot: _Slot) -> None:
        slot.process = await RenderProcess.start(
            memory_max_bytes=self._config.memory_max_bytes,
            decoder=self._config.decoder,
            readable=self._readable,
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
        if slot.process is not None:
            # The process keeps its place until it is gone. If this task is cancelled meanwhile, `close` does the rest.
            await slot.process.kill()
            slot.process = None

    def _drop_line(self, error: Exception) -> None:
        for waiting in self._line.clear():
            waiting.fail(error)


def _budget_bytes(config: PoolSettings) -> int:
    """Return the total memory for pictures that are rendered at the same time, over all workers."""
    if config.decoded_max_bytes is not None:
        return config.decoded_max_bytes
    share, whole = _BUDGET_SHARE
    return max(_LEAST_BUDGET_BYTES, machine.memory_bytes() * share // whole)


def _settings(config: PoolSettings) -> Settings:
    return Settings(
        timeout_seconds=config.timeout,
        drawing_timeout_seconds=min(config.drawing_timeout, config.timeout),
        max_pixels=config.max_pixels,
        max_frames=config.max_frames,
        max_output_side=config.max_output_side,
        max_output_pixels=config.max_output_pixels,
        decoder=config.decoder,
    )
