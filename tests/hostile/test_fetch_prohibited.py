"""Prohibited addresses: no connection is made to them, by no spelling, name, redirect or change of DNS.

The victim is a server on 127.0.0.2 that counts who connects; the origin on 127.0.0.1 is the only one allowed.
Attempts are also counted where the event loop connects, for addresses nobody here can listen on.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fetching import fetch_config, fetched, fetching
from scripted_origin import ScriptedOrigin
from stub_resolver import StubResolver

from proxy.errors import SourceUnreachable
from proxy.fetch.fetcher import Fetcher

NAMES = {
    "origin.example": [["127.0.0.1"]],
    "inner.example": [["10.0.0.1"]],
    "victim.example": [["127.0.0.2"]],
    "victim6.example": [["::1"]],
    "mapped.example": [["::ffff:127.0.0.2"]],
    "many.example": [["10.0.0.1", "127.0.0.2", "::1", "169.254.169.254", "fe80::1"]],
    "nonsense.example": [["not an address"]],
    "localhost": [["127.0.0.2"]],
}

HOSTS = [
    "127.0.0.2", "127.0.2", "127.2", "2130706434", "0x7f000002", "0x7f.2", "0177.0.0.2", "017700000002",
    "%31%32%37.0.0.2", "１２７.0.0.2", "127。0。0。2", "127.0.0.2.", "0.0.0.0", "0", "[::]", "[::1]", "[::127.0.0.2]",
    "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[0:0:0:0:0:FFFF:7F00:2]", "[::ffff:0:127.0.0.2]", "[64:ff9b::7f00:2]",
    "[64:ff9b:1::7f00:2]", "[2002:7f00:2::]", "[2001:0:808:808:0:0:80ff:fffd]", "[2606:4700::5efe:7f00:2]",
    "[fe80::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
    "169.254.169.254", "255.255.255.255", "224.0.0.1", "198.18.0.1", "240.0.0.1",
    "inner.example", "victim.example", "victim6.example", "mapped.example", "many.example", "nonsense.example",
    "localhost", "VICTIM.example", "victim.example.",
]  # fmt: skip


class Attempts(list[str]):
    """The addresses that the event loop was told to connect to."""


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    seen = Attempts()
    loop_class: Any = asyncio.SelectorEventLoop
    connect = loop_class.sock_connect

    async def watched(loop: Any, sock: Any, address: Any) -> None:
        seen.append(address[0])
        await connect(loop, sock, address)

    monkeypatch.setattr(loop_class, "sock_connect", watched)
    return seen


@pytest.fixture
async def victim() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin(address="127.0.0.2") as server:
        server.serve("/secret", b"secret")
        yield server


@pytest.fixture
async def origin() -> AsyncIterator[ScriptedOrigin]:
    async with ScriptedOrigin() as server:
        yield server


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    config = fetch_config(allow_networks=["127.0.0.1/32"])
    async with fetching(config, resolver=StubResolver(NAMES)) as found:
        yield found


async def refusal(fetcher: Fetcher, url: str) -> SourceUnreachable:
    with pytest.raises(SourceUnreachable) as caught:
        await fetched(fetcher, url)
    assert caught.value.message == SourceUnreachable.public_message
    return caught.value


@pytest.mark.parametrize("host", HOSTS)
async def test_prohibited_address_is_not_connected_to(
    fetcher: Fetcher, victim: ScriptedOrigin, attempts: Attempts, host: str
) -> None:
    """There is not even a handshake, so nobody learns whether a port is open."""
    await refusal(fetcher, victim.url("/secret", host=host))
    assert attempts == []
    assert victim.connections == 0


@pytest.mark.parametrize("host", HOSTS)
async def test_redirect_to_prohibited_address_is_not_followed(
    fetcher: Fetcher, origin: ScriptedOrigin, victim: ScriptedOrigin, attempts: Attempts, host: str
) -> None:
    """Every redirect is checked when it connects."""
    origin.redirect("/r", victim.url("/secret", host=host))
    await refusal(fetcher, origin.url("/r"))
    assert attempts == ["127.0.0.1"]
    assert victim.connections == 0


async def test_redirect_chain_to_prohibited_address_is_not_followed(
    fetcher: Fetcher, origin: ScriptedOrigin, victim: ScriptedOrigin
) -> None:
    """This includes the last of many redirects, relative ones and names."""
    origin.redirect("/1", "/2", status=301)
    origin.redirect("/2", origin.url("/3", host="origin.example"), status=307)
    origin.redirect("/3", victim.url("/secret", host="victim.example"), status=308)
    await refusal(fetcher, origin.url("/1"))
    assert origin.count() == 3
    assert victim.connections == 0


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.2/",
        "gopher://127.0.0.2:70/_",
        "javascript:1",
        "data:,x",
        "unix:/run/x",
        "http:",
    ],
)
async def test_redirect_to_another_scheme_is_unreachable(
    fetcher: Fetcher, origin: ScriptedOrigin, location: str
) -> None:
    """The error is that of any other unreachable place."""
    origin.redirect("/r", location)
    await refusal(fetcher, origin.url("/r"))


async def test_name_that_moves_inside_between_hops_is_refused(
    origin: ScriptedOrigin, victim: ScriptedOrigin
) -> None:
    """DNS rebinding: the address of the connection is checked, not one that was looked up before."""
    names = StubResolver({"rebind.example": [["127.0.0.1"], ["127.0.0.2"]]})
    origin.redirect("/r", victim.url("/secret", host="rebind.example"))
    async with fetching(fetch_config(allow_networks=["127.0.0.1/32"]), resolver=names) as fetcher:
        await refusal(fetcher, origin.url("/r", host="rebind.example"))
    assert names.asked["rebind.example"] == 2
    assert origin.count("/r") == 1
    assert victim.connections == 0


async def test_name_with_an_inner_and_an_outer_address_reaches_only_the_outer(
    origin: ScriptedOrigin, victim: ScriptedOrigin, attempts: Attempts
) -> None:
    """A mixed answer of DNS does not help."""
    origin.serve("/a", b"outer")
    names = StubResolver({"mixed.example": [["127.0.0.2", "10.0.0.1", "127.0.0.1"]]})
    async with fetching(fetch_config(allow_networks=["127.0.0.1/32"]), resolver=names) as fetcher:
        _, body = await fetched(fetcher, origin.url("/a", host="mixed.example"))
    assert body == b"outer"
    assert attempts == ["127.0.0.1"]


async def test_environment_proxy_is_not_used(
    fetcher: Fetcher, origin: ScriptedOrigin, victim: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect on our behalf, to any address."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, victim.url("/"))
    origin.serve("/a", b"direct")
    assert (await fetched(fetcher, origin.url("/a")))[1] == b"direct"
    assert victim.connections == 0


async def test_prohibited_and_absent_look_the_same_but_in_the_log(
    fetcher: Fetcher, origin: ScriptedOrigin
) -> None:
    """Message, code and status are equal; only the private detail differs."""
    prohibited = await refusal(fetcher, "http://127.0.0.2/")
    await origin.stop()
    errors = [
        prohibited,
        await refusal(fetcher, origin.url("/")),
        await refusal(fetcher, "http://absent.example/"),
    ]
    assert len({(error.code, error.status, error.message, error.origin_status) for error in errors}) == 1
    assert "may not be connected to" in prohibited.detail
    assert len({error.detail for error in errors}) == 3


async def test_victim_is_reached_when_its_network_is_allowed(
    victim: ScriptedOrigin, attempts: Attempts
) -> None:
    """The measurement works: the same request with the network permitted arrives and is counted."""
    async with fetching(fetch_config(allow_networks=["127.0.0.0/8"])) as fetcher:
        assert (await fetched(fetcher, victim.url("/secret")))[1] == b"secret"
    assert attempts == ["127.0.0.2"]
    assert victim.connections == 1


async def test_reload_that_closes_a_network_closes_its_connections(origin: ScriptedOrigin) -> None:
    """An idle connection was checked under the old rules, so it is not used under the new ones."""
    origin.serve("/a", b"x")
    async with fetching() as fetcher:
        await fetched(fetcher, origin.url("/a"))
        fetcher.reconfigure(fetch_config(allow_networks=[]), check_hop=lambda _: None)
        await refusal(fetcher, origin.url("/a"))
        assert origin.count("/a") == 1
        fetcher.reconfigure(fetch_config(), check_hop=lambda _: None)
        await fetched(fetcher, origin.url("/a"))
