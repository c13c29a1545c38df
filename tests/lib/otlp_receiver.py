"""A collector on loopback that takes traces and metrics over OTLP/HTTP and keeps them for the test."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric


@dataclass(frozen=True, slots=True)
class SentSpan:
    """A span as it was sent. `resource` holds the attributes of the process."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    begun: int
    ended: int
    is_error: bool
    attributes: dict[str, Any]
    links: list[str]
    resource: dict[str, Any]


class OtlpReceiver:
    """`with OtlpReceiver() as receiver`. It answers in a thread of its own. `status` is the answer to everything."""

    def __init__(self) -> None:
        self.status = 200
        self.requests = 0
        self.spans: list[SentSpan] = []
        self.figures: list[ExportMetricsServiceRequest] = []
        self.bodies: list[bytes] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, self._take))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> OtlpReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the received data is true."""
        with self._arrived:
            assert self._arrived.wait_for(condition, timeout=20), "not true of what has arrived in 20 s"

    def span(self, name: str, **attributes: Any) -> SentSpan:
        """Wait for a span with this name and these attributes, spelled with `__` for dots, and return it."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}

        def found() -> list[SentSpan]:
            fitting = (span for span in self.spans if span.name == name)
            return [span for span in fitting if wanted.items() <= span.attributes.items()]

        self.wait_until(lambda: bool(found()))
        return found()[0]

    def children(self, parent: SentSpan) -> dict[str, SentSpan]:
        """Return the spans below a span that have arrived so far, by name."""
        return {span.name: span for span in self.spans if span.parent_id == parent.span_id}

    def samples(self) -> dict[str, float]:
        """Return the last metrics that arrived, or none."""
        return self.last_samples() if self.figures else {}

    def last_samples(self) -> dict[str, float]:
        """Return the last metrics that arrived, spelled as `/metrics` spells them."""
        return samples_of(self.figures[-1])

    def metric_resources(self) -> list[dict[str, Any]]:
        """Return the attributes of the processes that sent metrics."""
        return [
            _attributes(resource.resource.attributes)
            for request in self.figures
            for resource in request.resource_metrics
        ]

    def _take(self, path: str, body: bytes) -> int:
        with self._arrived:
            self.requests += 1
            if self.status == 200:
                self.bodies.append(body)
                if path == "/v1/traces":
                    self.spans += _spans(ExportTraceServiceRequest.FromString(body))
                else:
                    self.figures.append(ExportMetricsServiceRequest.FromString(body))
            self._arrived.notify_all()
            return self.status


class _Handler(BaseHTTPRequestHandler):
    """Hands the body of a request to `take`, which returns the status."""

    protocol_version = "HTTP/1.1"

    def __init__(self, take: Callable[[str, bytes], int], *arguments: Any) -> None:
        self._take = take
        super().__init__(*arguments)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self._take(self.path, body))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing on standard error."""


def samples_of(request: ExportMetricsServiceRequest) -> dict[str, float]:
    """Return the figures of a request, spelled as Prometheus spells them."""
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    return {name: value for metric in scope.metrics for name, value in _samples(metric)}


def _spans(request: ExportTraceServiceRequest) -> Iterator[SentSpan]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SentSpan(
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    begun=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                    attributes=_attributes(span.attributes),
                    links=[link.span_id.hex() for link in span.links],
                    resource=_attributes(resource.resource.attributes),
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value") for pair in pairs}


def _samples(metric: Metric) -> Iterator[tuple[str, float]]:
    kind = metric.WhichOneof("data")
    for point in getattr(metric, kind or "gauge").data_points:
        labels = _attributes(point.attributes)
        if kind != "histogram":
            yield _spelled(metric.name + ("_total" if kind == "sum" else ""), labels), point.as_double
            continue
        yield _spelled(metric.name + "_count", labels), float(point.count)
        yield _spelled(metric.name + "_sum", labels), point.sum
        below = 0
        for count, bound in zip(point.bucket_counts, [*point.explicit_bounds, float("inf")], strict=True):
            below += count
            le = "+Inf" if bound == float("inf") else str(bound)
            yield _spelled(metric.name + "_bucket", {**labels, "le": le}), float(below)


def _spelled(name: str, labels: dict[str, Any]) -> str:
    shown = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{shown}}}" if shown else name
