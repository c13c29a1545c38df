"""Gives every request a span and lets the metrics be sent, when `telemetry.otlp` is set. Without it, nothing here runs.

Spans follow OpenTelemetry's conventions for HTTP servers. They carry the same facts as the log, except the client's
address and browser, which are personal data. Event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from proxy.app import WorkerPlace
from proxy.config import Config, ConfigError
from proxy.config.file import secret_texts
from proxy.observe.otlp import is_on
from proxy.observe.traces import TARGET, Facts
from proxy.web.connections.clients import is_in_front
from proxy.web.connections.server import Request
from proxy.web.context import Context
from proxy.web.handlers.service import bring_up_to_date
from proxy.web.routes import asked_host, dispatch, raw_target

if TYPE_CHECKING:
    from proxy.observe.otlp.sending import Telemetry

MONITORS = ("/healthz", "/readyz")
"""Addresses without spans. Probes would make up most spans of an idle service."""

REFRESH_SECONDS = 5.0
"""How long to wait for up-to-date metrics before those at hand are sent. A disk may hang."""


def open_telemetry(config: Config, place: WorkerPlace) -> Telemetry | None:
    """Return the sender of this worker's traces and metrics, or None if nothing is to be sent.

    Raises:
        ConfigError: a variable `OTEL_*` has a value that cannot be used.
    """
    if not config.telemetry.otlp or not any(is_on(os.environ, signal) for signal in ("TRACES", "METRICS")):
        return None
    from proxy.observe.otlp.sending import ServiceProcess, Telemetry  # noqa: PLC0415 - needs the extra `otel`

    process = ServiceProcess(place.instance_id, place.worker, place.workers)
    try:
        return Telemetry(process, secret_texts(config), os.environ)
    except ValueError as error:
        raise ConfigError([f"a variable OTEL_* cannot be used: {error}"]) from error


def send_figures(telemetry: Telemetry, context: Context) -> None:
    """Send the metrics of `context` from now on. Call it in the event loop."""
    loop = asyncio.get_running_loop()

    def refresh() -> None:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(bring_up_to_date(context), loop).result(REFRESH_SECONDS)

    telemetry.send_figures(context.metrics, refresh)


class TracedRequests:
    """Stands around `dispatch` and the account of answers. A span ends when the answer was sent."""

    def __init__(self, context: Context, telemetry: Telemetry) -> None:
        self._context = context
        self._traces = telemetry.traces

    async def handle(self, request: Request) -> web.StreamResponse:
        """Answer a request."""
        if request.raw_path in MONITORS:
            return await dispatch(self._context, request)
        # Hits rarely have the header, and reading an address takes a while.
        is_trusted = "traceparent" in request.headers and is_in_front(
            request.remote, self._context.config.server.trusted_proxies
        )
        request.traced = step = self._traces.request(request.headers, is_trusted=is_trusted)
        try:
            with step.current():
                return await dispatch(self._context, request)
        except BaseException as error:
            # The client is gone, so the server has no answer to account for.
            step.end(_name(request), _asked(request), failure=type(error).__name__, is_ours=False)
            raise

    def account(self, request: Request, response: web.StreamResponse) -> None:
        """Account for an answer that was sent."""
        self._context.accounts(request, response)
        if request.traced is not None and request.traced.is_recorded:
            facts = {
                **_asked(request),
                "http.response.status_code": response.status,
                "imgmirror.request_id": response.headers.get("X-Request-Id", ""),
                "imgmirror.cache_status": response.headers.get("Cache-Status", ""),
            }
            is_ours = response.status >= 500
            request.traced.end(_name(request), facts, failure=request.failure, is_ours=is_ours)


def _name(request: Request) -> str:
    return f"{_method(request)} {request.route}"


def _method(request: Request) -> str:
    return request.method if request.method in hdrs.METH_ALL else "_OTHER"


def _asked(request: Request) -> Facts:
    host, _, port = (asked_host(request) or "").rpartition(":")
    if not port.isdecimal():
        host, port = asked_host(request) or "", ""
    return {
        "http.request.method": _method(request),
        "http.route": request.route,
        "url.scheme": request.scheme,
        TARGET: raw_target(request),
        "network.protocol.version": f"{request.version.major}.{request.version.minor}",
        "server.address": host,
        **({"server.port": int(port)} if port and len(port) < 6 else {}),
    }
