"""Puts the web server around an engine and runs it on one listening socket until a signal ends it. Event loop."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from cache.across.jobs import JOBS, JobFiles
from cache.base.errors import CacheError
from proxy.app import Engine, WorkerPlace, make_policy, modes_of, open_engine
from proxy.config import Config, ConfigError
from proxy.config.file import changed_restart_keys, keep_restart_keys, secret_texts
from proxy.observe.logs import set_up
from proxy.observe.totals import totals
from proxy.observe.traces import NOT_TRACED
from proxy.policy import Policy, listen_problem
from proxy.process import release_signals
from proxy.services.desk.history import FigureHistory, Recorder
from proxy.services.desk.sessions import Sessions
from proxy.services.desk.shared_files import FOLDER
from proxy.services.jobs.running import JobRunner
from proxy.services.upkeep.archived import ArchiveSearch
from proxy.services.upkeep.byhand import ByHand
from proxy.web.accounts import Accounts
from proxy.web.answering.accel import HandOver
from proxy.web.connections.accepting import OpenConnections, SharedSite
from proxy.web.connections.clients import clients_of
from proxy.web.connections.job_streams import JobStreams
from proxy.web.connections.server import Server
from proxy.web.connections.streams import Streams
from proxy.web.context import Context
from proxy.web.handlers.service import set_process_gauges
from proxy.web.routes import dispatch
from proxy.web.targets.plans import Plans
from proxy.web.tracing import TracedRequests, open_telemetry, send_figures

if TYPE_CHECKING:
    from proxy.observe.otlp.sending import Telemetry

log = logging.getLogger(__name__)

MEASURE_SECONDS = 0.25
"""How old the figures of one worker may be when another worker answers `/metrics`."""

BACKLOG = 1024
"""How many connections may wait to be accepted."""

_SCRUB_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """A watcher of the event loop. beat: called every `seconds` while the loop runs; must not wait."""

    seconds: float
    beat: Callable[[], None]

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self.beat()
            await asyncio.sleep(self.seconds)


@dataclass(frozen=True, slots=True)
class Start:
    """The parts with which a worker starts.

    read: reads the configuration again. ready: called when the worker listens. stopping: called when the worker was
    told to end and takes no new requests. connections: the counts of all workers; None for a single worker. pulse:
    None when nobody watches the event loop.
    """

    config: Config
    read: Callable[[], Config]
    place: WorkerPlace
    ready: Callable[[], None]
    stopping: Callable[[], None]
    connections: OpenConnections | None = None
    pulse: Pulse | None = None


async def run(start: Start, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM or SIGINT, then finish running requests. SIGHUP reloads the configuration.

    Raises:
        CacheError, ConfigError, OSError: the stores or the manifest cannot be read.
    """
    config, place = start.config, start.place
    signals = _Signals(ignore_interrupt=place.workers > 1)
    telemetry = open_telemetry(config, place)
    traces = telemetry.traces if telemetry is not None else NOT_TRACED
    async with open_engine(config, place=place, traces=traces) as engine:
        await engine.kept.make_shards()
        context = _context(engine)
        server = _server(context, telemetry)
        runner = web.ServerRunner(server, shutdown_timeout=config.server.shutdown_timeout)
        await runner.setup()
        behind = [asyncio.create_task(server.hang_up_on_overdue()), asyncio.create_task(_measure(context))]
        if place.worker == 0:
            behind.append(asyncio.create_task(_scrub(engine)))
            behind.append(asyncio.create_task(_record(context)))
        if start.pulse is not None:
            behind.append(asyncio.create_task(start.pulse.run()))
        try:
            await _site(start, runner, listener, server).start()
            signals.reload_with(_Reloader(engine, context, start.read))
            # Everything that exists by now stays, so garbage collections need not examine it again.
            gc.collect()
            gc.freeze()
            start.ready()
            await signals.stop.wait()
            context.shutting_down = True
            context.jobs.closing.set()
            start.stopping()
        finally:
            for task in behind:
                task.cancel()
            await runner.cleanup()
            await context.jobs.close()
            await asyncio.wait(behind)
            if telemetry is not None:
                await telemetry.close()


def _server(context: Context, telemetry: Telemetry | None) -> Server:
    """Return the server. Without telemetry, requests meet none of its code."""
    config = context.config.server
    if telemetry is None:
        return Server(functools.partial(dispatch, context), config, account=context.accounts)
    send_figures(telemetry, context)
    traced = TracedRequests(context, telemetry)
    return Server(traced.handle, config, account=traced.account)


def _site(start: Start, runner: web.ServerRunner, listener: socket.socket, server: Server) -> web.BaseSite:
    if start.connections is None:
        return web.SockSite(runner, listener, backlog=BACKLOG)
    return SharedSite(runner, listener, server=server, connections=start.connections)


async def _measure(context: Context) -> None:
    """Publish the figures of this process regularly until cancelled, so that any worker can answer `/metrics`."""
    while True:
        set_process_gauges(context)
        context.accounts.answers.write()
        await asyncio.sleep(MEASURE_SECONDS)


async def _record(context: Context) -> None:
    """Write the figures of each minute for the desk until cancelled. Only the first worker does, for all of them."""
    recorder = Recorder(context.history, await asyncio.to_thread(totals, context.metrics))
    refused = False
    while True:
        minute = int(time.time() // 60)
        await asyncio.sleep((minute + 1) * 60 - time.time())
        try:
            found = await asyncio.to_thread(totals, context.metrics)
            await asyncio.to_thread(recorder.record, minute, found)
        except OSError as error:
            if not refused:
                log.warning("the figures of the desk cannot be written: %s", error)
            refused = True


async def _scrub(engine: Engine) -> None:
    """Compare kept originals with their digests, slowly, until cancelled. An error of the scrub stops no request."""
    while True:
        try:
            await engine.kept.scrub.run(
                lambda: engine.config.store.scrub_rate, engine.metrics.scrub_bytes.inc
            )
        except (CacheError, OSError) as error:
            log.warning("the scrub was interrupted: %s", error)
            await asyncio.sleep(_SCRUB_PAUSE_SECONDS)


class _Signals:
    """Handles signals from the first moment on. A reload that is asked for during the start runs after it."""

    def __init__(self, *, ignore_interrupt: bool) -> None:
        self.stop = asyncio.Event()
        self._reloader: _Reloader | None = None
        self._reload_wanted = False
        loop = asyncio.get_running_loop()
        # Ctrl-C reaches the whole process group. With several workers, the parent then sends them SIGTERM.
        loop.add_signal_handler(signal.SIGINT, (lambda: None) if ignore_interrupt else self.stop.set)
        loop.add_signal_handler(signal.SIGTERM, self.stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        loop.add_signal_handler(signal.SIGUSR1, lambda: None)
        release_signals()

    def reload_with(self, reloader: _Reloader) -> None:
        """Pass reloads to `reloader` from now on, including one that waits."""
        self._reloader = reloader
        if self._reload_wanted:
            reloader.reload_soon()

    def _reload(self) -> None:
        self._reload_wanted = True
        if self._reloader is not None:
            self._reloader.reload_soon()


class _Reloader:
    """Applies the configuration that `read` returns. An invalid one changes nothing. Reloads run one at a time."""

    def __init__(self, engine: Engine, context: Context, read: Callable[[], Config]) -> None:
        self._engine = engine
        self._context = context
        self._read = read
        self._busy = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    def reload_soon(self) -> None:
        """Start a reload. Callable from a signal handler."""
        task = asyncio.create_task(self._reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _reload(self) -> None:
        async with self._busy:
            try:
                # Reading a manifest of many thousand lines takes seconds.
                config, policy = await asyncio.to_thread(self._fresh)
            except (ConfigError, OSError) as error:
                log.error("the configuration was not reloaded: %s", error)
                return
            self._engine.reconfigure(config, policy)
            self._context.reconfigure(config, policy, self._engine.signer)
            set_up(level=config.log.level, form=config.log.format, secrets=secret_texts(config))
            log.info("the configuration was reloaded")

    def _fresh(self) -> tuple[Config, Policy]:
        fresh = self._read()
        for key in changed_restart_keys(self._engine.config, fresh):
            log.warning("%s has changed; it takes effect after a restart", key)
        config = keep_restart_keys(self._engine.config, fresh)
        problem = listen_problem(config)
        if problem:
            raise ConfigError([problem])
        return config, make_policy(config)


def _context(engine: Engine) -> Context:
    folder = engine.config.store.dir / JOBS
    jobs = JobRunner(JobFiles(folder, now=time.time, modes=modes_of(engine.config)))
    return Context(
        config=engine.config,
        policy=engine.policy,
        signer=engine.signer,
        plans=Plans(engine.config, engine.policy, engine.signer),
        originals=engine.originals,
        variants=engine.variants,
        purging=engine.purging,
        rewriting=engine.rewriting,
        pictures=engine.pictures,
        kept=engine.kept,
        variant_store=engine.variant_store,
        memory=engine.memory,
        pool=engine.pool,
        batches=engine.batches,
        overloads=engine.overloads,
        metrics=engine.metrics,
        instance_id=engine.place.instance_id,
        clients=clients_of(engine.config.server),
        accounts=Accounts(engine.metrics, engine.config),
        streams=Streams(engine.config.server),
        hand_over=HandOver(engine.config.server, engine.kept, engine.variant_store.folder, now=time.time),
        sessions=Sessions(engine.config.store.dir / FOLDER),
        history=FigureHistory(engine.config.store.dir / FOLDER),
        archive=ArchiveSearch(
            engine.fetcher, engine.originals, engine.kept, engine.config.fetch, now=time.time
        ),
        by_hand=ByHand(engine.kept, engine.batches, now=time.time),
        jobs=jobs,
        job_streams=JobStreams(jobs),
        wants_pauses=engine.fetcher.wants_pauses,
        note_use=engine.kept.catalogue.notes.note_use,
    )
