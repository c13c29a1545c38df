"""Clients: their addresses are believed through trusted proxies only, and counted separately."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, cast

import pytest
from multidict import CIMultiDict

from proxy.config import ServerConfig
from proxy.errors import RateLimited
from proxy.web.connections.clients import (
    MAX_CLIENTS,
    RATE_LIMIT,
    Clients,
    bucket_of,
    client_address,
    clients_of,
    is_in_front,
)

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

PROXIES = ServerConfig.model_validate({"trusted_proxies": ["10.0.0.0/8", "fd00::/8"]}).trusted_proxies
XFF, FWD = "X-Forwarded-For", "Forwarded"


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        # Nobody trusted stands in between: a client may write what it likes.
        ("192.0.2.1", [(XFF, "198.51.100.9")], "192.0.2.1"),
        ("10.0.0.1", [(XFF, "198.51.100.9")], "198.51.100.9"),
        # From right to left, through trusted hops only; what lies left of the client is its own invention.
        ("10.0.0.1", [(XFF, "1.1.1.1, 198.51.100.9, 10.0.0.2")], "198.51.100.9"),
        ("10.0.0.1", [(XFF, "1.1.1.1"), (XFF, "198.51.100.9")], "198.51.100.9"),
        ("10.0.0.1", [(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", [(XFF, "198.51.100.9:4711")], "198.51.100.9"),
        ("10.0.0.1", [(XFF, "[2001:db8::1]:4711")], "2001:db8::1"),
        ("10.0.0.1", [(XFF, "::ffff:198.51.100.9")], "198.51.100.9"),
        ("::ffff:10.0.0.1", [(XFF, "198.51.100.9")], "198.51.100.9"),
        ("fd00::1", [(XFF, "2001:db8::1%eth0")], "2001:db8::1"),
        # What cannot be read ends the chain at the hop that said so.
        ("10.0.0.1", [(XFF, "unknown")], "10.0.0.1"),
        ("10.0.0.1", [(XFF, "198.51.100.9, nonsense, 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", [(XFF, "")], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [(XFF, "10.0.0.2," * 1000 + "10.0.0.2")], "10.0.0.2"),
        # RFC 7239.
        ("10.0.0.1", [(FWD, "for=198.51.100.9")], "198.51.100.9"),
        ("10.0.0.1", [(FWD, 'For="[2001:db8::1]:4711";proto=https')], "2001:db8::1"),
        ("10.0.0.1", [(FWD, 'for=1.1.1.1, by=10.0.0.9;for="198.51.100.9:80", for=10.0.0.2')], "198.51.100.9"),
        ("10.0.0.1", [(FWD, 'for="1.1.1.1, for=2.2.2.2", for=198.51.100.9')], "198.51.100.9"),
        ("10.0.0.1", [(FWD, "for=_hidden")], "10.0.0.1"),
        ("10.0.0.1", [(FWD, "proto=https")], "10.0.0.1"),
        ("10.0.0.1", [(FWD, 'for="')], "10.0.0.1"),
        # Both, and they do not agree: one was written by the client.
        ("10.0.0.1", [(XFF, "198.51.100.9"), (FWD, "for=198.51.100.9")], "198.51.100.9"),
        ("10.0.0.1", [(XFF, "198.51.100.9"), (FWD, "for=203.0.113.7")], "10.0.0.1"),
    ],
)  # fmt: skip
def test_client_is_the_first_hop_that_nobody_trusted_vouches_for(
    peer: str, headers: list[tuple[str, str]], client: str
) -> None:
    assert client_address(peer, CIMultiDict(headers), PROXIES) == ipaddress.ip_address(client)


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    headers = CIMultiDict({XFF: "198.51.100.9"})
    assert client_address("10.0.0.1", headers, ()) == ipaddress.ip_address("10.0.0.1")
    assert client_address(None, headers, ()) is None
    assert client_address("", headers, PROXIES) is None


def test_subscriber_of_ipv6_is_one_client() -> None:
    one, two, other = map(
        ipaddress.ip_address, ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:3::1")
    )
    assert bucket_of(one) == bucket_of(two) != bucket_of(other)
    assert bucket_of(ipaddress.ip_address("192.0.2.1")) != bucket_of(ipaddress.ip_address("192.0.2.2"))
    assert (
        len(
            {
                bucket_of(None),
                bucket_of(ipaddress.ip_address("0.0.0.0")),
                bucket_of(ipaddress.ip_address("::")),
            }
        )
        == 3
    )


def made(**keys: Any) -> Clients:
    clients = clients_of(ServerConfig.model_validate({"client_rate": 1, "client_burst": 3, **keys}))
    assert clients is not None
    return clients


class Peer:
    """A request from an address, as much as clients look at."""

    def __init__(self, address: str) -> None:
        self.remote = address
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.notes: dict[str, dict[str, str]] = {}

    def __setitem__(self, name: str, value: dict[str, str]) -> None:
        self.notes[name] = value


def ask(clients: Clients, address: str, *, now: float, path: str = "/image/x") -> dict[str, str]:
    peer = Peer(address)
    clients.admit(cast("BaseRequest", peer), path, now=now)
    return peer.notes.get(RATE_LIMIT, {})


def test_client_that_asks_too_much_is_refused_and_others_are_not() -> None:
    clients = made()
    seen = [ask(clients, "192.0.2.1", now=100.0) for _ in range(3)]
    assert seen[0] == {"RateLimit-Policy": '"client";q=3;w=3', "RateLimit": '"client";r=2;t=1'}
    assert seen[2]["RateLimit"] == '"client";r=0;t=3'
    with pytest.raises(RateLimited) as caught:
        ask(clients, "192.0.2.1", now=100.0)
    assert caught.value.retry_after_seconds == 1
    ask(clients, "192.0.2.2", now=100.0)
    ask(clients, "192.0.2.1", now=101.1)


def test_monitors_are_not_counted() -> None:
    clients = made(client_burst=1)
    for path in ("/healthz", "/readyz", "/metrics") * 3:
        assert ask(clients, "192.0.2.1", now=100.0, path=path) == {}
    assert len(clients) == 0


def test_reload_keeps_what_was_used_up() -> None:
    clients = made(client_burst=1)
    ask(clients, "192.0.2.1", now=100.0)
    config = ServerConfig.model_validate({"client_rate": 1, "client_burst": 1, "min_max_age": 5})
    after = clients_of(config, clients)
    assert after is not None
    with pytest.raises(RateLimited):
        ask(after, "192.0.2.1", now=100.0)
    assert clients_of(ServerConfig(), clients) is None


def test_clients_without_end_do_not_fill_the_memory() -> None:
    clients = made()
    for number in range(MAX_CLIENTS + 50):
        ask(clients, str(ipaddress.ip_address(number)), now=100.0)
    assert len(clients) == MAX_CLIENTS


@pytest.mark.parametrize(
    ("peer", "is_ours"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("192.0.2.1", False),
        ("", False),
        (None, False),
    ],
)
def test_files_are_handed_to_this_machine_and_to_trusted_proxies_only(
    peer: str | None, is_ours: bool
) -> None:
    """Anybody else would learn a path and get no picture."""
    assert is_in_front(peer, PROXIES) is is_ours
