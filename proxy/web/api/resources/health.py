"""`/health`: the verdict of `/readyz`, always with status 200, because this address answers a question about the
service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from proxy.version import __version__
from proxy.web.api.endpoints import Call, Nothing
from proxy.web.handlers.service import health_of


@dataclass(frozen=True, slots=True)
class HealthFigures:
    """The figures behind the verdict. Sizes are in bytes. free_files: None if the disk has no limit of files."""

    store_readable: bool
    store_writable: bool
    unreadable_folders: list[str]
    unwritable_folders: list[str]
    free_bytes: int
    free_files: int | None
    min_free_bytes: int
    render_queue: int
    fetches_fail: bool
    variant_store_faults: int
    scrub_damaged: int
    scrub_finished_at: int


@dataclass(frozen=True, slots=True)
class HealthAnswer:
    """`unavailable`: kept pictures cannot be answered. `degraded`: something needs care. reasons: why, in words."""

    status: Literal["ok", "degraded", "unavailable"]
    reasons: list[str]
    version: str
    figures: HealthFigures


async def show_health(call: Call[Nothing, Nothing]) -> HealthAnswer:
    """Say how the service is doing, with reasons in words."""
    health = await health_of(call.context)
    return HealthAnswer(health.status, health.reasons, __version__, HealthFigures(**health.figures))
