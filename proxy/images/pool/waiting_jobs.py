"""A job of the pool with the facts known so far, and the conclusions from the deaths of its processes.

Runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.errors import DecodeFailed, OutOfMemory, PictureError, QueueFull, RenderTimeout
from proxy.images import jobs
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Inspection, Job
from proxy.images.pool.renderprocess import ProcessDied


@dataclass(slots=True, eq=False)
class WaitingJob:
    """A job, and what its process has reported so far. encoding: the number of the wish that is being made.

    since: when it was put into the queue. begun: when a process took it first; both on the pool's clock.
    """

    job: Job
    done: asyncio.Future[Inspection]
    since: float
    begun: float = 0.0
    facts: PictureFacts | None = None
    tight: bool = False
    encoding: int | None = None

    def note_facts(self, facts: PictureFacts | None) -> None:
        """Record the facts found before decoding."""
        self.facts = facts

    def note_tight(self) -> None:
        """Record that the process may lack memory."""
        self.tight = True

    def note_step(self, step: jobs.Step, number: int) -> None:
        """Record which wish is being made."""
        self.encoding = number if step == "encode" and number < len(self.job.wishes) else None

    def settle(self, inspection: Inspection) -> None:
        """Set the result, unless nobody waits for it any more."""
        if not self.done.done():
            self.done.set_result(inspection)

    def fail(self, error: Exception) -> None:
        """Set the exception, unless nobody waits for it any more."""
        if not self.done.done():
            self.done.set_exception(error)


def blamed(deaths: Sequence[ProcessDied], waiting: WaitingJob) -> PictureError | None:
    """Return the result that the deaths of a job's processes imply, or None to try the job again.

    Raises:
        QueueFull: the deaths say nothing about the picture.
    """
    last = deaths[-1]
    if last.is_out_of_time:
        return RenderTimeout(detail=str(last))
    unexplained = sum(death.is_unexplained for death in deaths)
    if last.overdue or unexplained > 1:
        raise QueueFull("The picture could not be rendered just now; try again soon.", detail=str(last))
    return _fault(last, waiting) if len(deaths) - unexplained > 1 else None


def _fault(death: ProcessDied, waiting: WaitingJob) -> PictureError:
    facts = waiting.facts
    # The picture was read completely, so it is not damaged. The rasteriser or an encoder ran out of memory or stack.
    was_read = waiting.encoding is not None or (facts is not None and facts.scalable)
    # If memory is short, some libraries write to a null pointer and others abort.
    return (OutOfMemory if was_read or waiting.tight else DecodeFailed)(detail=str(death))
