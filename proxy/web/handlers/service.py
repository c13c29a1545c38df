"""`/healthz`, `/readyz`, `/metrics`: what monitors ask."""

from __future__ import annotations

import asyncio

from aiohttp import web

from proxy.observe.metrics import CONTENT_TYPE
from proxy.version import __version__
from proxy.web.admin import require_admin
from proxy.web.context import Context

_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def healthz(_context: Context, _request: web.BaseRequest) -> web.Response:
    """Say that the process lives; touches nothing."""
    return web.json_response({"status": "ok", "version": __version__}, headers=_NO_STORE)


async def readyz(context: Context, _request: web.BaseRequest) -> web.Response:
    """Say whether kept pictures can be answered, and what is not as it should be."""
    figures = await _figures(context)
    failed = _cannot_answer(context, figures)
    worries = _worries(context, figures)
    status = "unavailable" if failed else "degraded" if worries else "ok"
    body = {"status": status, "reasons": failed + worries, "version": __version__, **figures}
    return web.json_response(body, status=503 if failed else 200, headers=_NO_STORE)


async def metrics(context: Context, request: web.BaseRequest) -> web.Response:
    """Answer the figures of all workers as Prometheus text."""
    require_admin(request, context.config.server)
    await _set_store_gauges(context)
    set_process_gauges(context)
    context.accounts.answers.write()
    text = await asyncio.to_thread(context.metrics.text)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE, **_NO_STORE})


async def _figures(context: Context) -> dict[str, object]:
    readable, writable, free, scrub = await asyncio.gather(
        asyncio.to_thread(context.kept.readable),
        asyncio.to_thread(context.kept.writable),
        asyncio.to_thread(context.kept.free_bytes),
        asyncio.to_thread(context.kept.scrub.state),
    )
    return {
        "store_readable": readable,
        "store_writable": writable,
        "free_bytes": free,
        "min_free_bytes": context.config.store.min_free,
        "render_queue": context.batches.queued,
        "fetches_fail": context.originals.fetches_fail,
        "variant_store_faults": context.variant_store.faults,
        "scrub_damaged": len(scrub.damage),
        "scrub_finished_at": int(scrub.finished_at),
    }


def _cannot_answer(context: Context, figures: dict[str, object]) -> list[str]:
    reasons = []
    if not figures["store_readable"]:
        reasons.append("the store cannot be read")
    if not context.pool.alive:
        reasons.append("no render process is alive")
    if context.shutting_down:
        reasons.append("shutting down")
    return reasons


def _worries(context: Context, figures: dict[str, object]) -> list[str]:
    free = figures["free_bytes"]
    reasons = []
    if isinstance(free, int) and free < context.config.store.min_free:
        reasons.append("disk is low: new originals are served but not kept")
    elif not context.kept.room_for(0):
        reasons.append("store.originals_max_bytes is reached: new originals are served but not kept")
    if not figures["store_writable"]:
        reasons.append("the store cannot be written")
    if context.batches.queued > context.config.render.queue // 2:
        reasons.append("the render queue is deep")
    if figures["scrub_damaged"]:
        reasons.append(
            f"{figures['scrub_damaged']} kept originals are damaged or missing: see `imgmirror store verify`"
        )
    if context.originals.fetches_fail:
        reasons.append("no fetch went well lately")
    return reasons


def set_process_gauges(context: Context) -> None:
    """Set the figures that every worker has its own of."""
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
