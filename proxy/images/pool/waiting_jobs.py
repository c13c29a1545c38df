"""A job of the pool with what is known of its fate, and what the deaths of its processes say of the picture.

Runs on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.errors import DecodeFailed, OutOfMemory, PictureError, QueueFull, RenderTimeout
from proxy.images.formats import PictureFacts
from proxy.images.pool import jobs
from proxy.images.pool.jobs import Inspection, Job
from proxy.images.pool.renderprocess import ProcessDied


@dataclass(slots=True, eq=False)
class WaitingJob:
    """A job, and what its process has said so far. encoding: the number of the wish that is made now."""

    job: Job
    done: asyncio.Future[Inspection]
    since: float
    facts: PictureFacts | None = None
    tight: bool = False
    encoding: int | None = None

    def note_facts(self, facts: PictureFacts | None) -> None:
        """Keep what was found out before decoding."""
        self.facts = facts

    def note_tight(self) -> None:
        """Remember that the process may lack memory."""
        self.tight = True

    def note_step(self, step: jobs.Step, number: int) -> None:
        """Remember which wish is made now."""
        self.encoding = number if step == "encode" and number < len(self.job.wishes) else None

    def settle(self, inspection: Inspection) -> None:
        """Answer, unless nobody waits any more."""
        if not self.done.done():
            self.done.set_result(inspection)

    def fail(self, error: Exception) -> None:
        """Fail, unless nobody waits any more."""
        if not self.done.done():
            self.done.set_exception(error)


def blamed(deaths: Sequence[ProcessDied], waiting: WaitingJob) -> PictureError | None:
    """Return what the deaths of its processes say of a picture; None when it is to be tried once more.

    Raises:
        QueueFull: they say nothing.
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
    # It was read whole, so it is not damaged; what ends the rasteriser, or an encoder, is memory or the stack.
    was_read = waiting.encoding is not None or (facts is not None and facts.scalable)
    # Where memory is tight, some libraries write where they were given nothing, others abort.
    return (OutOfMemory if was_read or waiting.tight else DecodeFailed)(detail=str(death))
