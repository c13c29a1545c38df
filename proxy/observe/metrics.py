"""The Prometheus metrics, summed over all worker processes. Event loop.

The supervisor sets `PROMETHEUS_MULTIPROC_DIR` before it starts workers. With it, every process writes its figures to a
mapped file in that folder, and any process can report the sum. Without it, a process reports its own figures.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from proxy.observe.folder import VARIABLE, folder_begun
from proxy.observe.processes import Processes
from proxy.version import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HITS = ("memory", "store", "original")
"""Results of `imgmirror_cache_requests` that count as hits."""

MEMORY_HIT_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)


class BulkHistogram(Histogram):
    """A histogram without labels that can add many observations at once."""

    def add(self, counts: Sequence[int], seconds: float) -> None:
        """Add observations that total `seconds`. `counts` has one number per bucket and one for those beyond."""
        self._sum.inc(seconds)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Metrics:
    """The figures of one process. Names carry their unit, as the Prometheus conventions require.

    cache_requests: by result: memory, store, rendered, original, fetched, stale.
    render_seconds: one observation per rendered variant. A job that makes several divides its time among them.
    """

    def __init__(self) -> None:
        self._begun = time.time()
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "imgmirror_requests", "Answers by address and status", ["route", "status"], registry=registry
        )
        self.bytes_sent = Counter(
            "imgmirror_sent_bytes", "Bytes of answers, including their heads", registry=registry
        )
        self.memory_hit_seconds = BulkHistogram(
            "imgmirror_memory_hit_seconds",
            "Time to answer a picture from memory, sending included",
            registry=registry,
            buckets=MEMORY_HIT_BUCKETS,
        )
        self.errors = Counter("imgmirror_errors", "Error answers by code", ["code"], registry=registry)
        self.cache_requests = Counter(
            "imgmirror_cache_requests",
            "Picture answers by where they came from",
            ["result"],
            registry=registry,
        )
        self.memory_hits = self.cache_requests.labels("memory")
        self.request_seconds = Histogram(
            "imgmirror_request_seconds",
            "Time to answer a picture that was not in memory",
            registry=registry,
            buckets=_SECONDS,
        )
        self.fetch_seconds = Histogram(
            "imgmirror_fetch_seconds", "Fetches by outcome", ["outcome"], registry=registry, buckets=_SECONDS
        )
        self.render_seconds = Histogram(
            "imgmirror_render_seconds", "Time to render one variant", registry=registry, buckets=_SECONDS
        )
        self.render_failures = Counter(
            "imgmirror_render_failures", "Variants that could not be rendered", ["code"], registry=registry
        )
        self.fallbacks = Counter(
            "imgmirror_fallbacks", "Kept originals answered because their refresh failed", registry=registry
        )
        self.not_asked = Counter(
            "imgmirror_not_asked", "Fetches avoided because a failure was remembered", registry=registry
        )
        self.renders_spared = Counter(
            "imgmirror_renders_spared",
            "Renders avoided because the picture is known to take too much time or memory",
            registry=registry,
        )
        self.recovered = Counter(
            "imgmirror_recovered", "Dead sources recovered from elsewhere", ["place"], registry=registry
        )
        self.redirects_to_original = Counter(
            "imgmirror_redirects_to_original",
            "Variants answered by a redirect to the original",
            ["code"],
            registry=registry,
        )
        self.set_aside = Counter(
            "imgmirror_set_aside",
            "Refreshes whose bytes were set aside instead of replacing a kept original",
            ["reason"],
            registry=registry,
        )
        self.purges = Counter("imgmirror_purges", "Sources purged by POST /purge", registry=registry)
        self.purge_hooks = Counter(
            "imgmirror_purge_hooks", "Calls of purge hooks, by outcome", ["outcome"], registry=registry
        )
        self.not_kept = Counter("imgmirror_not_kept", "Originals served but not kept", registry=registry)
        self.scrub_bytes = Counter(
            "imgmirror_scrub_bytes", "Bytes of originals compared with their digests", registry=registry
        )
        self.scrub_damaged = self._gauge(
            "imgmirror_scrub_damaged", "Originals found damaged or missing", "mostrecent"
        )
        self.scrub_finished = self._gauge(
            "imgmirror_scrub_finished_timestamp_seconds",
            "When all originals were last compared",
            "mostrecent",
        )
        self.variant_store_faults = self._gauge(
            "imgmirror_variant_store_faults", "Faults of the variant store", "livesum"
        )
        self.queue = self._gauge(
            "imgmirror_render_queue", "Pictures waiting for or in a render process", "livesum"
        )
        self.memory_bytes = self._gauge("imgmirror_memory_bytes", "Variants held in memory", "livesum")
        self.open_circuits = self._gauge(
            "imgmirror_open_circuits", "Origins that get no requests because they do not answer", "livesum"
        )
        self.remembered_failures = self._gauge(
            "imgmirror_remembered_failures", "Sources that are not fetched again for a while", "mostrecent"
        )
        build = Gauge(
            "imgmirror_build_info",
            "Version of the service and of its interpreter; always 1",
            ["version", "python"],
            registry=registry,
            multiprocess_mode="max",
        )
        build.labels(__version__, platform.python_version()).set(1)
        self.variants_bytes = self._gauge("imgmirror_variants_bytes", "Variants on disk", "mostrecent")
        self.originals_bytes = self._gauge("imgmirror_originals_bytes", "Originals on disk", "mostrecent")
        self.free_bytes = self._gauge(
            "imgmirror_free_bytes", "Free bytes on the disk of the store", "mostrecent"
        )

        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # Create every counter at 0. A counter that first appears with its first event hides that event from `rate`.
        for metric, labels in (
            (self.errors, "internal"),
            (self.fetch_seconds, "ok"),
            (self.render_failures, "decode_failed"),
            (self.redirects_to_original, "too_many_pixels"),
            (self.recovered, "wayback"),
            (self.set_aside, "placeholder"),
            (self.purge_hooks, "ok"),
            (self.purge_hooks, "failed"),
        ):
            metric.labels(labels)

    def _gauge(self, name: str, text: str, mode: str) -> Gauge:
        return Gauge(name, text, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]  # a Literal there

    def observe_renders(self, outputs: Iterable[object], seconds: float) -> None:
        """Count the results of one job that took `seconds`."""
        # An SVG that is served unchanged was not rendered.
        results = [output for output in outputs if getattr(output, "output_format", "") != "svg"]
        for output in results:
            code = getattr(output, "code", None)
            if code is None:
                self.render_seconds.observe(seconds / len(results))
            else:
                self.render_failures.labels(code).inc()

    def text(self) -> bytes:
        """Return the exposition of `families`."""
        registry = CollectorRegistry()
        registry.register(_Collected(self.families()))
        return generate_latest(registry)

    def families(self) -> list[Metric]:
        """Return everything that `/metrics` shows, as values. Blocking, as `collected` is."""
        collected = list(self.collected())
        return [*collected, *Processes(_web_processes).collect(), *_hits(collected)]

    @property
    def begun(self) -> float:
        """When the figures of all workers began to be counted, in Unix seconds."""
        folder = os.environ.get(VARIABLE)
        return folder_begun(Path(folder)) if folder else self._begun

    def collected(self) -> Iterable[Metric]:
        """Return all workers' figures as values. Blocking: with several workers, it reads their files."""
        return self._of_all_workers().collect()

    def _of_all_workers(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        if os.environ.get(VARIABLE):
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped there
        else:
            registry.register(self.registry)
        return registry


def _web_processes() -> Iterator[int]:
    """Yield the process ids of living workers. The supervisor removes the files of dead ones."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        yield os.getpid()
        return
    for path in Path(folder).glob("gauge_livesum_*.db"):
        yield int(path.stem.rpartition("_")[2])


class _Collected(Collector):
    """Families that were collected before."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _hits(collected: Iterable[Metric]) -> Iterator[Metric]:
    """Yield the number of picture answers, the number that needed no fetch and no render, and their share."""
    counts = {
        sample.labels["result"]: sample.value
        for metric in collected
        for sample in metric.samples
        if sample.name == "imgmirror_cache_requests_total"
    }
    hits, lookups = sum(counts.get(result, 0.0) for result in HITS), sum(counts.values())
    yield CounterMetricFamily("imgmirror_lookups", "Picture answers", lookups)
    yield CounterMetricFamily("imgmirror_hits", "Picture answers that needed neither fetch nor render", hits)
    text = "Hits divided by lookups since the start; for a period, divide the counters"
    yield GaugeMetricFamily("imgmirror_hit_ratio", text, hits / (lookups or 1.0))
