"""The metrics of all workers as a few totals, for the history of figures that the service keeps. Blocking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from proxy.observe.metrics import HITS, Metrics


def totals(metrics: Metrics) -> Mapping[str, float]:
    """Return the sums over all workers since the start of the service, by the names of `FIGURES`.

    `queue` is the number of pictures that wait now; all others only grow.
    """
    found: Counter[str] = Counter()
    for name, amount in _amounts(metrics.collected()):
        found[name] += amount  # type: ignore[assignment]  # a Counter of fractions
    return found


def _amounts(collected: Iterable[Metric]) -> Iterable[tuple[str, float]]:
    for metric in collected:
        for sample in metric.samples:
            for name in _names(sample):
                yield name, sample.value


def _names(sample: Sample) -> tuple[str, ...]:
    """Return the totals that a sample counts for."""
    return _NAMES[sample.name](sample.labels) if sample.name in _NAMES else ()


_NAMES: Mapping[str, Callable[[Mapping[str, str]], tuple[str, ...]]] = {
    "imgmirror_cache_requests_total": lambda labels: (
        ("lookups", "hits") if labels["result"] in HITS else ("lookups",)
    ),
    "imgmirror_fetch_seconds_count": lambda labels: (
        ("fetches",) if labels["outcome"] == "ok" else ("fetches", "failed_fetches")
    ),
    "imgmirror_render_seconds_count": lambda _labels: ("renders",),
    "imgmirror_render_failures_total": lambda _labels: ("failed_renders",),
    "imgmirror_requests_total": lambda labels: ("answers", *_OF_STATUS.get(labels["status"][:1], ())),
    "imgmirror_sent_bytes_total": lambda _labels: ("sent_bytes",),
    "imgmirror_render_queue": lambda _labels: ("queue",),
}
_OF_STATUS: Mapping[str, tuple[str, ...]] = {"4": ("refused",), "5": ("failed",)}
