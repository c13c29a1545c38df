"""`/jobs`: lists all long pieces of work with their progress, and starts and stops them. Event loop."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from cache.across.jobs import JobRecord, JobState
from proxy.app import modes_of
from proxy.errors import InvalidRequest, NotFound
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.jobs.lines import LineReader
from proxy.services.jobs.running import Work
from proxy.services.jobs.warmwork import pictures_of, warm_work
from proxy.services.jobs.work import pack_work, sweep_work, verify_work
from proxy.services.warm.looks import Looks
from proxy.services.warm.warmlocal import LocalWarmer, WarmingParts
from proxy.source import Source
from proxy.web.api.endpoints import Asked, Call, Nothing, PathParameter
from proxy.web.api.values import PRIVATE_HEADERS, Moment, as_json, moment
from proxy.web.connections.job_streams import event_id, seen_until
from proxy.web.context import Context
from proxy.web.targets.browsers import browsers_of

JobKind = Literal["warm", "verify", "sweep", "pack"]

JOB_ID = {"id": PathParameter("[0-9]{13}-[0-9a-f]{8}", "The id of a job.")}
PACKS = "packs"
CONCURRENCY = 8
"""Pictures in progress at a time. Visitors come first, so these are fewer than in the command `warm`."""


class JobBody(Asked):
    """The job to start. article, presets: for `warm`, the known article (default: all), and the presets to render."""

    kind: JobKind
    article: str | None = Field(default=None, min_length=1, max_length=16_384)
    presets: list[str] | None = Field(default=None, max_length=32)


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """A job. started_by: `api` or `command`. total: None while it is unknown. note: a word about the present step.
    message: why it ended, empty if it did its work. result: its figures. may_stop: whether `/stop` can end it."""

    id: str
    kind: str
    started_by: str
    detail: str
    state: JobState
    started_at: Moment | None
    updated_at: Moment | None
    ended_at: Moment | None
    done: int
    total: int | None
    note: str
    message: str
    result: dict[str, Any]
    may_stop: bool

    @classmethod
    def of(cls, job: JobRecord) -> JobAnswer:
        """Return the answer for a record."""
        return cls(
            job.id, job.kind, job.started_by, job.detail, job.state, moment(job.started_at), moment(job.updated_at),
            moment(job.ended_at), job.done, job.total, job.note, job.message, dict(job.result), job.may_stop,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobsAnswer:
    """The jobs that run and the last fifty that have ended, the newest first."""

    jobs: list[JobAnswer]


async def list_jobs(call: Call[Nothing, Nothing]) -> JobsAnswer:
    """List the jobs of all workers and of commands on the same store."""
    found = await asyncio.to_thread(call.context.jobs.files.listed)
    return JobsAnswer([JobAnswer.of(job) for job in found])


async def show_job(call: Call[Nothing, Nothing]) -> JobAnswer:
    """Show one job."""
    return JobAnswer.of(await _known(call))


async def start_job(call: Call[Nothing, JobBody]) -> JobAnswer:
    """Start a job. One of each kind runs at a time; a restart of the service ends it."""
    asked, context = call.body, call.context
    if asked.kind != "warm" and (asked.article is not None or asked.presets is not None):
        raise InvalidRequest("article and presets belong to warm.")
    work = await _warming(context, asked) if asked.kind == "warm" else _upkeep(context, asked.kind)
    return JobAnswer.of(await context.jobs.start(asked.kind, work, detail=asked.article or ""))


async def stop_job(call: Call[Nothing, Nothing]) -> JobAnswer:
    """Ask a job to stop, whichever worker runs it. It ends within a second or at its next step."""
    job = await _known(call)
    if job.is_over:
        return JobAnswer.of(job)
    if not job.may_stop:
        raise InvalidRequest("This job was started by a command; stop it there.")
    await asyncio.to_thread(call.context.jobs.files.ask_to_stop, job.id)
    return JobAnswer.of(job)


async def stream_job(call: Call[Nothing, Nothing]) -> web.StreamResponse:
    """Send the state of one job whenever it changes, until it ends."""
    job = await _known(call)
    seen = seen_until(call.request)
    if job.is_over and seen is not None and event_id(job) <= seen:
        # A client that has seen the end must not come back for it.
        return web.Response(status=204, headers=PRIVATE_HEADERS)
    return await _stream(call, only=job.id)


async def stream_jobs(call: Call[Nothing, Nothing]) -> web.StreamResponse:
    """Send the state of every job, and again whenever it changes."""
    return await _stream(call, only=None)


async def _stream(call: Call[Nothing, Nothing], *, only: str | None) -> web.StreamResponse:
    def encoded(job: JobRecord) -> bytes:
        return as_json(JobAnswer.of(job))

    return await call.context.job_streams.send(call.request, encoded, dict(PRIVATE_HEADERS), only=only)


async def _known(call: Call[Nothing, Nothing]) -> JobRecord:
    found = await asyncio.to_thread(call.context.jobs.files.get, call.path["id"])
    if found is None:
        raise NotFound("There is no such job.")
    return found


def _upkeep(context: Context, kind: JobKind) -> Work:
    if kind == "verify":
        return verify_work(context.kept)
    if kind == "sweep":
        return sweep_work(context.kept, context.variant_store)
    store = context.config.store
    name = time.strftime("imgmirror-%Y%m%d-%H%M%S.warc.gz", time.gmtime(context.now()))
    target = store.dir.absolute() / PACKS / name
    return pack_work(context.kept, target, modes=modes_of(context.config), min_free_bytes=store.min_free)


async def _warming(context: Context, asked: JobBody) -> Work:
    """Return the work of warming the pictures that the known articles show.

    Raises:
        InvalidRequest: there is no such preset.
        NotFound: there is no such article.
    """
    config = context.config
    presets = tuple(sorted(config.presets) if asked.presets is None else dict.fromkeys(asked.presets))
    if unknown := [name for name in presets if name not in config.presets]:
        raise InvalidRequest(f"presets: there is no preset {unknown[0][:80]!a}.")
    known = await context.kept.articles.everything()
    if asked.article is not None and asked.article not in known:
        raise NotFound("No such article is known.")
    articles = [known[asked.article]] if asked.article is not None else list(known.values())
    works = await asyncio.to_thread(pictures_of, articles, presets)
    looks = Looks(config.presets, browsers_of(config.render.formats), widths=config.rewrite.widths)
    warmer = LocalWarmer(_parts(context), looks)
    concurrency = min(CONCURRENCY, config.render.queue + 1)
    # The same default as that of the commands.
    base_url = config.server.public_url or f"http://{config.server.host}:{config.server.port}"
    lines = LineReader(
        context.kept.articles,
        context.rewriting,
        # All pictures, because the record does not say whether it was made with --all-images.
        RewriteSettings.of(config, base_url=base_url, all_images=True),
        config.server.max_body,
    )
    return warm_work(
        warmer,
        works,
        read_lines=partial(lines.record, articles),
        per_origin=config.fetch.per_origin,
        concurrency=concurrency,
    )


def _parts(context: Context) -> WarmingParts:
    signed = True if context.signer else None

    def admit(source: Source, preset_only: bool) -> None:
        context.policy.admit(source, transform_is_preset_only=preset_only, signed=signed)

    def check(address: str) -> None:
        context.plans.make(address, now=context.now())

    return WarmingParts(context.originals, context.variants, context.kept, admit, context.wants_pauses, check)
