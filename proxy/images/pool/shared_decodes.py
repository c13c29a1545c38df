"""Batches: joins waiting jobs for the same body into one job, so that the body is decoded once for all of them.

A page shows one picture in several widths, and browsers accept several formats. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from proxy.errors import QueueFull, RenderTimeout, TooManyPixels
from proxy.images.choice import likeliest
from proxy.images.formats import OUTPUTS
from proxy.images.jobs import Inspection, Job, Wish
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.resolved import Resolved

_UNKNOWN_SIDE_PX = 2000
_USUAL_SHAPE = 2 / 3
"""The other side of a picture of which one side is asked for: that of most photos."""


def deal(wishes: Sequence[Wish], hands: int) -> list[tuple[Wish, ...]]:
    """Return the wishes in at most `hands` parts of about equal cost. Equal looks stay together.

    Graham's LPT rule: take the most expensive first, and add each to the cheapest part so far.
    """
    looks: dict[Resolved, list[Wish]] = {}
    for wish in wishes:
        looks.setdefault(wish.resolved.look, []).append(wish)
    parts: list[list[Wish]] = [[] for _ in range(hands)]
    costs = [0] * hands
    for look in sorted(looks.values(), key=lambda same: -sum(map(_cost, same))):
        least = costs.index(min(costs))
        parts[least] += look
        costs[least] += sum(map(_cost, look))
    return [tuple(part) for part in parts if part]


def _cost(wish: Wish) -> int:
    wanted, name = wish.resolved, likeliest(wish.acceptable)
    width = wanted.width or wanted.height or _UNKNOWN_SIDE_PX
    height = wanted.height if wanted.width and wanted.height else width * _USUAL_SHAPE
    pixels = round(width * height * wanted.dpr**2)
    return OUTPUTS[name].cost(pixels) if name in OUTPUTS else pixels


@dataclass(slots=True)
class _WaitingShare:
    job: Job
    done: asyncio.Future[Inspection]
    since: float


@dataclass(slots=True)
class _Body:
    """The jobs for one body: the number of running ones, and the waiting ones."""

    running: int = 0
    line: deque[_WaitingShare] = field(default_factory=deque)


class Batches:
    """Runs jobs in the pool and joins those for the same body.

    1. At most as many jobs for one body run at once as there are processes. The others wait here.
    2. When one ends, a share of the waiting jobs is joined into one job: with two processes half of them, so that the
       other process finds work too when it is done.
    3. If reading the body takes too much time, all jobs that wait for it fail, because each would take as long.
    4. If a batch takes too much time or memory, or kills its process, its jobs run again one by one. An expensive wish
       therefore does not spoil the answers to others.
    """

    def __init__(self, pool: RenderPool) -> None:
        self._pool = pool
        self._bodies: dict[str, _Body] = {}
        self._waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def dealt(self, wishes: Sequence[Wish]) -> list[tuple[Wish, ...]]:
        """Return the wishes in as many parts as there are processes, or fewer."""
        return deal(wishes, self._pool.processes)

    @property
    def queued(self) -> int:
        """The number of waiting jobs, here and in the pool."""
        return self._pool.queued + self._waiting

    @property
    def longest_wait_seconds(self) -> float:
        """How long the oldest waiting job, here or in the pool, has waited."""
        now = self._pool.clock()
        here = (now - waiting.since for body in self._bodies.values() for waiting in body.line)
        return max((self._pool.longest_wait_seconds, *here))

    async def run(self, job: Job) -> Inspection:
        """Run `job` in a render process and return the result.

        Raises:
            QueueFull: too many jobs wait, or the pool was closed meanwhile.
            Internal: no render process can be started.
        """
        body = self._bodies.setdefault(job.path, _Body())
        if body.running < self._pool.processes:
            body.running += 1
            try:
                inspection = await self._pool.run(job)
                self._fail_waiting(body, inspection)
                return inspection
            finally:
                self._ended(job.path, body)
        if self.queued >= self._pool.queue_max:
            raise QueueFull
        waiting = _WaitingShare(job, asyncio.get_running_loop().create_future(), self._pool.clock())
        body.line.append(waiting)
        self._waiting += 1
        return await waiting.done

    def _fail_waiting(self, body: _Body, inspection: Inspection) -> None:
        if not isinstance(inspection.error, RenderTimeout):
            return
        self._waiting -= len(body.line)
        while body.line:
            waiting = body.line.popleft()
            wishes = len(waiting.job.wishes)
            _settle(waiting, Inspection.failed(inspection.error, inspection.facts, wishes=wishes))

    def _ended(self, path: str, body: _Body) -> None:
        body.running -= 1
        batch = self._share(body)
        if batch:
            body.running += 1
            task = asyncio.create_task(self._run_batch(path, body, batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif not body.running:
            self._bodies.pop(path, None)

    def _share(self, body: _Body) -> list[_WaitingShare]:
        count = math.ceil(len(body.line) / self._pool.processes)
        taken = [body.line.popleft() for _ in range(count)]
        self._waiting -= count
        batch = [waiting for waiting in taken if not waiting.done.done()]
        # Skip jobs whose callers have gone away.
        return batch if batch or not body.line else self._share(body)

    async def _run_batch(self, path: str, body: _Body, batch: list[_WaitingShare]) -> None:
        try:
            wishes = tuple(dict.fromkeys(wish for waiting in batch for wish in waiting.job.wishes))
            inspection = await self._pool.run(
                Job(
                    path,
                    wishes,
                    check=any(waiting.job.check for waiting in batch),
                    origin=batch[0].job.origin,
                )
            )
            self._fail_waiting(body, inspection)
            if len(batch) > 1 and _is_of_the_batch(inspection):
                for waiting in batch:
                    _settle(waiting, await self._pool.run(waiting.job))
                return
            outputs = dict(zip(wishes, inspection.outputs, strict=True))
            for waiting in batch:
                own = tuple(outputs[wish] for wish in waiting.job.wishes)
                _settle(waiting, replace(inspection, outputs=own))
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(error)
        finally:
            for waiting in batch:
                waiting.done.cancel()
            self._ended(path, body)


def _is_of_the_batch(inspection: Inspection) -> bool:
    """Return whether each job might succeed if it ran alone."""
    if isinstance(inspection.error, RenderTimeout):
        return False
    return inspection.killed or isinstance(inspection.error, TooManyPixels)


def _settle(waiting: _WaitingShare, inspection: Inspection) -> None:
    if not waiting.done.done():
        waiting.done.set_result(inspection)
