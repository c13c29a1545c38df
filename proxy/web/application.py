"""The web server around an engine, and its run on one listening socket until a signal ends it."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from cache.errors import CacheError
from proxy.app import Engine, Place, make_policy, open_engine
from proxy.config import Config
from proxy.configfile import ConfigError, changed_restart_keys, keep_restart_keys
from proxy.policy import Policy, listen_problem
from proxy.web.clients import clients_of
from proxy.web.context import Context
from proxy.web.plans import Plans
from proxy.web.routes import dispatch

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024
"""Request line: a canonical source of 8 KiB with options before it."""

_SWEEP_SECONDS = 5.0
_SCRUB_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Start:
    """How a worker begins: its configuration, how to read it again, its place, and whom to tell.

    ready: it listens. stopping: it was told to end, and takes no new requests.
    """

    config: Config
    read: Callable[[], Config]
    place: Place
    ready: Callable[[], None]
    stopping: Callable[[], None]


async def run(start: Start, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM or SIGINT; finish what has begun. SIGHUP reads the configuration again.

    Raises:
        CacheError, ConfigError, OSError: the stores or the manifest cannot be read.
    """
    config, place = start.config, start.place
    async with open_engine(config, place=place) as engine:
        context = _context(engine)
        server = _Server(context)
        runner = web.ServerRunner(server, shutdown_timeout=config.server.shutdown_timeout)
        await runner.setup()
        behind = [asyncio.create_task(server.hang_up_on_overdue())]
        if place.worker == 0:
            behind.append(asyncio.create_task(_scrub(engine)))
        try:
            await web.SockSite(runner, listener, backlog=1024).start()
            await _until_told(_Reloader(engine, context, start.read), start.ready)
            context.shutting_down = True
            start.stopping()
        finally:
            for task in behind:
                task.cancel()
            await runner.cleanup()
            await asyncio.wait(behind)


async def _scrub(engine: Engine) -> None:
    """Compare what is kept with its digests, slowly, until cancelled; a fault of it is no fault of the service."""
    while True:
        try:
            await engine.kept.scrub.run(
                lambda: engine.config.store.scrub_rate, engine.metrics.scrub_bytes.inc
            )
        except (CacheError, OSError) as error:
            log.warning("the scrub was interrupted: %s", error)
            await asyncio.sleep(_SCRUB_PAUSE_SECONDS)


async def _until_told(reloader: _Reloader, ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reloader.reload_soon)
    ready()
    await stop.wait()


class _Reloader:
    """Takes the configuration that `read` returns; a bad one changes nothing. One after the other."""

    def __init__(self, engine: Engine, context: Context, read: Callable[[], Config]) -> None:
        self._engine = engine
        self._context = context
        self._read = read
        self._busy = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    def reload_soon(self) -> None:
        """Begin a reload; for a signal handler."""
        task = asyncio.create_task(self._reload())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _reload(self) -> None:
        async with self._busy:
            try:
                # A manifest of many thousand lines takes seconds to read.
                config, policy = await asyncio.to_thread(self._fresh)
            except (ConfigError, OSError) as error:
                log.error("the configuration was not reloaded: %s", error)
                return
            self._engine.reconfigure(config, policy)
            self._context.reconfigure(config, policy, self._engine.signer)
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


class _Server(web.Server):
    """aiohttp's low-level server, which has no router: the raw target decides, and every hit is a tenth faster.

    It hangs up on clients whose first request does not come. aiohttp bounds only the wait for the requests after
    the first (keep-alive); connections that say nothing, or one header byte a minute, would stay for ever.
    """

    def __init__(self, context: Context) -> None:
        config = context.config.server
        super().__init__(
            functools.partial(dispatch, context),
            request_factory=functools.partial(
                web.BaseRequest, loop=asyncio.get_running_loop(), client_max_size=config.max_body
            ),
            access_log=None,
            keepalive_timeout=75.0,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
        )
        self._unheard = context.unheard
        self._timeout_seconds = config.read_timeout

    def __call__(self) -> web.RequestHandler:
        client = super().__call__()
        self._unheard[client] = time.monotonic() + self._timeout_seconds
        return client

    async def hang_up_on_overdue(self) -> None:
        """Close the connections that are overdue, again and again; to be cancelled."""
        while True:
            await asyncio.sleep(min(self._timeout_seconds / 4, _SWEEP_SECONDS))
            now = time.monotonic()
            for client, deadline in list(self._unheard.items()):
                if deadline > now:
                    break
                del self._unheard[client]
                client.force_close()


def _context(engine: Engine) -> Context:
    return Context(
        config=engine.config,
        policy=engine.policy,
        signer=engine.signer,
        plans=Plans(engine.config, engine.policy, engine.signer),
        originals=engine.originals,
        variants=engine.variants,
        purging=engine.purging,
        articles=engine.articles,
        kept=engine.kept,
        variant_store=engine.variant_store,
        memory=engine.memory,
        pool=engine.pool,
        batches=engine.batches,
        metrics=engine.metrics,
        instance_id=engine.place.instance_id,
        clients=clients_of(engine.config.server),
    )
