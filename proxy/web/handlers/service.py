"""`/healthz`, `/readyz` and `/metrics`: addresses for monitors. Event loop."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from cache.base.rights import ROOT
from cache.durable_tier import MIN_FREE_FILES
from proxy.observe.metrics import CONTENT_TYPE
from proxy.version import __version__
from proxy.web.admin import require_admin
from proxy.web.context import Context

_WITHOUT_THESE = {ROOT, "entries", "bodies", "blocked"}
"""Without any one of these folders, no kept original can be answered."""

STARVED_SECONDS = 10.0
"""A longer wait for a render process means that there are too few, or that slow pictures occupy them."""
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def healthz(_context: Context, _request: web.BaseRequest) -> web.Response:
    """Say that the process is alive. Touches no store and no origin."""
    return web.json_response({"status": "ok", "version": __version__}, headers=_NO_STORE)


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """The verdict on the service. reasons: its problems, in words. figures: the values behind the verdict."""

    status: Literal["ok", "degraded", "unavailable"]
    reasons: list[str]
    figures: dict[str, Any]


async def health_of(context: Context) -> ServiceHealth:
    """Examine the service and its store."""
    figures = await _figures(context)
    failed = _cannot_answer(context, figures)
    worries = _worries(context, figures)
    return ServiceHealth(
        "unavailable" if failed else "degraded" if worries else "ok", failed + worries, figures
    )


async def readyz(context: Context, _request: web.BaseRequest) -> web.Response:
    """Say whether kept pictures can be answered, and list the problems of the service."""
    health = await health_of(context)
    body = {"status": health.status, "reasons": health.reasons, "version": __version__, **health.figures}
    return web.json_response(body, status=503 if health.status == "unavailable" else 200, headers=_NO_STORE)


async def metrics(context: Context, request: web.BaseRequest) -> web.Response:
    """Answer the figures of all workers as Prometheus text."""
    require_admin(request, context.config.server)
    await bring_up_to_date(context)
    text = await asyncio.to_thread(context.metrics.text)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})


async def bring_up_to_date(context: Context) -> None:
    """Set the metrics that this worker sets only when somebody wants to see them."""
    await _set_store_gauges(context)
    set_process_gauges(context)
    context.accounts.answers.write()


async def _figures(context: Context) -> dict[str, Any]:
    readable, writable, unreadable, unwritable, free, scrub = await asyncio.gather(
        asyncio.to_thread(context.kept.readable),
        _is_writable(context),
        asyncio.to_thread(context.kept.unreadable),
        asyncio.to_thread(context.kept.unwritable),
        asyncio.to_thread(context.kept.free_bytes),
        asyncio.to_thread(context.kept.scrub.state),
    )
    return {
        "store_readable": readable and not _WITHOUT_THESE.intersection(unreadable),
        "store_writable": writable and not unwritable,
        "unreadable_folders": unreadable,
        "unwritable_folders": unwritable,
        "free_bytes": free,
        "free_files": context.kept.free_files(),
        "min_free_bytes": context.config.store.min_free,
        "render_queue": context.batches.queued,
        "fetches_fail": context.originals.fetches_fail,
        "variant_store_faults": context.variant_store.faults,
        "scrub_damaged": len(scrub.damage),
        "scrub_finished_at": int(scrub.finished_at),
    }


async def _is_writable(context: Context) -> bool:
    # Each attempt to write to a hanging disk would block one more thread.
    return not context.kept.hangs and await asyncio.to_thread(context.kept.writable)


def _named(folders: object) -> str:
    return f": {', '.join(folders)}" if isinstance(folders, list) and folders else ""


def _cannot_answer(context: Context, figures: dict[str, object]) -> list[str]:
    reasons = []
    if not figures["store_readable"]:
        reasons.append(f"the store cannot be read{_named(figures['unreadable_folders'])}")
    if not context.pool.alive:
        reasons.append("no render process is alive")
    if context.shutting_down:
        reasons.append("shutting down")
    return reasons


def _lack_of_room(context: Context, figures: dict[str, object]) -> list[str]:
    free = figures["free_bytes"]
    if isinstance(free, int) and free < context.config.store.min_free:
        return ["disk is low: new originals are served but not kept"]
    if (files := context.kept.free_files()) is not None and files < MIN_FREE_FILES:
        return ["the disk is out of inodes: new originals are served but not kept"]
    if not context.kept.room_for(0):
        return ["store.originals_max_bytes is reached: new originals are served but not kept"]
    return []


def _worries(context: Context, figures: dict[str, object]) -> list[str]:
    reasons = _lack_of_room(context, figures)
    if context.kept.hangs:
        reasons.append("the disk of the store does not answer: new originals are served but not kept")
    elif not figures["store_writable"]:
        reasons.append(f"the store cannot be written{_named(figures['unwritable_folders'])}")
    if figures["store_readable"] and figures["unreadable_folders"]:
        reasons.append(f"folders of the store cannot be read{_named(figures['unreadable_folders'])}")
    if context.kept.locks.lately_busy:
        reasons.append("a lock of the store is not released: another program holds the file `locks`")
    if refused := context.kept.lately_refused():
        reasons.append(f"an original was served but not kept: {refused}")
    if context.batches.queued > context.config.render.queue // 2:
        reasons.append("the render queue is deep")
    if context.batches.longest_wait_seconds > STARVED_SECONDS:
        waited = round(context.batches.longest_wait_seconds)
        reasons.append(f"the render queue is starved: a picture has waited for {waited} s")
    if figures["scrub_damaged"]:
        reasons.append(
            f"{figures['scrub_damaged']} kept originals are damaged or missing: see `imgmirror store verify`"
        )
    if context.originals.fetches_fail:
        reasons.append("no fetch went well lately")
    return reasons


def set_process_gauges(context: Context) -> None:
    """Set the gauges that describe this worker alone."""
    gauges = context.metrics
    gauges.queue.set(context.batches.queued)
    gauges.memory_bytes.set(context.memory.bytes)
    gauges.variant_store_faults.set(context.variant_store.faults)
    gauges.open_circuits.set(context.originals.open_circuits)


async def _set_store_gauges(context: Context) -> None:
    stat, free, scrub, failures = await asyncio.gather(
        context.variant_store.stat(),
        asyncio.to_thread(context.kept.free_bytes),
        asyncio.to_thread(context.kept.scrub.state),
        context.kept.failures.counts(now=context.now()),
    )
    gauges = context.metrics
    gauges.variants_bytes.set(stat.bytes)
    gauges.originals_bytes.set(context.kept.kept_bytes())
    gauges.free_bytes.set(free)
    gauges.scrub_damaged.set(len(scrub.damage))
    gauges.scrub_finished.set(scrub.finished_at)
    gauges.remembered_failures.set(sum(failures.values()))
