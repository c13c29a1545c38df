"""Server-sent events about jobs: each event is the whole state of one job (WHATWG HTML, "Server-sent events").

All streams of a worker share one reading of the records, at most twice a second. The id of an event is the time of the
change in milliseconds, so a client that reconnects, to any worker, says which states it has seen. A state that it may
have seen is sent again rather than left out. A stream ends when the service does, and when its only job is over. Event
loop.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from aiohttp import hdrs, web

from cache.across.jobs import JobRecord
from proxy.errors import RateLimited
from proxy.services.jobs.running import TICK_SECONDS, JobRunner

MAX_STREAMS = 32
"""Streams of one worker. A desk needs one for each open page."""

HEARTBEAT_SECONDS = 15.0
"""Proxies in front close connections that are silent for a minute."""

RETRY_MILLISECONDS = 2000
LAST_EVENT = "Last-Event-ID"
_SEEN = re.compile(r"[0-9]{1,15}")

Encoded = Callable[[JobRecord], bytes]
"""Returns a job as JSON on one line."""


def event_id(job: JobRecord) -> int:
    """Return the id of the event that carries the present state of a job."""
    return int(job.updated_at * 1000)


def seen_until(request: web.BaseRequest) -> int | None:
    """Return the id of the last event that a client has seen, or None for a new client."""
    text = request.headers.get(LAST_EVENT, "")
    return int(text) if _SEEN.fullmatch(text) else None


class JobStreams:
    """The streams of a worker. One reading of the records serves all of them."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._open = 0
        self._look: asyncio.Task[list[JobRecord]] | None = None
        self._looked_at = float("-inf")

    async def send(
        self, request: web.BaseRequest, encoded: Encoded, headers: dict[str, str], *, only: str | None = None
    ) -> web.StreamResponse:
        """Answer a stream of all jobs, or of the job `only`, until the client leaves or the service ends.

        Raises:
            RateLimited: this worker has `MAX_STREAMS` already.
            ConnectionError: the client left.
        """
        if self._open >= MAX_STREAMS:
            raise RateLimited("Too many streams of events are open; try again soon.")
        response = web.StreamResponse(headers={**headers, hdrs.CONTENT_TYPE: "text/event-stream"})
        # A proxy in front would collect the events before it sends any.
        response.headers["X-Accel-Buffering"] = "no"
        self._open += 1
        try:
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                await self._tell(request, response, encoded, only=only)
            await response.write_eof()
        finally:
            self._open -= 1
        return response

    async def _tell(
        self, request: web.BaseRequest, response: web.StreamResponse, encoded: Encoded, *, only: str | None
    ) -> None:
        since = seen_until(request)
        await response.write(b"retry: %d\n\n" % RETRY_MILLISECONDS)
        told: dict[str, JobRecord] = {}
        silent = 0.0
        while not self._runner.closing.is_set():
            jobs = [job for job in await self._jobs() if only in (None, job.id)]
            news = [job for job in jobs if told.get(job.id) != job and _is_news(job, told, since)]
            for job in sorted(news, key=event_id):
                await response.write(b"id: %d\nevent: job\ndata: %s\n\n" % (event_id(job), encoded(job)))
            is_known = bool(jobs or told)
            told = {job.id: job for job in jobs}
            # A reading from before the job began does not contain the job yet.
            if only is not None and is_known and all(job.is_over for job in jobs):
                return
            silent = 0.0 if news else silent + TICK_SECONDS
            if silent >= HEARTBEAT_SECONDS:
                silent = 0.0
                await response.write(b": still here\n\n")
            await self._pause()
            if request.transport is None or request.transport.is_closing():
                # Without anything to send, we would notice this only at the next heartbeat.
                raise ConnectionResetError("the client left")

    async def _jobs(self) -> list[JobRecord]:
        """Return all jobs, as they were at most half a tick ago."""
        loop = asyncio.get_running_loop()
        if self._look is None or (self._look.done() and loop.time() - self._looked_at > TICK_SECONDS / 2):
            self._looked_at = loop.time()
            self._look = asyncio.create_task(asyncio.to_thread(self._runner.files.listed))
        return await asyncio.shield(self._look)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await self._runner.closing.wait()
        except TimeoutError:
            return


def _is_news(job: JobRecord, told: dict[str, JobRecord], since: int | None) -> bool:
    if job.id in told or since is None:
        return True
    # The record of a lost job does not change when its process dies.
    return event_id(job) >= since or job.state == "lost"
