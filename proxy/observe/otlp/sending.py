"""Sends traces and metrics to a collector, in threads of their own. Event loop, and these threads.

The variables `OTEL_*` of the environment say where to, how often, and what is sampled. A collector that does not answer
costs nothing but what it would have been sent: spans wait in a queue of fixed length, and the log gets a line in ten
minutes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from proxy.observe.metrics import Metrics
from proxy.observe.otlp import is_on
from proxy.observe.otlp.figures import SCOPE, metrics_data
from proxy.observe.otlp.spans import OtlpTraces
from proxy.observe.traces import NOT_TRACED, Traces
from proxy.version import __version__

log = logging.getLogger(__name__)

FLUSH_SECONDS = 2.0
"""How long the end of a worker waits for the collector. It has three seconds in all when requests took their time."""

QUIET_SECONDS = 600.0
"""The pause between two log lines about the same fault."""

_INTERVAL_MILLISECONDS = "60000"
"""The default of OTEL_METRIC_EXPORT_INTERVAL in OpenTelemetry's specification."""


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """One worker of a service. service_id: the same for all workers."""

    service_id: str
    worker: int = 0
    workers: int = 1


class Telemetry:
    """What one worker sends. Create it in the worker's process: its threads do not survive a fork.

    Every worker sends its own traces. The first worker sends the metrics of all, so they have the values of `/metrics`.
    """

    def __init__(self, process: ServiceProcess, secrets: Iterable[str], environ: Mapping[str, str]) -> None:
        """Read the environment.

        Raises:
            ValueError: the value of a variable cannot be used.
        """
        logging.getLogger("opentelemetry").handlers = [_Seldom(logging.WARNING)]
        logging.getLogger("opentelemetry").propagate = False
        self.traces: Traces = NOT_TRACED
        self._process = process
        sends_metrics = is_on(environ, "METRICS") and process.worker == 0
        self._metric_exporter = OTLPMetricExporter() if sends_metrics else None
        self._seconds = _seconds(environ.get("OTEL_METRIC_EXPORT_INTERVAL", _INTERVAL_MILLISECONDS))
        self._figures: _Figures | None = None
        self._provider: TracerProvider | None = None
        if is_on(environ, "TRACES"):
            own = process.service_id if process.workers == 1 else f"{process.service_id}-{process.worker}"
            resource = _resource(own, {"process.pid": os.getpid()})
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            self.traces = OtlpTraces(self._provider.get_tracer(SCOPE, __version__), secrets)

    def send_figures(self, metrics: Metrics, refresh: Callable[[], None]) -> None:
        """Send `metrics` from now on, if this worker is the one that does. `refresh` is called before, in a thread."""
        exporter = self._metric_exporter
        if exporter is None:
            return
        resource = _resource(self._process.service_id, {})

        def send() -> None:
            refresh()
            families = metrics.families()
            exporter.export(metrics_data(families, resource, begun=metrics.begun, now=time.time()))

        self._figures = _Figures(send, self._seconds)
        self._figures.start()

    async def close(self) -> None:
        """Send what is left, and wait for it no longer than `FLUSH_SECONDS`."""
        closing = [threading.Thread(target=close, daemon=True) for close in self._closers()]
        for thread in closing:
            thread.start()
        deadline = time.monotonic() + FLUSH_SECONDS
        for thread in closing:
            await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))

    def _closers(self) -> Iterable[Callable[[], None]]:
        if self._figures is not None:
            yield self._figures.close
        if self._provider is not None:
            yield self._provider.shutdown


class _Figures(threading.Thread):
    """Calls `send` every `seconds`, and once more at the end."""

    def __init__(self, send: Callable[[], None], seconds: float) -> None:
        super().__init__(name="metrics over OTLP", daemon=True)
        self._send = send
        self._seconds = seconds
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(self._seconds):
            self._try()
        self._try()

    def close(self) -> None:
        """End, after the last figures were sent."""
        self._ending.set()
        self.join()

    def _try(self) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - the figures of a later moment may be sent
            logging.getLogger("opentelemetry.figures").warning("metrics were not sent: %r", error)


class _Seldom(logging.Handler):
    """Passes on the lines of OpenTelemetry's loggers, one for each of them in `QUIET_SECONDS`."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._quiet_until: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._quiet_until.get(record.name, 0.0):
            self._quiet_until[record.name] = now + QUIET_SECONDS
            log.warning("OpenTelemetry: %s", record.getMessage())


def _resource(instance_id: str, more: Mapping[str, int]) -> Resource:
    ours = {"service.name": "imgmirror", "service.version": __version__, "service.instance.id": instance_id}
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES of the operator win.
    return Resource.create({**ours, **more}).merge(OTELResourceDetector().detect())


def _seconds(milliseconds: str) -> float:
    try:
        return max(float(milliseconds), 100.0) / 1000
    except ValueError:
        return float(_INTERVAL_MILLISECONDS) / 1000
