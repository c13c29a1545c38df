"""Counts answers in plain numbers and writes them to the metrics a moment later.

A metric takes a lock and, with several workers, writes to a mapped file. Updating three metrics takes longer than
answering a hit from memory. Event loop; `write` may run in another thread while nothing is being added.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from proxy.observe.metrics import MEMORY_HIT_BUCKETS, Metrics


class AnswerCounts:
    """The answers since the last `write`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._counts: Counter[tuple[str, int]] = Counter()
        self._bytes = 0
        self._buckets = [0] * (len(MEMORY_HIT_BUCKETS) + 1)
        self._seconds = 0.0

    def add(self, route: str, status: int, *, bytes_sent: int) -> None:
        """Count an answer."""
        self._counts[route, status] += 1
        self._bytes += bytes_sent

    def add_memory_hit(self, seconds: float) -> None:
        """Count the time of a picture answered from memory."""
        self._buckets[bisect_left(MEMORY_HIT_BUCKETS, seconds)] += 1
        self._seconds += seconds

    def write(self) -> None:
        """Add the counts to the metrics and reset them."""
        for (route, status), count in self._counts.items():
            self._metrics.requests.labels(route, str(status)).inc(count)
        self._counts.clear()
        self._metrics.bytes_sent.inc(self._bytes)
        if any(self._buckets):
            self._metrics.memory_hit_seconds.add(self._buckets, self._seconds)
        self._bytes, self._seconds = 0, 0.0
        self._buckets = [0] * len(self._buckets)
