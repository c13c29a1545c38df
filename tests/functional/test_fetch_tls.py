"""TLS to origins: old suites are taken, broken ones and bad certificates are not."""

import asyncio
import ssl

import pytest
import trustme
from fetching import body_of, fetching
from scripted_origin import ScriptedOrigin

from proxy.errors import SourceUnreachable
from proxy.fetch.tls.contexts import origin_context

TAKEN = [
    "AES128-SHA", "AES256-SHA256", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
]  # fmt: skip


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.RSA)


def server(authority: trustme.CA, suite: str, *, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, key_type=trustme.KeyType.RSA).configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{suite}:@SECLEVEL=0")
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = origin_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("suite", TAKEN)
async def test_origin_with_an_old_suite_is_fetched_from(authority: trustme.CA, suite: str) -> None:
    """RSA key exchange and SHA-1 as MAC: browsers and curl connect."""
    async with ScriptedOrigin(ssl_context=server(authority, suite)) as origin:
        origin.serve("/a", b"picture")
        async with fetching(make_ssl_context=lambda: trusting(authority)) as fetcher:
            assert await body_of(fetcher, origin.url("/a")) == b"picture"


@pytest.mark.parametrize("suite", ["aNULL", "AECDH-AES128-SHA", "ECDHE-RSA-NULL-SHA", "NULL-SHA256"])
async def test_origin_with_a_broken_suite_is_unreachable(authority: trustme.CA, suite: str) -> None:
    """Nothing anonymous and nothing in the clear, and no request is sent."""
    async with ScriptedOrigin(ssl_context=server(authority, suite)) as origin:
        async with fetching(make_ssl_context=lambda: trusting(authority)) as fetcher:
            with pytest.raises(SourceUnreachable):
                await body_of(fetcher, origin.url("/a"))
        assert origin.count() == 0


async def test_origin_with_an_old_suite_and_another_name_is_unreachable(authority: trustme.CA) -> None:
    """An old suite changes nothing about the certificate."""
    async with ScriptedOrigin(ssl_context=server(authority, "AES128-SHA", name="x.example")) as origin:
        async with fetching(make_ssl_context=lambda: trusting(authority)) as fetcher:
            with pytest.raises(SourceUnreachable):
                await body_of(fetcher, origin.url("/a"))
        assert origin.count() == 0


async def test_authorities_are_read_once_and_for_origins_with_tls_only(authority: trustme.CA) -> None:
    """Reading them takes 50 ms, which a process that only meets other origins does not need at its start."""
    made: list[ssl.SSLContext] = []

    def make() -> ssl.SSLContext:
        made.append(trusting(authority))
        return made[-1]

    async with (
        ScriptedOrigin() as plain,
        ScriptedOrigin(ssl_context=server(authority, "AES128-SHA")) as secure,
        fetching(make_ssl_context=make) as fetcher,
    ):
        plain.serve("/a", b"plain")
        secure.serve("/a", b"secure")
        assert await body_of(fetcher, plain.url("/a")) == b"plain"
        assert not made
        both = [body_of(fetcher, f"{secure.url('/a')}?{number}") for number in range(2)]
        assert await asyncio.gather(*both) == [b"secure", b"secure"]
        assert len(made) == 1


async def test_origin_is_unreachable_while_there_is_no_context_for_it() -> None:
    """The library may refuse our suites. Origins without TLS are not concerned."""

    def refused() -> ssl.SSLContext:
        raise ssl.SSLError("no cipher can be selected")

    async with ScriptedOrigin() as plain, fetching(make_ssl_context=refused) as fetcher:
        plain.serve("/a", b"plain")
        for _ in range(20):
            with pytest.raises(SourceUnreachable) as unreachable:
                await body_of(fetcher, plain.url("/a").replace("http:", "https:"))
            assert unreachable.value.failure == "tls"
            assert "no cipher" in unreachable.value.detail
        # It is not the origin's fault.
        assert fetcher.open_circuits == 0
        assert await body_of(fetcher, plain.url("/a")) == b"plain"


def test_older_suites_stand_behind_the_modern_ones() -> None:
    """An origin that can do better is offered better first; TLS 1.1 and broken suites are not offered."""
    context = origin_context()
    suites = [suite["name"] for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    modern = [("GCM" in name or "CHACHA" in name) and name.startswith(("ECDHE", "DHE")) for name in suites]
    assert modern == sorted(modern, reverse=True)
    assert not [
        name for name in suites if any(bad in name for bad in ("RC4", "3DES", "NULL", "EXP", "ADH", "MD5"))
    ]
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
