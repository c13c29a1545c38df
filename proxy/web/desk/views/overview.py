"""The overview: the health of the service, its kept pictures, the space that is left, and recent activity. Event
loop."""

from __future__ import annotations

import asyncio
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from proxy.services.checks.versions import library_versions
from proxy.services.checks.warned import warnings_of
from proxy.services.desk.asking import missing_by_group
from proxy.services.troubles.reasons import GROUPS
from proxy.web.context import Context
from proxy.web.desk.pages import DeskRequest, page
from proxy.web.desk.plots import STEPS, Span, hit_ratio, plots
from proxy.web.handlers.service import health_of

_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Gauge:
    """A bar that fills up. most: None without a limit. is_high: whether the owner should look at it."""

    label: str
    used: int
    most: int | None
    note: str = ""
    is_high: bool = False

    @property
    def share(self) -> float:
        """How full it is, from 0 to 1."""
        return min(self.used / self.most, 1.0) if self.most else 0.0


async def overview(desk: DeskRequest) -> web.StreamResponse:
    """Answer the first page of the desk."""
    context = desk.context
    span: Span = "day" if desk.text("span") == "day" else "hour"
    last = int(context.now() // 60) - 1
    count, length = STEPS[span]
    health, minutes, gauges, counts, missing, advice = await asyncio.gather(
        health_of(context),
        asyncio.to_thread(context.history.between, last - _DAY, last),
        _gauges(context),
        asyncio.to_thread(context.kept.kept),
        missing_by_group(context.kept),
        asyncio.to_thread(warnings_of, context.config),
    )
    begin = last - count * length
    return page(
        desk,
        "overview.html",
        title="Overview",
        health=health,
        counts=counts,
        missing=missing,
        groups=GROUPS,
        gauges=gauges,
        plots=plots(minutes, last=last, span=span),
        span=span,
        ratio=hit_ratio(minute for number, minute in minutes.items() if number > begin),
        queue=context.batches.queued,
        advice=advice,
        versions=await asyncio.to_thread(_versions),
    )


async def _gauges(context: Context) -> list[Gauge]:
    stat, disk = await asyncio.gather(
        context.variant_store.stat(), asyncio.to_thread(_disk, context.config.store.dir)
    )
    config = context.config.store
    gauges = [
        Gauge(
            "Originals", context.kept.kept_bytes(), config.originals_max_bytes, "store.originals_max_bytes"
        ),
        Gauge("Variants", stat.bytes, config.variants_max_bytes, "store.variants_max_bytes"),
        Gauge(
            "Memory of this worker", context.memory.bytes, context.memory.max_bytes, "store.memory_max_bytes"
        ),
    ]
    if gauges[0].most and gauges[0].share > 0.9:
        gauges[0] = Gauge(gauges[0].label, gauges[0].used, gauges[0].most, gauges[0].note, is_high=True)
    if disk is not None:
        used, total, free = disk
        low = free < config.min_free
        gauges.insert(0, Gauge("Disk of the store", used, total, "store.min_free stays free", is_high=low))
    return gauges


def _disk(folder: Path) -> tuple[int, int, int] | None:
    """Return the used, total and free bytes of a disk; None when they cannot be determined."""
    try:
        found = shutil.disk_usage(folder)
    except OSError:
        return None
    return found.used, found.total, found.free


def _versions() -> list[tuple[str, str]]:
    return [*library_versions().items(), ("system", f"{platform.system()} {platform.machine()}")]
