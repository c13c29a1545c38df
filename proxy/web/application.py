"""The web application around an engine, and its run on one listening socket until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from proxy.app import Engine, Place, open_engine
from proxy.config import Config
from proxy.configfile import ConfigError, changed_restart_keys, keep_restart_keys
from proxy.web.context import CONTEXT, Context
from proxy.web.plans import Plans
from proxy.web.routes import dispatch

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 * 1024
"""Request line: a canonical source of 8 KiB with options before it."""

ENGINE = web.AppKey("engine", Engine)


def make_app(
    config: Config, *, place: Place | None = None, now: Callable[[], float] = time.time
) -> web.Application:
    """Return the application; its engine opens when it starts and closes when it ends."""
    app = web.Application(client_max_size=config.server.max_body)

    async def engine(app: web.Application) -> AsyncIterator[None]:
        async with open_engine(config, place=place, now=now) as opened:
            app[ENGINE] = opened
            app[CONTEXT] = _context(opened, now)
            yield

    app.cleanup_ctx.append(engine)
    app.router.add_route("*", "/{target:.*}", dispatch)
    return app


def reload(app: web.Application, read: Callable[[], Config]) -> None:
    """Take the configuration that `read` returns; a bad one changes nothing."""
    context, engine = app[CONTEXT], app[ENGINE]
    try:
        fresh = read()
        for key in changed_restart_keys(engine.config, fresh):
            log.warning("%s has changed; it takes effect after a restart", key)
        engine.reconfigure(keep_restart_keys(engine.config, fresh))
    except (ConfigError, OSError, ValueError) as error:
        log.error("the configuration was not reloaded: %s", error)
        return
    context.config, context.policy, context.signer = engine.config, engine.policy, engine.signer
    context.plans = Plans(engine.config, engine.policy, engine.signer)
    log.info("the configuration was reloaded")


async def run(
    app: web.Application, listener: socket.socket, *, read: Callable[[], Config], ready: Callable[[], None]
) -> None:
    """Serve on `listener` until SIGTERM or SIGINT; finish what has begun. SIGHUP reloads."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=75.0,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        shutdown_timeout=_shutdown_seconds(read),
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=1024).start()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload, app, read)
        ready()
        await stop.wait()
        app[CONTEXT].shutting_down = True
    finally:
        await runner.cleanup()


def _shutdown_seconds(read: Callable[[], Config]) -> float:
    return read().server.shutdown_timeout


def _context(engine: Engine, now: Callable[[], float]) -> Context:
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
        metrics=engine.metrics,
        instance_id=engine.place.instance_id,
        now=now,
    )
