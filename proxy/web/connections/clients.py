"""Finds the address of a client behind trusted proxies, and limits the rate of its requests. Event loop.

The list of hops is read from right to left. The address of the peer is a fact. If the peer is a trusted proxy, the
address that it reports is believed, and so on up to the first address that is not a trusted proxy. If a request carries
both `X-Forwarded-For` and `Forwarded` (RFC 7239), they must agree: a proxy writes one of them and passes the other on
as the client wrote it.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from aiohttp import web

from proxy.config import Network, ServerConfig
from proxy.errors import RateLimited
from proxy.rate import Rate, RateAnswer

Address = IPv4Address | IPv6Address

MAX_CLIENTS = 65_536
"""Number of clients remembered, about 100 bytes each. A forgotten client starts again with a full bucket."""

MAX_HOPS = 32
"""A header with more proxies in a row is made up."""

RATE_LIMIT = "imgmirror.rate_limit"
"""The key under which a request holds the rate limit headers of its answer."""

_POLICY_NAME = '"client"'
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_FOR = re.compile(r'(?:^|;)\s*for=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))', re.IGNORECASE)
_UNLIMITED = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class Allowance:
    """How many requests a client has left, as headers (draft-ietf-httpapi-ratelimit-headers)."""

    taken: RateAnswer
    rate: Rate

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy`: `r` whole requests are left, and more are available in `t` seconds."""
        seconds = self.taken.full_seconds if self.taken.allowed else self.taken.wait_seconds
        window = math.ceil(self.rate.burst / self.rate.per_second)
        return {
            "RateLimit-Policy": f"{_POLICY_NAME};q={self.rate.burst};w={window}",
            "RateLimit": f"{_POLICY_NAME};r={self.taken.remaining};t={math.ceil(seconds)}",
        }


class Clients:
    """The buckets of all clients of this process."""

    def __init__(self, config: ServerConfig) -> None:
        self._trusted = config.trusted_proxies
        self._rate = Rate(config.client_rate, config.client_burst)
        self._full_at: OrderedDict[int, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def reconfigure(self, config: ServerConfig) -> None:
        """Apply a new rate and new trusted proxies. Requests that clients have used up stay used up."""
        self._trusted = config.trusted_proxies
        self._rate = Rate(config.client_rate, config.client_burst)

    def admit(self, request: web.BaseRequest, path: str, *, now: float) -> None:
        """Count a request and note the rate limit headers of its answer. Requests of monitors are not counted.

        Raises:
            RateLimited: the client has used up its requests.
        """
        if path in _UNLIMITED:
            return
        bucket = bucket_of(client_address(request.remote, request.headers, self._trusted))
        taken = self._rate.take(self._full_at.get(bucket, 0.0), now=now)
        self._full_at[bucket] = taken.full_at
        self._full_at.move_to_end(bucket)
        if len(self._full_at) > MAX_CLIENTS:
            self._full_at.popitem(last=False)
        request[RATE_LIMIT] = Allowance(taken, self._rate).headers
        if not taken.allowed:
            error = RateLimited()
            error.retry_after_seconds = math.ceil(taken.wait_seconds)
            raise error


def clients_of(config: ServerConfig, before: Clients | None = None) -> Clients | None:
    """Return the clients of a configuration, reusing `before`; None when there is no rate limit."""
    if not config.client_rate:
        return None
    if before is None:
        return Clients(config)
    before.reconfigure(config)
    return before


def client_address(
    peer: str | None, headers: Mapping[str, str], trusted: Iterable[Network]
) -> Address | None:
    """Return the address of the client behind `trusted` proxies; None when the peer has no address (a Unix socket)."""
    address = _address(peer or "")
    trusted = tuple(trusted)
    if address is None or not trusted or not _is_trusted(address, trusted):
        return address
    reports = [
        _through(address, hops(_joined(headers, name)), trusted)
        for name, hops in (("X-Forwarded-For", _listed), ("Forwarded", _forwarded))
        if name in headers
    ]
    return reports[0] if reports and all(report == reports[0] for report in reports) else address


def is_in_front(peer: str | None, trusted: Iterable[Network]) -> bool:
    """Return whether a peer may be our own proxy: it is on this machine, or it is trusted."""
    address = _address(peer or "")
    return address is not None and (address.is_loopback or _is_trusted(address, tuple(trusted)))


def is_trusted_peer(peer: str | None, trusted: Iterable[Network]) -> bool:
    """Return whether a peer is a trusted proxy."""
    address = _address(peer or "")
    return address is not None and _is_trusted(address, tuple(trusted))


def bucket_of(address: Address | None) -> int:
    """Return the number under which a client is counted: its IPv4 address, or its /64 in IPv6 (one subscriber)."""
    if address is None:
        return -1
    return int(address) if isinstance(address, IPv4Address) else int(address) >> 64 | 1 << 64


def _through(peer: Address, hops: Iterator[str], trusted: tuple[Network, ...]) -> Address:
    """Follow the reported hops, nearest first, up to the first one that is not trusted, and return that address."""
    believed = peer
    for _, hop in zip(range(MAX_HOPS), hops, strict=False):
        address = _address(hop)
        if address is None:
            break
        believed = address
        if not _is_trusted(address, trusted):
            break
    return believed


def _joined(headers: Mapping[str, str], name: str) -> str:
    # RFC 9110 §5.3: several field lines form one list.
    getall = getattr(headers, "getall", None)
    return ",".join(getall(name, ())) if getall else headers.get(name, "")


def _listed(text: str) -> Iterator[str]:
    return (part.strip() for part in reversed(text.split(",")))


def _forwarded(text: str) -> Iterator[str]:
    for element in reversed(_ELEMENT.findall(text)):
        match = _FOR.search(element)
        yield (match[1] or match[2] or "") if match else ""


def _address(text: str) -> Address | None:
    """Parse `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1` or `[2001:db8::1]:80`; return None for anything else."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_trusted(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)
