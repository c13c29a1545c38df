"""Origins that do not send their intermediate certificates: completed as browsers do it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from authorities import Holder, root
from fetching import body_of, fetching
from http_client import Client
from incomplete_origin import FORMS, HOST, Server, below, meeting, put, refused, server_below, told, trusted
from pictures import disc_png
from scripted_origin import ScriptedOrigin, head, stall
from service import Service, write_config
from stub_resolver import StubResolver


@pytest.fixture(scope="module")
def authority() -> Holder:
    return root()


@pytest.fixture
async def shelf() -> AsyncIterator[ScriptedOrigin]:
    """Where authorities put their certificates."""
    async with ScriptedOrigin() as shelf:
        yield shelf


@pytest.mark.parametrize("form", FORMS)
async def test_missing_intermediate_is_fetched_in_every_form(
    authority: Holder, shelf: ScriptedOrigin, form: str
) -> None:
    """A certificate, a bundle with others in it, and both as text."""
    between = authority.issue("Between")
    put(shelf, "/between", between, form)
    async with meeting(server_below(between, shelf.url("/between")), authority) as (fetcher, origin):
        assert await body_of(fetcher, origin.url("/a")) == b"picture"
    assert shelf.count() == 1


async def test_complete_chain_costs_nothing(authority: Holder, shelf: ScriptedOrigin) -> None:
    """One handshake, and no address is asked."""
    between = authority.issue("Between")
    put(shelf, "/between", between)
    async with Server(server_below(between, shelf.url("/between")), between) as origin:
        async with fetching(**trusted(authority)) as fetcher:
            assert await body_of(fetcher, origin.url("/a")) == b"picture"
        assert origin.handshakes == 1
    assert shelf.count() == 0


@pytest.mark.parametrize("number", [2, 3])
async def test_several_missing_intermediates_are_fetched(
    authority: Holder, shelf: ScriptedOrigin, number: int
) -> None:
    """Each names the next, and no more are asked for than are missing."""
    async with meeting(below(shelf, authority, number), authority) as (fetcher, origin):
        assert await body_of(fetcher, origin.url("/a")) == b"picture"
    assert shelf.count() == number


async def test_fourth_missing_intermediate_is_not_fetched(authority: Holder, shelf: ScriptedOrigin) -> None:
    """Three are enough for any authority."""
    async with meeting(below(shelf, authority, 4), authority) as (fetcher, origin):
        await refused(fetcher, origin)
    assert shelf.count() == 3


async def test_second_fetch_asks_nobody_and_fails_no_handshake(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """The missing certificates of an origin are remembered."""
    async with meeting(below(shelf, authority, 1), authority) as (fetcher, origin):
        await body_of(fetcher, origin.url("/a"))
        before = origin.handshakes
        await body_of(fetcher, origin.url("/a"))
        assert origin.handshakes == before + 1
    assert shelf.count() == 1


async def test_intermediate_serves_all_hosts_below_it(authority: Holder, shelf: ScriptedOrigin) -> None:
    """Fetched for one host, used for the next."""
    between = authority.issue("Between")
    put(shelf, "/between", between)
    names = StubResolver({"one.example": [[HOST]], "two.example": [[HOST]]})
    async with fetching(resolver=names, **trusted(authority)) as fetcher:
        for host in ("one.example", "two.example"):
            async with Server(server_below(between, shelf.url("/between"), host=host)) as origin:
                assert await body_of(fetcher, origin.url("/a", host=host)) == b"picture"
    assert shelf.count() == 1


async def test_crowd_asks_once(authority: Holder, shelf: ScriptedOrigin) -> None:
    """Requests that come together share one search."""
    async with meeting(below(shelf, authority, 1), authority) as (fetcher, origin):
        bodies = await asyncio.gather(*(body_of(fetcher, origin.url("/a")) for _ in range(12)))
        assert bodies == [b"picture"] * 12
    assert shelf.count() == 1


async def test_crowd_survives_the_one_that_began_the_search(authority: Holder, shelf: ScriptedOrigin) -> None:
    """A cancelled fetch does not cancel the search for the others."""
    asked, release, between = asyncio.Event(), asyncio.Event(), authority.issue("Between")
    answer = head(200, [("Content-Length", str(len(between.der)))]) + between.der
    shelf.script("/between", told(asked, stall(release, after=answer)))
    async with meeting(server_below(between, shelf.url("/between")), authority) as (fetcher, origin):
        first = asyncio.create_task(body_of(fetcher, origin.url("/a")))
        second = asyncio.create_task(body_of(fetcher, origin.url("/a")))
        await asked.wait()
        first.cancel()
        release.set()
        assert await second == b"picture"
        assert first.cancelled()
    assert shelf.count() == 1


async def test_closing_ends_the_search(authority: Holder, shelf: ScriptedOrigin) -> None:
    """The waiting fetch fails as its handshake did."""
    asked = asyncio.Event()
    shelf.script("/between", told(asked, stall(asyncio.Event())))
    leaf = server_below(authority.issue("Between"), shelf.url("/between"))
    async with Server(leaf) as origin:
        async with fetching(**trusted(authority)) as fetcher:
            waiting = asyncio.create_task(refused(fetcher, origin))
            await asked.wait()
        await waiting


async def test_next_address_is_asked_when_one_has_nothing(authority: Holder, shelf: ScriptedOrigin) -> None:
    """Absent, garbage, then the certificate; those that are not http do not count."""
    between = authority.issue("Between")
    shelf.serve("/garbage", b"<html>")
    put(shelf, "/between", between)
    paths = ("/absent", "/garbage", "/between")
    addresses = ["ldap://h.example/cn=x", "https://h.example/x", *map(shelf.url, paths)]
    async with meeting(server_below(between, *addresses), authority) as (fetcher, origin):
        assert await body_of(fetcher, origin.url("/a")) == b"picture"
    assert [request.target for request in shelf.requests] == list(paths)


async def test_no_more_than_three_addresses_are_asked(authority: Holder, shelf: ScriptedOrigin) -> None:
    """A certificate may name hundreds."""
    leaf = server_below(authority.issue("Between"), *(shelf.url(f"/{n}") for n in range(100)))
    async with meeting(leaf, authority) as (fetcher, origin):
        await refused(fetcher, origin)
    assert shelf.count() == 3


async def test_completed_origin_is_well(authority: Holder, shelf: ScriptedOrigin) -> None:
    """Its circuit counts no failures, however often it is requested."""
    async with meeting(below(shelf, authority, 1), authority) as (fetcher, origin):
        for _ in range(7):
            await body_of(fetcher, origin.url("/a"))
        assert fetcher.open_circuits == 0


async def test_origin_that_cannot_be_completed_fails_as_before(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """Five failures of TLS open its circuit; then its authority is left alone as well."""
    leaf = server_below(authority.issue("Between"), shelf.url("/absent"))
    async with meeting(leaf, authority) as (fetcher, origin):
        for _ in range(7):
            await refused(fetcher, origin)
        assert fetcher.open_circuits == 1
    assert shelf.count() == 5


async def test_origin_under_another_authority_is_completed_anew(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """The memory of an origin is only a starting point."""
    async with fetching(**trusted(authority)) as fetcher:
        origin = Server(below(shelf, authority, 1))
        async with origin:
            await body_of(fetcher, origin.url("/a"))
        origin.show(below(shelf, authority, 2, names="Newer {}".format))
        async with origin:
            assert await body_of(fetcher, origin.url("/a")) == b"picture"
    assert shelf.count() == 3


async def test_service_answers_with_the_picture_of_such_an_origin(
    authority: Holder, shelf: ScriptedOrigin, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """The service uses its own event loop and the authorities given to OpenSSL, and `sources.deny` applies."""
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    async with (
        ScriptedOrigin() as denied,
        Server(below(shelf, authority, 2)) as origin,
        Server(below(denied, authority, 1)) as other,
    ):
        good = disc_png(50, 50)
        origin.serve("/x.png", good)
        config = write_config(tmp_path, {"sources": {"deny": [denied.url("/")]}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            with Service(config) as service:
                client = Client(http, service.base)
                answer = await client.get("/?" + origin.url("/x.png"))
                assert (answer.status, answer.body) == (200, good)
                answer = await client.get("/?" + other.url("/x.png"))
                assert (answer.status, answer.code) == (502, "source_unreachable")
                assert "Traceback" not in service.log()
        assert (shelf.count(), denied.connections, other.count()) == (2, 0, 0)
