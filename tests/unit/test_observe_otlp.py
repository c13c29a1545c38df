"""Metrics and steps as OpenTelemetry gets them, without a collector."""

from __future__ import annotations

import contextvars
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from proxy.errors import SourceTimeout
from proxy.observe.folder import shared_folder
from proxy.observe.metrics import Metrics
from proxy.observe.otlp import is_on, otlp_problem
from proxy.observe.traces import NOT_TRACED

if "CI" not in os.environ:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from otlp_receiver import samples_of

from proxy.observe.otlp.figures import metrics_data
from proxy.observe.otlp.sending import QUIET_SECONDS, _Seldom
from proxy.observe.otlp.spans import MAX_TEXT, OtlpTraces

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
STRANGER = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}

labels = st.text(st.characters(codec="utf-8", exclude_characters='"\\\n'), max_size=5)
amounts = st.floats(0, 1e9)


def sent(registry: CollectorRegistry) -> dict[str, float]:
    """Return the figures of a registry as they are on the wire, spelled as Prometheus spells them."""
    data = metrics_data(registry.collect(), Resource({}), begun=1.0, now=2.0)
    return samples_of(encode_metrics(data))


def shown(registry: CollectorRegistry) -> dict[str, float]:
    """Return the samples of the text that Prometheus reads, without times of creation."""
    lines = [line.rpartition(" ") for line in generate_latest(registry).decode().split("\n")]
    return {
        name: float(value)
        for name, _, value in lines
        if name and not name.startswith("#") and "_created" not in name.partition("{")[0]
    }


@given(
    counts=st.dictionaries(labels, amounts, max_size=4),
    level=st.floats(allow_nan=False),
    observed=st.dictionaries(labels, st.lists(st.floats(0, 100), max_size=8), max_size=3),
    bounds=st.lists(st.floats(0.001, 50), min_size=1, max_size=5, unique=True).map(sorted),
)
def test_every_sample_arrives_with_its_name_labels_and_value(
    counts: dict[str, float], level: float, observed: dict[str, list[float]], bounds: list[float]
) -> None:
    """Whatever a registry holds, OTLP says the same as the text for Prometheus."""
    registry = CollectorRegistry()
    counter = Counter("c_bytes", "Counts", ["of"], registry=registry)
    gauge = Gauge("g", "A level", registry=registry)
    histogram = Histogram("h_seconds", "Times", ["of"], registry=registry, buckets=bounds)
    gauge.set(level)
    for label, amount in counts.items():
        counter.labels(label).inc(amount)
    for label, seconds in observed.items():
        for second in seconds:
            histogram.labels(label).observe(second)
    assert sent(registry) == pytest.approx(shown(registry))


def test_units_follow_from_names_and_times_are_those_given() -> None:
    registry = CollectorRegistry()
    for name in ("a_seconds", "a_bytes", "a_ratio", "a_queue"):
        Gauge(name, "Text", registry=registry)
    Counter("b_bytes", "Text", registry=registry)
    request = encode_metrics(metrics_data(registry.collect(), Resource({}), begun=1.5, now=2.5))
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    assert [(metric.name, metric.unit) for metric in metrics] == [
        ("a_seconds", "s"), ("a_bytes", "By"), ("a_ratio", "1"), ("a_queue", ""), ("b_bytes", "By"),
    ]  # fmt: skip
    (point,) = metrics[-1].sum.data_points
    assert (point.start_time_unix_nano, point.time_unix_nano) == (1_500_000_000, 2_500_000_000)
    assert metrics[-1].sum.is_monotonic


def test_everything_that_the_metrics_page_shows_is_among_the_families() -> None:
    metrics = Metrics()
    metrics.cache_requests.labels("memory").inc(3)
    metrics.fetch_seconds.labels("ok").observe(0.2)
    data = metrics_data(metrics.families(), Resource({}), begun=metrics.begun, now=time.time())
    text = metrics.text().decode()
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    found = samples_of(encode_metrics(data))
    assert {name.partition("{")[0] for name in found} == {
        name for name in names if not name.endswith("_created")
    }
    assert found["imgmirror_hits_total"] == 3


def test_figures_of_several_workers_begin_with_their_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A worker that is replaced later continues the counts of the others, so it must not move their beginning."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    metrics = Metrics()
    with shared_folder() as folder:
        os.utime(folder / "owner.lock", (1000, 1000))
        assert metrics.begun == 1000


# Spans


class Recorder:
    """Traces that keep their spans in memory."""

    def __init__(self, *secrets: str) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.traces = OtlpTraces(provider.get_tracer("test"), secrets)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


def context_of(span: ReadableSpan) -> trace.SpanContext:
    context: trace.SpanContext | None = span.get_span_context()
    assert context is not None
    return context


def test_stranger_starts_a_trace_of_its_own_that_names_the_strangers() -> None:
    """A client must not decide what is sampled, nor write into the traces of others."""
    recorder = Recorder()
    recorder.traces.request(STRANGER, is_trusted=False).end("a", {}, failure="", is_ours=False)
    recorder.traces.request(STRANGER, is_trusted=True).end("b", {}, failure="", is_ours=False)
    stranger, trusted = recorder.spans["a"], recorder.spans["b"]
    assert stranger.parent is None
    assert f"{context_of(stranger).trace_id:032x}" != TRACE
    assert [f"{link.context.trace_id:032x}" for link in stranger.links] == [TRACE]
    assert f"{context_of(trusted).trace_id:032x}" == TRACE
    assert trusted.parent is not None
    assert not trusted.links


@pytest.mark.parametrize(
    "headers",
    [{}, {"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"}, {"traceparent": ""}],
)  # fmt: skip
@pytest.mark.parametrize("is_trusted", [True, False])
def test_unreadable_traceparent_begins_a_trace(headers: Mapping[str, str], is_trusted: bool) -> None:
    recorder = Recorder()
    recorder.traces.request(headers, is_trusted=is_trusted).end("a", {}, failure="", is_ours=False)
    assert recorder.spans["a"].parent is None
    assert not recorder.spans["a"].links


def test_steps_lie_below_the_request_and_headers_name_the_step() -> None:
    recorder = Recorder()
    request = recorder.traces.request({}, is_trusted=False)
    with request.current(), recorder.traces.step("download", url="https://h.example/a") as step:
        named = recorder.traces.headers()["traceparent"]
        step.split("queue", "work", first_seconds=-1.0)
    request.end("request", {}, failure="", is_ours=False)
    spans = recorder.spans
    top, step_span = context_of(spans["request"]), context_of(spans["download"])
    assert spans["download"].parent == top
    assert spans["queue"].parent == spans["work"].parent == step_span
    assert named.startswith(f"00-{top.trace_id:032x}-{step_span.span_id:016x}-")
    assert (spans["download"].attributes or {})["server.port"] == 443
    for part in (spans["queue"], spans["work"]):
        assert part.start_time is not None
        assert part.end_time is not None
        assert part.start_time <= part.end_time


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SourceTimeout(detail="at 10.0.0.1"), "source_timeout"), (OSError("private"), "OSError")],
)
def test_failed_step_is_named_and_its_details_are_not_told(error: Exception, kind: str) -> None:
    recorder = Recorder()
    with pytest.raises(type(error)), recorder.traces.step("download"):
        raise error
    span = recorder.spans["download"]
    assert span.attributes == {"error.type": kind}
    assert span.status.status_code == StatusCode.ERROR
    assert span.status.description is None
    assert not span.events


def test_waiting_request_links_to_the_one_that_leads() -> None:
    recorder = Recorder()
    leading, waiting = (recorder.traces.request({}, is_trusted=False) for _ in range(2))
    with leading.current():
        context = contextvars.copy_context()
    with waiting.current():
        recorder.traces.join(context)
        recorder.traces.join(None)
        recorder.traces.join(contextvars.Context())
    leading.end("leading", {}, failure="", is_ours=False)
    waiting.end("waiting", {}, failure="", is_ours=False)
    assert [link.context for link in recorder.spans["waiting"].links] == [
        context_of(recorder.spans["leading"])
    ]


def test_texts_lose_secrets_and_controls_and_are_cut() -> None:
    recorder = Recorder("the-admin-token")
    with recorder.traces.step("a") as step:
        step.note({"server.address": "http://h.example/a?token=hush&x=the-admin-token"})
        step.note(
            {"url.target": "/image/width=3,sig=hush/http://h/a?b=\x00", "url.full": "x" * 9 + "a/" * 9999}
        )
    recorder.traces.hide(["another-token"])
    with recorder.traces.step("b", url="http://h.example/?x=the-admin-token&y=another-token"):
        pass
    attributes = recorder.spans["a"].attributes or {}
    assert attributes["server.address"] == "http://h.example/a?token=***&x=***"
    assert attributes["url.path"] == "/image/width=3,sig=***/http://h/a"
    assert attributes["url.query"] == "b=\\x00"
    assert len(str(attributes["url.full"])) == MAX_TEXT
    assert (recorder.spans["b"].attributes or {})["url.full"] == ("http://h.example/?x=the-admin-token&y=***")


def test_traces_that_record_nothing_say_nothing() -> None:
    with NOT_TRACED.step("a", url="http://h/") as step:
        step.note({"b": 1})
        step.fail("c")
        step.split("d", "e", first_seconds=1)
    assert NOT_TRACED.headers() == {}
    assert NOT_TRACED.step("a") is NOT_TRACED.step("b")


# The environment


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "imgmirror knows otlp and none"),
    ],
)
def test_variable_that_cannot_be_obeyed_is_a_problem(environ: dict[str, str], says: str) -> None:
    found = otlp_problem(environ)
    assert says in found
    assert bool(found) == bool(says)


def test_missing_extra_is_a_problem_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    assert "imgmirror[otel]" in otlp_problem({})


def test_disabled_sdk_and_exporter_none_send_nothing() -> None:
    assert is_on({}, "TRACES")
    assert not is_on({"OTEL_SDK_DISABLED": "TRUE"}, "TRACES")
    assert not is_on({"OTEL_TRACES_EXPORTER": "none"}, "TRACES")
    assert is_on({"OTEL_TRACES_EXPORTER": "none"}, "METRICS")


def test_repeated_fault_gets_a_line_in_ten_minutes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each logger of the library has a line of its own, so one fault does not hide another."""
    now = 1000.0
    monkeypatch.setattr("proxy.observe.otlp.sending.time.monotonic", lambda: now)
    handler = _Seldom(logging.WARNING)
    records = [logging.makeLogRecord({"name": name, "msg": f"{name} fails"}) for name in ("a", "b")]
    for record in records * 50:
        handler.emit(record)
    assert [record.getMessage() for record in caplog.records] == [
        "OpenTelemetry: a fails",
        "OpenTelemetry: b fails",
    ]
    now += QUIET_SECONDS
    handler.emit(records[0])
    assert len(caplog.records) == 3
