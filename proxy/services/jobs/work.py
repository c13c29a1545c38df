"""The work of the jobs that maintain the store. Event loop; the commands call the same services.

Each function returns the work of one job, which takes a progress function and returns the final figures.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cache.base.durable import Modes
from cache.durable_tier import Originals, VerifyReport
from cache.sweep import sweep
from cache.variants.bounded_tier import Variants
from proxy.errors import QueueFull
from proxy.services.jobs.running import JobProgress, Work
from proxy.services.moving.packing import Packing, Selection

MAX_LISTED = 100
"""How many findings a result names."""


def verify_work(kept: Originals) -> Work:
    """Return the work of comparing everything kept with its digest."""

    async def work(progress: JobProgress) -> Mapping[str, Any]:
        return verified_figures(await kept.verify(progress))

    return work


def verified_figures(report: VerifyReport) -> dict[str, Any]:
    """Return the figures of a verification, with its first findings."""
    return {
        "entries": report.entries,
        "bodies": report.bodies,
        "bytes": report.body_bytes,
        "wrong": len(report.wrong),
        "notes": len(report.notes),
        "findings": [dataclasses.asdict(item) for item in report.wrong[:MAX_LISTED]],
    }


def sweep_work(kept: Originals, variants: Variants) -> Work:
    """Return the work of shrinking the variants to their budget."""

    async def work(progress: JobProgress) -> Mapping[str, Any]:
        return dataclasses.asdict(await sweep(kept, variants, progress=progress))

    return work


def pack_work(kept: Originals, target: Path, *, modes: Modes, min_free_bytes: int) -> Work:
    """Return the work of packing the whole store into a WARC file.

    The file may take as much room as the originals, and must leave `min_free_bytes`.
    """

    def prepare() -> None:
        if kept.free_bytes() - kept.kept_bytes() < min_free_bytes:
            raise QueueFull("The disk has no room for a pack beside store.min_free.")
        modes.make_folder(target.parent)

    async def work(progress: JobProgress) -> Mapping[str, Any]:
        await asyncio.to_thread(prepare)
        known = await kept.articles.everything()
        report = await Packing(kept).pack(target, Selection(articles=tuple(known.values())), progress)
        figures = dataclasses.asdict(report)
        return {**figures, "damaged": len(report.damaged), "file": f"{target.parent.name}/{target.name}"}

    return work
