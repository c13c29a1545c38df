"""Certificates that want more than to be completed: to be trusted, or to make us ask a prohibited address."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from authorities import Holder, root, trusting
from fetching import body_of, fetch_config, fetching
from incomplete_origin import HOST, Server, below, meeting, put, refused, server_below, trusted
from scripted_origin import ScriptedOrigin, endless, head, stall
from stub_resolver import StubResolver

from proxy.errors import SourceNotAllowed
from proxy.source import Source


@pytest.fixture(scope="module")
def authority() -> Holder:
    return root()


@pytest.fixture
async def shelf() -> AsyncIterator[ScriptedOrigin]:
    """The places where authorities publish their certificates."""
    async with ScriptedOrigin() as shelf:
        yield shelf


# Certificates that are not fetched


@pytest.mark.parametrize("way", ["address", "name", "redirect"])
async def test_prohibited_address_is_not_asked(authority: Holder, shelf: ScriptedOrigin, way: str) -> None:
    """A certificate does not lead into the inner network."""
    between = authority.issue("Between")
    async with ScriptedOrigin(address="127.0.0.2") as inner:
        put(inner, "/between", between)
        shelf.redirect("/between", inner.url("/between"))
        address = {
            "address": inner.url("/between"),
            "name": inner.url("/between", host="inner.example"),
            "redirect": shelf.url("/between"),
        }[way]
        config = fetch_config(allow_networks=["127.0.0.1/32"])
        names = StubResolver({"inner.example": [["127.0.0.2"]]})
        async with meeting(server_below(between, address), authority, config, resolver=names) as (
            fetcher,
            origin,
        ):
            await refused(fetcher, origin)
        assert inner.connections == 0
    assert shelf.count() == (way == "redirect")


async def test_address_in_an_opened_network_is_asked_only_when_it_is_admitted(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """`fetch.allow_networks` permits a network for sources that `sources.allow` names, not for addresses in
    certificates."""

    def only_the_origin(hop: Source) -> None:
        if hop.scheme != "https":
            raise SourceNotAllowed(detail=str(hop))

    async with meeting(below(shelf, authority, 1), authority, check_hop=only_the_origin) as (fetcher, origin):
        await refused(fetcher, origin)
        assert shelf.connections == 0
        fetcher.reconfigure(fetch_config(), check_hop=lambda _: None)
        assert await body_of(fetcher, origin.url("/a")) == b"picture"


async def test_denied_address_is_not_asked(authority: Holder, shelf: ScriptedOrigin) -> None:
    """`sources.deny` applies to certificates too."""
    async with meeting(below(shelf, authority, 1), authority, denied=lambda hop: hop.scheme == "http") as (
        fetcher,
        origin,
    ):
        await refused(fetcher, origin)
    assert shelf.connections == 0


async def test_https_address_is_not_asked(authority: Holder) -> None:
    """Its own certificate could need the same. This applies to redirects as well."""
    between = authority.issue("Between")
    async with ScriptedOrigin(ssl_context=authority.issue(HOST, is_ca=False).serve()) as secure:
        put(secure, "/between", between)
        async with ScriptedOrigin() as plain:
            plain.redirect("/between", secure.url("/between"))
            leaf = server_below(between, secure.url("/between"), plain.url("/between"))
            async with meeting(leaf, authority) as (fetcher, origin):
                await refused(fetcher, origin)
            assert plain.count() == 1
        assert secure.connections == 0


async def test_redirect_to_the_certificate_is_followed(authority: Holder, shelf: ScriptedOrigin) -> None:
    """The limits are those of pictures."""
    between = authority.issue("Between")
    put(shelf, "/there", between)
    shelf.redirect("/here", "/there")
    async with meeting(server_below(between, shelf.url("/here")), authority) as (fetcher, origin):
        assert await body_of(fetcher, origin.url("/a")) == b"picture"


async def test_what_a_profile_adds_is_not_sent_for_a_certificate(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """A profile belongs to the pictures of a host, and may be a secret."""
    profiles = {"p": {"hosts": [HOST], "headers": {"Authorization": "secret"}}}
    async with Server(below(shelf, authority, 1)) as origin:
        async with fetching(fetch_config(profiles=profiles), **trusted(authority)) as fetcher:
            await body_of(fetcher, origin.url("/a"))
        assert origin.requests[0].header("Authorization") == "secret"
    assert shelf.requests[0].header("Authorization") is None


# Certificates that are fetched and do not help


async def test_oversized_answer_is_refused(authority: Holder, shelf: ScriptedOrigin) -> None:
    """64 KiB are enough for a bundle."""
    between = authority.issue("Between")
    shelf.script("/endless", endless(between.pem, before=head(200)))
    async with meeting(server_below(between, shelf.url("/endless")), authority) as (fetcher, origin):
        await refused(fetcher, origin)


async def test_slow_answers_are_a_failure_of_tls(authority: Holder, shelf: ScriptedOrigin) -> None:
    """This is not a timeout of the origin, which was not slow. At most half of the fetch's time is spent on it."""
    for path in ("/1", "/2", "/3"):
        shelf.script(path, stall(asyncio.Event()))
    leaf = server_below(authority.issue("Between"), *map(shelf.url, ("/1", "/2", "/3")))
    async with meeting(leaf, authority, fetch_config(timeout="3s")) as (fetcher, origin):
        await refused(fetcher, origin)


@pytest.mark.parametrize("answer", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\n!\n", b"0\x82\xff\xff"])
async def test_garbage_is_no_certificate(authority: Holder, shelf: ScriptedOrigin, answer: bytes) -> None:
    """The format of the answer does not matter."""
    shelf.serve("/between", answer)
    leaf = server_below(authority.issue("Between"), shelf.url("/between"))
    async with meeting(leaf, authority) as (fetcher, origin):
        await refused(fetcher, origin)


async def test_certificate_that_names_no_address_is_refused(authority: Holder) -> None:
    """No address names an issuer."""
    async with meeting(server_below(authority.issue("Between")), authority) as (fetcher, origin):
        await refused(fetcher, origin)


async def test_issuers_that_issue_each_other_are_asked_once(authority: Holder, shelf: ScriptedOrigin) -> None:
    """A circle contains no authority."""
    one = root("One")
    other = one.issue("Other", aia=[shelf.url("/one")])
    put(shelf, "/one", other.issue("One", aia=[shelf.url("/other")], key=one.key))
    put(shelf, "/other", other)
    async with meeting(server_below(other, shelf.url("/other")), authority) as (fetcher, origin):
        await refused(fetcher, origin)
    assert shelf.count() == 2


@pytest.mark.parametrize("number", [0, 1])
async def test_unknown_root_that_is_fetched_is_not_trusted(
    authority: Holder, shelf: ScriptedOrigin, number: int
) -> None:
    """Nobody becomes an authority by lying at an address, and neither do the intermediates below."""
    stranger = root("Stranger")
    put(shelf, "/stranger", stranger)
    above = stranger
    if number:
        above = stranger.issue("Between", aia=[shelf.url("/stranger")])
        put(shelf, "/between", above)
    address = shelf.url("/between" if number else "/stranger")
    async with meeting(server_below(above, address), authority) as (fetcher, origin):
        await refused(fetcher, origin)
    assert shelf.count() == number + 1


@pytest.mark.parametrize("links", [True, False])
async def test_root_under_two_spellings_of_its_name_is_not_trusted(
    authority: Holder, shelf: ScriptedOrigin, links: bool
) -> None:
    """OpenSSL takes "Evil Root" and "EVIL  root" for one name, so it sees this certificate as self-signed."""
    stranger = root("Evil Root", issuer_name="EVIL  root", links=links)
    assert stranger.certificate.subject != stranger.certificate.issuer
    put(shelf, "/stranger", stranger)
    async with meeting(server_below(stranger, shelf.url("/stranger")), authority) as (fetcher, origin):
        await refused(fetcher, origin)


async def test_intermediate_without_key_identifiers_is_not_used(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """Only such certificates make OpenSSL look for their issuer for certain."""
    between = authority.issue("Between", links=False)
    put(shelf, "/between", between)
    async with meeting(server_below(between, shelf.url("/between")), authority) as (fetcher, origin):
        await refused(fetcher, origin)


async def test_intermediate_is_no_anchor_even_where_partial_chains_are_taken(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """Python 3.13 sets that flag by itself."""

    def lenient() -> ssl.SSLContext:
        context = trusting(authority)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    async with meeting(below(shelf, root("Stranger"), 1), authority, make_ssl_context=lenient) as (
        fetcher,
        origin,
    ):
        await refused(fetcher, origin)
    assert shelf.count() == 1


@pytest.mark.parametrize("fault", ["expired", "no authority", "another's signature"])
async def test_intermediate_with_a_fault_is_refused(
    authority: Holder, shelf: ScriptedOrigin, fault: str
) -> None:
    """OpenSSL treats it like one that the origin sent."""
    issuer = root() if fault == "another's signature" else authority
    between = issuer.issue("Between", days=-1 if fault == "expired" else 30, is_ca=fault != "no authority")
    put(shelf, "/between", between)
    async with meeting(server_below(between, shelf.url("/between")), authority) as (fetcher, origin):
        await refused(fetcher, origin)
    assert shelf.count() == 1


@pytest.mark.parametrize("fault", ["expired", "other host"])
async def test_certificate_with_a_fault_stays_refused(
    authority: Holder, shelf: ScriptedOrigin, fault: str
) -> None:
    """A complete chain repairs nothing else, not even the second time, when the intermediate is known."""
    between = authority.issue("Between")
    put(shelf, "/between", between)
    good = server_below(between, shelf.url("/between"))
    host, days = ("other.example", 30) if fault == "other host" else (HOST, -1)
    bad = server_below(between, shelf.url("/between"), host=host, days=days)
    async with fetching(**trusted(authority)) as fetcher:
        async with Server(bad) as origin:
            await refused(fetcher, origin)
        async with Server(good) as well:
            assert await body_of(fetcher, well.url("/a")) == b"picture"
        async with Server(bad) as origin:
            await refused(fetcher, origin)


async def test_forged_intermediate_is_not_remembered(authority: Holder, shelf: ScriptedOrigin) -> None:
    """It has the right name and key, and comes over http. The next request asks again."""
    between = authority.issue("Between")
    put(shelf, "/between", root("Stranger").issue("Between", key=between.key))
    async with meeting(server_below(between, shelf.url("/between")), authority) as (fetcher, origin):
        await refused(fetcher, origin)
        put(shelf, "/between", between)
        assert await body_of(fetcher, origin.url("/a")) == b"picture"


async def test_nothing_is_sent_before_the_certificate_is_verified(
    authority: Holder, shelf: ScriptedOrigin
) -> None:
    """Looking at a certificate needs no request: the only request to the origin is that for the picture."""
    async with meeting(below(shelf, authority, 1), authority) as (fetcher, origin):
        await body_of(fetcher, origin.url("/a"))
        assert Counter(request.target for request in origin.requests) == {"/a": 1}
        assert origin.handshakes == 4
