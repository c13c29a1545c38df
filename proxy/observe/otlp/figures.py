"""Turns metrics of the Prometheus library into those of OpenTelemetry, whatever they are. Pure.

The names are those of `/metrics` without the `_total` of counters, which OTLP expresses by its type. Prometheus and the
collector add it again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import prometheus_client.metrics_core as prometheus
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.samples import Sample

SCOPE = "imgmirror"

_UNITS = {"seconds": "s", "bytes": "By", "ratio": "1"}
"""The unit of a metric by the last word of its name (UCUM, as OpenTelemetry writes units)."""


def metrics_data(
    families: Iterable[prometheus.Metric], resource: Resource, *, begun: float, now: float
) -> MetricsData:
    """Return `families` as they are exported. begun: when they began to be counted; both times in Unix seconds."""
    times = (int(begun * 1e9), int(now * 1e9))
    metrics = [metric for family in families for metric in _metrics(family, times)]
    scope = ScopeMetrics(InstrumentationScope(SCOPE), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _metrics(family: prometheus.Metric, times: tuple[int, int]) -> Iterator[Metric]:
    unit = _UNITS.get(family.name.rpartition("_")[2], "")
    if family.type == "histogram":
        points = list(_histogram_points(family, times))
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
        yield Metric(family.name, family.documentation, unit, data)
        return
    # Times of creation are samples in this format and no metrics.
    samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    for name in dict.fromkeys(sample.name for sample in samples):
        numbers = [_number(sample, times) for sample in samples if sample.name == name]
        if family.type == "counter":
            counted = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True)
            yield Metric(family.name, family.documentation, unit, counted)
        else:
            yield Metric(name, family.documentation, unit, Gauge(numbers))


def _number(sample: Sample, times: tuple[int, int]) -> NumberDataPoint:
    return NumberDataPoint(sample.labels, *times, sample.value)


def _histogram_points(family: prometheus.Metric, times: tuple[int, int]) -> Iterator[HistogramDataPoint]:
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    below: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
    for sample in family.samples:
        labels = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
        if sample.name.endswith("_bucket"):
            below.setdefault(labels, {})[float(sample.labels["le"])] = sample.value
        elif sample.name.endswith("_sum"):
            sums[labels] = sample.value
    for labels, buckets in below.items():
        bounds = sorted(buckets)
        totals = [int(buckets[bound]) for bound in bounds]
        yield HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=times[0],
            time_unix_nano=times[1],
            count=totals[-1],
            sum=sums.get(labels, 0.0),
            # Prometheus counts each observation in all buckets that are wide enough for it.
            bucket_counts=[total - less for total, less in zip(totals, [0, *totals], strict=False)],
            explicit_bounds=[bound for bound in bounds if math.isfinite(bound)],
            min=None,  # type: ignore[arg-type]  # optional in OTLP, and not known
            max=None,  # type: ignore[arg-type]  # the same
        )
