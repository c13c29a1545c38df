"""The `process_*` metrics: processor time, memory and open files of all web processes, from /proc. Blocking.

The Prometheus library collects them for one process only, and not at all with several workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

_EARLIEST = "process_start_time_seconds"


class Processes(Collector):
    """Sums the figures of several processes and reports the earliest of their start times."""

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, or none on a system without /proc."""
        total: dict[str, Metric] = {}
        for pid in self._pids():
            for metric in _figures(pid):
                known = total.setdefault(metric.name, metric)
                if known is not metric:
                    _combine(known, metric)
        return list(total.values())


def _figures(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()


def _combine(known: Metric, other: Metric) -> None:
    before, sample = known.samples[0], other.samples[0]
    value = min(before.value, sample.value) if known.name == _EARLIEST else before.value + sample.value
    known.samples[0] = before._replace(value=value)
