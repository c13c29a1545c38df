"""Records the steps of requests as OpenTelemetry spans. Event loop.

Addresses and names of hosts pass through `redaction` first, as in the log; all other texts are our own words.
Exceptions are recorded by their code only, because their details are for the log.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import Context
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from proxy.observe.redaction import hidden, hideable, plain
from proxy.observe.traces import TARGET, Facts, RequestStep, Step, Traces

MAX_TEXT = 1024
"""The longest text of a fact in characters. Spans wait in memory while the collector does not answer."""

_REMEMBERED_TEXTS = 2048
"""How many texts are remembered as they are shown. Hiding secrets takes as long as answering a hit."""

_OF_OTHERS = ("url.", "server.")
"""Beginnings of the names of facts whose texts clients and origins wrote."""

_TRACE_CONTEXT = TraceContextTextMapPropagator()


class _RecordedStep(RequestStep):
    """One span. `begun` is in Unix nanoseconds."""

    def __init__(self, traces: OtlpTraces, span: Span) -> None:
        self._traces = traces
        self._span = span
        self._begun = time.time_ns()
        self.is_recorded = span.is_recording()

    def current(self) -> AbstractContextManager[object]:
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def note(self, facts: Facts) -> None:
        if not self.is_recorded:
            return
        shown = {
            name: self._traces.shown(fact) if isinstance(fact, str) and name.startswith(_OF_OTHERS) else fact
            for name, fact in facts.items()
        }
        if isinstance(target := shown.pop(TARGET, None), str):
            # Secrets were found in the whole target. A part of it does not show what it is.
            shown["url.path"], _, shown["url.query"] = target.partition("?")
        self._span.set_attributes(shown)

    def fail(self, kind: str) -> None:
        self._span.set_attribute("error.type", kind)
        self._span.set_status(StatusCode.ERROR)

    def split(self, first: str, second: str, *, first_seconds: float) -> None:
        between = self._begun + int(max(first_seconds, 0.0) * 1e9)
        context = trace.set_span_in_context(self._span)
        for name, begun, ended in ((first, self._begun, between), (second, between, time.time_ns())):
            part = self._traces.tracer.start_span(name, context, start_time=begun)
            part.end(ended)

    def end(self, name: str, facts: Facts, *, failure: str, is_ours: bool) -> None:
        self._span.update_name(name)
        self.note(facts)
        if failure:
            self._span.set_attribute("error.type", failure)
        if is_ours:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class OtlpTraces(Traces):
    """Records spans with `tracer`."""

    def __init__(self, tracer: Tracer, secrets: Iterable[str]) -> None:
        self.tracer = tracer
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        self._secrets = hideable(secrets)
        self._remembered = functools.lru_cache(_REMEMBERED_TEXTS)(self._shown)

    def shown(self, text: str) -> str:
        """Return a text as it may be recorded."""
        return self._remembered(text) if len(text) <= MAX_TEXT else self._shown(text)

    def _shown(self, text: str) -> str:
        return plain(hidden(text, self._secrets))[:MAX_TEXT]

    def request(self, headers: Mapping[str, str], *, is_trusted: bool) -> RequestStep:
        known = _TRACE_CONTEXT.extract(headers)
        caller = trace.get_current_span(known).get_span_context()
        # A stranger must not decide what is sampled, nor write into the traces of others.
        stranger = SpanContext(caller.trace_id, caller.span_id, is_remote=True)
        links = [] if is_trusted or not caller.is_valid else [Link(stranger)]
        parent = known if is_trusted else trace.set_span_in_context(trace.INVALID_SPAN)
        return _RecordedStep(self, self.tracer.start_span("request", parent, SpanKind.SERVER, links=links))

    @contextmanager
    def step(self, name: str, *, url: str = "") -> Iterator[Step]:
        span = self.tracer.start_span(name, kind=SpanKind.CLIENT if url else SpanKind.INTERNAL)
        step = _RecordedStep(self, span)
        with step.current():
            try:
                if url and span.is_recording():
                    step.note(_asked(url))
                yield step
            except BaseException as error:
                step.fail(str(getattr(error, "code", type(error).__name__)))
                raise
            finally:
                span.end()

    def join(self, leader: Context | None) -> None:
        if leader is None:
            return
        leading = leader.run(trace.get_current_span).get_span_context()
        if leading.is_valid:
            trace.get_current_span().add_link(leading, {"imgmirror.link": "leading request"})

    def headers(self) -> Mapping[str, str]:
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier)
        return carrier


def _asked(url: str) -> Facts:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {
        "http.request.method": "GET",
        "url.full": url,
        "server.address": parts.hostname or "",
        "server.port": port,
    }
