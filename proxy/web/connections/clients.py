"""Clients: who asks, seen through trusted proxies, and how much one of them may ask for. Event loop.

An address is believed from right to left: the peer is a fact; what it reports counts when it is a trusted proxy,
and so on, until the first hop that nobody trusted vouches for. `X-Forwarded-For` and `Forwarded` (RFC 7239) must
agree where both are sent: a proxy writes one of them and passes the other on as the client wrote it.
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
"""Clients remembered, about 100 bytes each; whoever was forgotten begins with a full bucket."""

MAX_HOPS = 32
"""More proxies in a row are a made-up header."""

RATE_LIMIT = "imgmirror.rate_limit"
"""Where a request holds the headers for its answer."""

_POLICY_NAME = '"client"'
_ELEMENT = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*")+')
_FOR = re.compile(r'(?:^|;)\s*for=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))', re.IGNORECASE)
_UNLIMITED = frozenset({"/healthz", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a client may still ask for, as headers (draft-ietf-httpapi-ratelimit-headers)."""

    taken: RateAnswer
    rate: Rate

    @property
    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy`: `r` whole requests are left, in `t` seconds there are more."""
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
        """Take another rate and other proxies; what clients have used up stays used up."""
        self._trusted = config.trusted_proxies
        self._rate = Rate(config.client_rate, config.client_burst)

    def admit(self, request: web.BaseRequest, path: str, *, now: float) -> None:
        """Count a request, and note the headers of its answer; monitors are not counted.

        Raises:
            RateLimited: the client has used up what it may ask for.
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
    """Return the clients of a configuration, those of `before` as they are; None when nothing is limited."""
    if not config.client_rate:
        return None
    if before is None:
        return Clients(config)
    before.reconfigure(config)
    return before


def client_address(
    peer: str | None, headers: Mapping[str, str], trusted: Iterable[Network]
) -> Address | None:
    """Return the address of the client behind `trusted` proxies; None when the peer has none (a Unix socket)."""
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
    """Tell whether a peer is, or may be, our own proxy: it is on this machine, or it is trusted."""
    address = _address(peer or "")
    return address is not None and (address.is_loopback or _is_trusted(address, tuple(trusted)))


def bucket_of(address: Address | None) -> int:
    """Return the number under which a client is counted: the address, of IPv6 the /64 that one subscriber has."""
    if address is None:
        return -1
    return int(address) if isinstance(address, IPv4Address) else int(address) >> 64 | 1 << 64


def _through(peer: Address, hops: Iterator[str], trusted: tuple[Network, ...]) -> Address:
    """Follow reported hops, the nearest first, as far as trusted ones vouch for them."""
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
    # Several lines of one list are one list (RFC 9110 §5.3).
    getall = getattr(headers, "getall", None)
    return ",".join(getall(name, ())) if getall else headers.get(name, "")


def _listed(text: str) -> Iterator[str]:
    return (part.strip() for part in reversed(text.split(",")))


def _forwarded(text: str) -> Iterator[str]:
    for element in reversed(_ELEMENT.findall(text)):
        match = _FOR.search(element)
        yield (match[1] or match[2] or "") if match else ""


def _address(text: str) -> Address | None:
    """Read `1.2.3.4`, `1.2.3.4:80`, `2001:db8::1`, `[2001:db8::1]:80`; None for anything else."""
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
