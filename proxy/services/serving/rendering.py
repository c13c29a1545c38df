"""Rendering: jobs on bodies with a digest, but for what is known to be too much. Runs on the event loop.

Knows the render processes, and what is remembered of them (`Overloads`); nothing of sources, entries or stores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.errors import QueueFull
from proxy.images.formats import PictureFacts
from proxy.images.pool.jobs import Inspection, Job, Output, Wish
from proxy.images.pool.shared_decodes import Batches
from proxy.observe.metrics import Metrics
from proxy.services.troubles.overloads import Known, Overloads


@dataclass(frozen=True, slots=True)
class Rendering:
    """Inspect and render bodies.

    1. A body that could not be read within the limits is not given to a render process again, nor a wish that was
       too much, until the pause is over.
    2. A job whose process ended while it made one wish is run again for the wishes that were not tried.
    """

    batches: Batches
    overloads: Overloads
    metrics: Metrics

    def dealt(self, wishes: Sequence[Wish]) -> list[tuple[Wish, ...]]:
        """Return the wishes in as many parts as there are processes, or fewer."""
        return self.batches.dealt(wishes)

    async def narrowed(
        self, wishes: Sequence[Wish], *, sha256: str, facts: PictureFacts | None
    ) -> dict[Wish, Wish]:
        """Return what is left of each wish without the formats that are known to be too much of a body."""
        known = await self.overloads.look(sha256)
        return {wish: known.narrowed(wish, facts) for wish in wishes}

    async def run(self, job: Job, *, sha256: str, facts: PictureFacts | None = None) -> Inspection:
        """Return what a render process finds and makes of `job`, or what is remembered of its body.

        `facts`: what is known of the picture already.

        Raises:
            QueueFull: too many jobs wait, or the job could not be run just now.
            Internal: no render process can be started.
        """
        made: dict[Wish, Output] = {}
        found = Inspection(facts, "whole")
        left = job
        # Each time at least one more wish has its answer.
        for _ in range(len(job.wishes) + 1):
            known = await self.overloads.look(sha256)
            if error := known.refusal(found.facts):
                self.metrics.renders_spared.inc()
                return Inspection.failed(error, found.facts, wishes=len(job.wishes))
            left = self._without_refused(left, known, found.facts, made)
            if not left.wishes and not left.check and job.wishes:
                break
            found = await self._tried(left)
            await self.overloads.note(sha256, left.wishes, found, known=known)
            made |= zip(left.wishes, found.outputs, strict=True)
            untried = tuple(wish for wish in left.wishes if isinstance(made[wish], QueueFull))
            if not untried:
                break
            left = replace(left, wishes=untried, check=False)
        return replace(found, outputs=tuple(made[wish] for wish in job.wishes))

    def _without_refused(
        self, job: Job, known: Known, facts: PictureFacts | None, made: dict[Wish, Output]
    ) -> Job:
        """Return the job without the wishes that were too much, which have their errors in `made`."""
        refused = {wish: error for wish in job.wishes if (error := known.refusal_of(wish, facts))}
        made |= refused
        self.metrics.renders_spared.inc(len(refused))
        return replace(job, wishes=tuple(wish for wish in job.wishes if wish not in refused))

    async def _tried(self, job: Job) -> Inspection:
        begun = time.perf_counter()
        inspection = await self.batches.run(job)
        self.metrics.observe_renders(
            [output for output in inspection.outputs if not isinstance(output, QueueFull)],
            time.perf_counter() - begun,
        )
        return inspection
