"""The input and the results of a fetch: rules, sinks and answers. Event loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.config import FetchConfig
from proxy.fetch.answers.body import Framing
from proxy.fetch.answers.codings import Headers
from proxy.fetch.connector import Client
from proxy.fetch.exchange.asking import Asking
from proxy.fetch.politeness.breaker import Breaker
from proxy.fetch.politeness.pace import Pace
from proxy.fetch.politeness.slots import OriginTurns
from proxy.fetch.tls.chains import Chains
from proxy.source import Source


class Sink(Protocol):
    """The destination of a body. Its own exceptions pass through a fetch unchanged."""

    async def write(self, chunk: bytes) -> None:
        """Take the next decoded bytes of a final 200."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A complete answer, whose bytes are in the sink.

    `headers` are those of the final answer, with names in lower case and values as latin-1. `size` counts decoded
    bytes. With `framing` "close", only the format can show whether the body is complete. Times are Unix seconds around
    the final request (RFC 9111 §4.2.3).
    """

    status: int
    headers: Headers
    final_url: str
    size: int
    framing: Framing
    request_time: float
    response_time: float
    redirects: int


@dataclass(frozen=True, slots=True)
class NotModified:
    """The origin confirmed the original that the validators named (RFC 9110 §15.4.5)."""

    headers: Headers
    request_time: float
    response_time: float


@dataclass(frozen=True, slots=True)
class FetchRules:
    """The settings and shared parts for one whole fetch. A reload makes new ones."""

    config: FetchConfig
    check_hop: Callable[[Source], None]
    asking: Asking
    client: Client
    turns: OriginTurns
    breaker: Breaker
    pace: Pace
    clock: Callable[[], float]
    denied: Callable[[Source], bool]
    chains: Chains
    public_client: Client
    """Reaches public addresses only, whatever `fetch.allow_networks` says."""


class Enough(Exception):
    """The sink has taken as much of the body as it needs."""


class Beginning:
    """A sink in memory that takes `size` bytes."""

    def __init__(self, size: int) -> None:
        self.data = bytearray()
        self._size = size

    async def write(self, chunk: bytes) -> None:
        self.data += chunk[: self._size - len(self.data)]
        if len(self.data) >= self._size:
            raise Enough
