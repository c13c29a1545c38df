"""`/overview`: kept pictures and their limits, versions, and the warnings of `doctor` that need no network."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from proxy.services.checks.finding import Level
from proxy.services.checks.versions import library_versions
from proxy.services.checks.warned import warnings_of
from proxy.services.desk.asking import missing_by_group
from proxy.version import __version__
from proxy.web.api.endpoints import Call, Nothing


@dataclass(frozen=True, slots=True)
class KeptFigures:
    """The kept originals. max_bytes: `store.originals_max_bytes`, None without a limit."""

    originals: int
    bodies: int
    bytes: int
    max_bytes: int | None
    free_bytes: int
    min_free_bytes: int
    free_files: int | None


@dataclass(frozen=True, slots=True)
class VariantFigures:
    """The rendered variants, which can be rendered again."""

    entries: int
    bytes: int
    max_bytes: int
    memory_bytes: int
    memory_max_bytes: int
    faults: int


@dataclass(frozen=True, slots=True)
class WorkFigures:
    """The activity of this worker. failures: how many failures of sources are remembered now, by kind."""

    render_queue: int
    render_queue_max: int
    open_circuits: int
    fetches_fail: bool
    failures: dict[str, int]


@dataclass(frozen=True, slots=True)
class Warned:
    """A finding of `doctor`. `care`: the service will not work properly. `note`: for information."""

    level: Level
    subject: str
    found: str
    advice: str


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the service. versions: of the program, the interpreter and the libraries that do the work. missing:
    how many pictures of articles are missing, by group as in `/missing`; None while the catalogue is being made."""

    version: str
    versions: dict[str, str]
    public_url: str
    may_change: bool
    kept: KeptFigures
    variants: VariantFigures
    missing: dict[str, int] | None
    work: WorkFigures
    warnings: list[Warned]


async def show_overview(call: Call[Nothing, Nothing]) -> Overview:
    """Say what is kept, how much space is left, and what needs attention in the configuration."""
    context = call.context
    variants, missing, failures, warnings = await asyncio.gather(
        _variants(call),
        missing_by_group(context.kept),
        context.kept.failures.counts(now=context.now()),
        asyncio.to_thread(warnings_of, context.config),
    )
    return Overview(
        version=__version__,
        versions=library_versions(),
        public_url=context.config.server.public_url,
        may_change=call.rights.may_change,
        kept=await asyncio.to_thread(_kept, call),
        variants=variants,
        missing=None if missing is None else {str(group): count for group, count in missing.items()},
        work=WorkFigures(
            render_queue=context.batches.queued,
            render_queue_max=context.config.render.queue,
            open_circuits=context.originals.open_circuits,
            fetches_fail=context.originals.fetches_fail,
            failures=failures,
        ),
        warnings=[Warned(item.level, item.subject, item.found, item.advice) for item in warnings],
    )


def _kept(call: Call[Nothing, Nothing]) -> KeptFigures:
    kept, store = call.context.kept, call.context.config.store
    counts = kept.kept()
    return KeptFigures(
        originals=counts.entries,
        bodies=counts.bodies,
        bytes=counts.bytes,
        max_bytes=store.originals_max_bytes,
        free_bytes=kept.free_bytes(),
        min_free_bytes=store.min_free,
        free_files=kept.free_files(),
    )


async def _variants(call: Call[Nothing, Nothing]) -> VariantFigures:
    context = call.context
    stat = await context.variant_store.stat()
    return VariantFigures(
        entries=stat.entries,
        bytes=stat.bytes,
        max_bytes=stat.max_bytes,
        memory_bytes=context.memory.bytes,
        memory_max_bytes=context.config.store.memory_max_bytes,
        faults=stat.faults,
    )
