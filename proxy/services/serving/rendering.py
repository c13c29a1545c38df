"""Runs render jobs on bodies with a digest, except work that is known to be too much. Runs on the event loop.

Knows the render processes and the overloads remembered of them (`Overloads`). Knows nothing of sources, entries or
stores.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from proxy.errors import MirrorError, QueueFull
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Inspection, Job, Output, Wish
from proxy.images.pool.shared_decodes import Batches
from proxy.observe.metrics import Metrics
from proxy.observe.traces import NOT_TRACED, Traces
from proxy.services.troubles.overloads import Known, Overloads


@dataclass(frozen=True, slots=True)
class Rendering:
    """Inspects and renders bodies.

    1. A body that could not be read within the limits is not given to a render process again before its pause is over.
       The same applies to a wish that was too much.
    2. If a process died while it made one wish, the wishes that were not tried are run again.
    """

    batches: Batches
    overloads: Overloads
    metrics: Metrics
    traces: Traces = NOT_TRACED

    def dealt(self, wishes: Sequence[Wish]) -> list[tuple[Wish, ...]]:
        """Return the wishes in as many parts as there are processes, or fewer."""
        return self.batches.dealt(wishes)

    async def narrowed(
        self, wishes: Sequence[Wish], *, sha256: str, facts: PictureFacts | None
    ) -> dict[Wish, Wish]:
        """Return for each wish its formats without those that are known to be too much for a body."""
        known = await self.overloads.look(sha256)
        return {wish: known.narrowed(wish, facts) for wish in wishes}

    async def run(self, job: Job, *, sha256: str, facts: PictureFacts | None = None) -> Inspection:
        """Run `job` in a render process and return the result, or return what is remembered of its body.

        `facts`: facts of the picture that are known already.

        Raises:
            QueueFull: too many jobs wait, or the job could not run at this moment.
            Internal: no render process can be started.
        """
        made: dict[Wish, Output] = {}
        found = Inspection(facts, "whole")
        left = job
        # Each round answers at least one more wish.
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
        """Return the job without the wishes that were too much. Their errors are in `made`."""
        refused = {wish: error for wish in job.wishes if (error := known.refusal_of(wish, facts))}
        made |= refused
        self.metrics.renders_spared.inc(len(refused))
        return replace(job, wishes=tuple(wish for wish in job.wishes if wish not in refused))

    async def _tried(self, job: Job) -> Inspection:
        begun = time.monotonic()
        with self.traces.step("render") as step:
            inspection = await self.batches.run(job)
            step.split("queue", "work", first_seconds=inspection.begun - begun)
            if error := inspection.error or _failed(inspection):
                step.fail(error.code)
        self.metrics.observe_renders(
            [output for output in inspection.outputs if not isinstance(output, QueueFull)],
            time.monotonic() - begun,
        )
        return inspection


def _failed(inspection: Inspection) -> MirrorError | None:
    return next((output for output in inspection.outputs if isinstance(output, MirrorError)), None)
