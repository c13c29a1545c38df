"""Serves one request for a picture. `way.py` tells the whole way from top to bottom; the other modules are its steps.

The steps share `ServingParts`, which `app` creates once for each process. No I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cache.across.singleflight import SingleFlight
from cache.durable_tier import Originals
from cache.variants.bounded_tier import Variants
from cache.variants.memory import MemoryTier
from proxy.config import FetchConfig
from proxy.fetch.fetcher import Fetcher
from proxy.observe.metrics import Metrics
from proxy.observe.traces import NOT_TRACED, Traces
from proxy.services.serving.rendering import Rendering


@dataclass(slots=True)
class ServingParts:
    """The parts that the steps share. config: a reload replaces it, so each step reads it anew.

    store: the originals. bodies: the variants by their keys. memory: hot answers, and originals that the disk refused.
    """

    store: Originals
    bodies: Variants
    memory: MemoryTier
    fetcher: Fetcher
    rendering: Rendering
    flight: SingleFlight
    metrics: Metrics
    config: FetchConfig
    traces: Traces = NOT_TRACED
    now: Callable[[], float] = time.time
