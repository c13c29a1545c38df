"""The jobs that are running or ran recently, from the desk or from the command line, live when scripts are enabled.

Each event of the stream carries the job as the page shows it, so that its markup is made in one place. Event loop.
"""

from __future__ import annotations

import asyncio
import json
from typing import TypeVar

from aiohttp import web

from cache.across.jobs import JobRecord
from proxy.errors import NotFound
from proxy.web.api.admission import Admittance
from proxy.web.api.endpoints import Asked, Call, Nothing
from proxy.web.api.resources.jobs import JobBody, start_job, stop_job
from proxy.web.desk.forms import read_form
from proxy.web.desk.guard import new_nonce, policy_of_page, visitor_of
from proxy.web.desk.pages import DeskRequest, environment, page, redirect

B = TypeVar("B", bound=Asked)

JOBS_PAGE = "/desk/jobs"

LOOK_SECONDS = 1.0
"""How often a stream checks whether its session is still open."""

KINDS = {
    "warm": ("Warm", "Fetch and render the pictures that the known articles show."),
    "verify": ("Verify", "Compare every kept file with its digest."),
    "sweep": ("Sweep", "Delete variants beyond their budget, and leftovers."),
    "pack": ("Pack", "Write all originals into one WARC file below the store."),
}
"""The name and the meaning of each kind that can be started here."""

STATE_WORDS = {
    "running": ("note", "Running"),
    "done": ("good", "Done"),
    "failed": ("bad", "Failed"),
    "stopped": ("warn", "Stopped"),
    "lost": ("bad", "Lost"),
}


async def jobs(desk: DeskRequest) -> web.StreamResponse:
    """Answer the page of all jobs, the newest first."""
    records = await asyncio.to_thread(desk.context.jobs.files.listed)
    return page(
        desk,
        "jobs.html",
        title="Jobs",
        jobs=records,
        kinds=KINDS,
        words=STATE_WORDS,
        is_running=any(not record.is_over for record in records),
    )


async def job_events(desk: DeskRequest) -> web.StreamResponse:
    """Send each job as markup whenever it changes, until the session ends."""
    template = environment().get_template("job.html")

    def encoded(record: JobRecord) -> bytes:
        html = template.render(job=record, visitor=desk.visitor, words=STATE_WORDS, kinds=KINDS)
        return json.dumps({"id": f"job-{record.id}", "html": html}).encode("ascii")

    stream = desk.context.job_streams.send(desk.request, encoded, policy_of_page(new_nonce()))
    return await _while_open(desk, asyncio.ensure_future(stream))


async def start(desk: DeskRequest) -> web.StreamResponse:
    """Start a job of the kind that the form names."""
    form = await read_form(desk)
    kind = form.get("kind", "")
    if kind not in KINDS:
        raise NotFound("There is no such job.")
    await start_job(_call(desk, JobBody.model_validate({"kind": kind}), path={}))
    return redirect(JOBS_PAGE)


async def stop(desk: DeskRequest) -> web.StreamResponse:
    """Ask a job to stop."""
    form = await read_form(desk)
    await stop_job(_call(desk, Nothing(), path={"id": form.get("id", "")}))
    return redirect(JOBS_PAGE)


async def _while_open(desk: DeskRequest, sending: asyncio.Future[web.StreamResponse]) -> web.StreamResponse:
    """Return the answer of a stream. Close the connection soon after the visitor has signed out elsewhere."""
    try:
        while not (await asyncio.wait([sending], timeout=LOOK_SECONDS))[0]:
            visitor = await visitor_of(desk.context, desk.request)
            if not visitor.may_look and desk.request.transport is not None:
                desk.request.transport.abort()
        return sending.result()
    finally:
        sending.cancel()
        await asyncio.wait([sending])


def _call(desk: DeskRequest, body: B, *, path: dict[str, str]) -> Call[Nothing, B]:
    return Call(desk.context, desk.request, Admittance(may_change=True), path, Nothing(), body)
