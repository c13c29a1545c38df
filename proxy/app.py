"""The composition root: builds the engine from a configuration. All parts are wired here. Event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cache.across.elsewhere import Elsewhere, remove_abandoned
from cache.across.singleflight import SingleFlight
from cache.base.durable import GROUP, PRIVATE, Modes
from cache.durable_tier import Originals
from cache.http.freshness import CLOCK_TOLERANCE_SECONDS
from cache.originals.articles import ArticleIndex
from cache.variants.bounded_tier import Variants
from cache.variants.memory import MemoryTier
from proxy.config import Config, ConfigError
from proxy.config.file import secret_texts
from proxy.fetch.fetcher import Fetcher
from proxy.images.pixels.libvips import decoder_problem
from proxy.images.pool.shared_decodes import Batches
from proxy.images.pool.workers import RenderPool
from proxy.observe.metrics import Metrics
from proxy.observe.traces import NOT_TRACED, Traces
from proxy.policy import Policy, load_manifest
from proxy.services.articles.article_use import Articles, unwrapper_of
from proxy.services.articles.keptpictures import KeptPictures
from proxy.services.articles.rewritepool import RewritePool
from proxy.services.serving import ServingParts
from proxy.services.serving.kept import KeptOriginals
from proxy.services.serving.rendering import Rendering
from proxy.services.serving.stored import StoredVariants
from proxy.services.serving.way import PictureWay, make_way
from proxy.services.troubles.overloads import Overloads
from proxy.services.upkeep.purging import Purging
from proxy.signing import Signer

log = logging.getLogger(__name__)

CHECK_SECONDS = 0.5
"""How often a process checks whether the shared generations were replaced, so that purges apply within a second."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """The position of one worker among the processes of a service. `share` divides limits of the whole service."""

    instance_id: str = field(default_factory=lambda: f"imgmirror-{secrets.token_hex(8)}")
    worker: int = 0
    workers: int = 1

    def share(self, total: int) -> int:
        """Return this worker's part of `total`, at least 1."""
        return max(1, total // self.workers + (1 if self.worker < total % self.workers else 0))


@dataclass(slots=True)
class Engine:
    """All parts except the web server, shared by the server and the commands."""

    config: Config
    place: WorkerPlace
    policy: Policy
    signer: Signer | None
    kept: Originals
    variant_store: Variants
    memory: MemoryTier
    pool: RenderPool
    batches: Batches
    overloads: Overloads
    fetcher: Fetcher
    originals: KeptOriginals
    variants: PictureWay
    purging: Purging
    articles: Articles
    rewriting: RewritePool
    pictures: KeptPictures
    article_index: ArticleIndex
    metrics: Metrics
    traces: Traces
    flight: SingleFlight

    def reconfigure(self, config: Config, policy: Policy) -> None:
        """Use a new configuration and its policy for all work that begins from now on."""
        self.config, self.policy, self.signer = config, policy, make_signer(config)
        self.fetcher.reconfigure(config.fetch, check_hop=policy.check_hop, denied=policy.denied)
        self.originals.reconfigure(config.fetch)
        self.kept.reconfigure(
            min_free_bytes=config.store.min_free, max_bytes=config.store.originals_max_bytes
        )
        self.pool.reconfigure(config.render)
        self.overloads.reconfigure(config.render)
        self.purging.unwrapper = unwrapper_of(config)
        self.traces.hide(secret_texts(config))


def modes_of(config: Config) -> Modes:
    """Return the file modes of the store."""
    return GROUP if config.store.mode == "group" else PRIVATE


def make_policy(config: Config) -> Policy:
    """Return the admission rules of a configuration. Reads the manifest; a long one takes seconds.

    Raises:
        ConfigError: the manifest cannot be read.
    """
    manifest = load_manifest(config.sources.manifest) if config.sources.manifest else None
    return Policy(config.sources, any_transform=config.any_transform, manifest=manifest)


def make_signer(config: Config) -> Signer | None:
    """Return the signer of a configuration, or None when it has no keys."""
    return Signer(config.sources.keys) if config.sources.keys else None


@asynccontextmanager
async def open_stores(
    config: Config, *, tidy: bool = True, look: bool = False, elsewhere: Elsewhere | None = None
) -> AsyncIterator[tuple[Originals, Variants, ArticleIndex]]:
    """Open the stores without a fetcher or renderer. `tidy` removes temporary files of dead processes.

    With `look`, opening creates and changes no file. `elsewhere` takes the bodies that the store's disk refuses.

    Raises:
        CacheError, OSError: the folders cannot be used.
    """
    store = config.store
    async with AsyncExitStack() as stack:
        kept = await Originals.open(
            store.dir,
            min_free_bytes=store.min_free,
            max_bytes=store.originals_max_bytes,
            tidy=tidy,
            look=look,
            modes=modes_of(config),
        )
        kept.elsewhere = elsewhere
        stack.push_async_callback(kept.close)
        variants = await Variants.open(
            store.variants_path, max_bytes=store.variants_max_bytes, look=look, modes=modes_of(config)
        )
        stack.push_async_callback(variants.close)
        yield kept, variants, kept.articles


@asynccontextmanager
async def _elsewhere(*, tidy: bool) -> AsyncIterator[Elsewhere | None]:
    """Yield a place for bodies that the store's disk refuses, or None. `tidy` as for `open_stores`."""
    try:
        parent = Path(tempfile.gettempdir())
    except OSError:
        yield None
        return
    if tidy and (count := await asyncio.to_thread(remove_abandoned, parent)):
        log.warning("removed %d temporary folders of dead processes", count)
    elsewhere = Elsewhere(parent)
    try:
        yield elsewhere
    finally:
        await asyncio.to_thread(elsewhere.close)


@asynccontextmanager
async def open_engine(
    config: Config,
    *,
    place: WorkerPlace | None = None,
    tidy: bool = True,
    traces: Traces = NOT_TRACED,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Engine]:
    """Open the stores and start the render processes and the fetcher; close them at the end in reverse order.

    With `tidy`, temporary files of dead processes are removed, and the catalogue is made and kept up.

    Raises:
        ConfigError: the manifest cannot be read, or the decoder is not installed.
        CacheError, OSError: the folders cannot be used.
    """
    place = place or WorkerPlace()
    if problem := decoder_problem(config.render.decoder):
        raise ConfigError([problem])
    async with AsyncExitStack() as stack:
        elsewhere = await stack.enter_async_context(_elsewhere(tidy=tidy))
        kept, variant_store, index = await stack.enter_async_context(
            open_stores(config, tidy=tidy, elsewhere=elsewhere)
        )
        policy = make_policy(config)
        pool = RenderPool(
            config.render,
            processes=place.share(config.render.processes),
            workers=place.workers,
            # A folder that does not exist yet cannot be allowed here. The pool starts a new process when one is
            # denied a file, and the new process can read the folder.
            readable=(config.store.dir, *([elsewhere.folder] if elsewhere else ())),
        )
        await pool.start()
        stack.push_async_callback(pool.close)
        fetcher = Fetcher(
            config.fetch,
            check_hop=policy.check_hop,
            denied=policy.denied,
            instance_id=place.instance_id,
            clock=now,
            trace=traces.headers if config.telemetry.to_origins else None,
        )
        await fetcher.start()
        stack.push_async_callback(fetcher.close)
        flight = SingleFlight(kept.locks)
        stack.push_async_callback(flight.close, config.server.shutdown_timeout)
        engine = _assembled(
            config, place, policy, _Opened(kept, variant_store, index, pool, fetcher, flight, traces), now
        )
        stack.push_async_callback(engine.rewriting.close)
        watch = asyncio.create_task(_watch(engine, now))
        stack.push_async_callback(_cancelled, watch)
        if tidy:
            # A command that fetches feeds the catalogue too: the first `warm` usually comes before the first service.
            keeping_up = asyncio.create_task(kept.catalogue.keep_up())
            stack.push_async_callback(_cancelled, keeping_up)
        yield engine


@dataclass(frozen=True, slots=True)
class _Opened:
    kept: Originals
    variant_store: Variants
    index: ArticleIndex
    pool: RenderPool
    fetcher: Fetcher
    flight: SingleFlight
    traces: Traces


def _assembled(
    config: Config, place: WorkerPlace, policy: Policy, opened: _Opened, now: Callable[[], float]
) -> Engine:
    metrics = Metrics()
    batches = Batches(opened.pool)
    overloads = Overloads(opened.kept.overloads, config.render, now=now)
    rendering = Rendering(batches, overloads, metrics, opened.traces)
    memory = MemoryTier(place.share(config.store.memory_max_bytes))
    parts = ServingParts(
        store=opened.kept,
        bodies=opened.variant_store,
        memory=memory,
        fetcher=opened.fetcher,
        rendering=rendering,
        flight=opened.flight,
        metrics=metrics,
        config=config.fetch,
        traces=opened.traces,
        now=now,
    )
    stored = StoredVariants(opened.variant_store)
    originals, variants = make_way(parts, stored)
    return Engine(
        config=config,
        place=place,
        policy=policy,
        signer=make_signer(config),
        kept=opened.kept,
        variant_store=opened.variant_store,
        memory=memory,
        pool=opened.pool,
        batches=batches,
        overloads=overloads,
        fetcher=opened.fetcher,
        originals=originals,
        variants=variants,
        purging=Purging(
            opened.kept, opened.variant_store, opened.index, unwrapper=unwrapper_of(config), now=now
        ),
        articles=Articles(opened.index),
        rewriting=RewritePool(),
        pictures=KeptPictures(opened.kept, stored, rendering, limits=opened.pool.limits),
        article_index=opened.index,
        metrics=metrics,
        traces=opened.traces,
        flight=opened.flight,
    )


async def _watch(engine: Engine, now: Callable[[], float]) -> None:
    """Stop trusting the memory cache when the shared generations were replaced or the clock was put back."""
    before = now()
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        moment = now()
        if moment < before - CLOCK_TOLERANCE_SECONDS:
            # An answer that was fresh for a day may now look fresh for years.
            log.warning("the clock was put back by %.0f s; the memory cache is discarded", before - moment)
            engine.memory.clear()
            engine.originals.forget_known()
        before = moment
        try:
            engine.kept.generations.check()
        except OSError as error:
            log.warning("the generations of the store cannot be read: %s", error)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
