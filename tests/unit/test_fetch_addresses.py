"""Addresses that may be connected to, against IANA's registries, with every way to carry IPv4 in IPv6."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.fetch.addresses import is_prohibited, prohibited_text

# IANA IPv4 Special-Purpose Address Registry: all blocks whose "Globally Reachable" is not True; first and last.
NOT_REACHABLE_V4 = [
    "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0",
    "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0",
    "172.31.255.255", "192.0.0.0", "192.0.0.8", "192.0.0.11", "192.0.0.170", "192.0.0.171", "192.0.0.255",
    "192.0.2.0", "192.0.2.255", "192.88.99.0", "192.88.99.255", "192.168.0.0", "192.168.255.255", "198.18.0.0",
    "198.19.255.255", "198.51.100.0", "198.51.100.255", "203.0.113.0", "203.0.113.255", "240.0.0.0",
    "255.255.255.254", "255.255.255.255",
    # IPv4 Multicast Address Space Registry
    "224.0.0.0", "224.0.0.1", "239.255.255.255", "232.1.2.3",
]  # fmt: skip

# The neighbours of those blocks, and the blocks that the registry lists as reachable.
REACHABLE_V4 = [
    "1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
    "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.0.9",
    "192.0.0.10", "192.0.1.0", "192.0.3.0", "192.31.196.1", "192.52.193.1", "192.88.98.255", "192.88.100.0",
    "192.167.255.255", "192.169.0.0", "192.175.48.1", "198.17.255.255", "198.20.0.0", "198.51.99.255",
    "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
]  # fmt: skip

# IANA IPv6 Special-Purpose Address Registry, IPv6 Address Space, IPv6 Multicast; first and last.
NOT_REACHABLE_V6 = [
    "::", "::1", "::2", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1:0:0", "100::",
    "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "2001:2::",
    "2001:2:0:ffff:ffff:ffff:ffff:ffff", "2001:10::", "2001:1f:ffff::", "2001:1::4", "2001:4:111::", "2001:40::",
    "2001:1ff:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff::", "3fff::",
    "3fff:fff:ffff::", "4000::", "5f00::", "5f00:ffff::", "1fff::", "200::", "fc00::", "fd12:3456::1",
    "fdff:ffff::", "fe80::", "fe80::1", "febf:ffff::", "fec0::", "fec0::1", "feff:ffff::", "ff00::", "ff02::1",
    "ff0e::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
]  # fmt: skip
REACHABLE_V6 = [
    "2001:1::1", "2001:1::2", "2001:1::3", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:2f::1", "2001:30::1",
    "2001:3f::1", "2001:200::1", "2001:db7::1", "2001:db9::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111",
    "2620:4f:8000::1", "2a00:1450::1", "3ffe::1", "3fff:1000::1",
]  # fmt: skip

CARRIERS: dict[str, Callable[[int], IPv6Address]] = {
    "mapped, RFC 4291": lambda v4: IPv6Address(0xFFFF << 32 | v4),
    "compatible, RFC 4291": IPv6Address,
    "translated, RFC 2765": lambda v4: IPv6Address(0xFFFF << 48 | v4),
    "6to4, RFC 3056": lambda v4: IPv6Address(0x2002 << 112 | v4 << 80 | 1),
    "NAT64, RFC 6052": lambda v4: IPv6Address(int(IPv6Address("64:ff9b::")) | v4),
    "local NAT64 /96, RFC 8215": lambda v4: IPv6Address(int(IPv6Address("64:ff9b:1::")) | v4),
    "local NAT64 /48, RFC 6052": lambda v4: IPv6Address(
        int(IPv6Address("64:ff9b:1::")) | (v4 >> 16) << 64 | (v4 & 0xFFFF) << 40
    ),
    "Teredo client, RFC 4380": lambda v4: IPv6Address(0x20010000 << 96 | 0x08080808 << 64 | v4 ^ 0xFFFFFFFF),
    "Teredo server, RFC 4380": lambda v4: IPv6Address(0x20010000 << 96 | v4 << 64 | 0x08080808 ^ 0xFFFFFFFF),
    "ISATAP, RFC 5214": lambda v4: IPv6Address(0x26064700 << 96 | 0x5EFE << 32 | v4),
    "ISATAP universal, RFC 5214": lambda v4: IPv6Address(0x26064700 << 96 | 0x0200_5EFE << 32 | v4),
}


@pytest.mark.parametrize("text", NOT_REACHABLE_V4 + NOT_REACHABLE_V6)
def test_address_not_globally_reachable_is_prohibited(text: str) -> None:
    """Every block that the registries do not list as globally reachable, its ends included."""
    assert is_prohibited(ip_address(text))


@pytest.mark.parametrize("text", REACHABLE_V4 + REACHABLE_V6)
def test_address_globally_reachable_is_not_prohibited(text: str) -> None:
    """The neighbours of the blocks, and the exceptions inside them."""
    assert not is_prohibited(ip_address(text))


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("text", NOT_REACHABLE_V4)
def test_ipv6_that_carries_such_ipv4_is_prohibited(carrier: str, text: str) -> None:
    """No disguise of an IPv4 address opens it."""
    assert is_prohibited(CARRIERS[carrier](int(IPv4Address(text))))


@pytest.mark.parametrize("carrier", CARRIERS)
@given(v4=st.integers(0, 2**32 - 1))
def test_ipv6_carrier_is_never_more_open_than_what_it_carries(carrier: str, v4: int) -> None:
    """This is the general rule behind the table above."""
    if is_prohibited(IPv4Address(v4)):
        assert is_prohibited(CARRIERS[carrier](v4))


def test_nat64_of_a_public_address_is_reachable() -> None:
    """Hosts without IPv4 reach the IPv4 internet this way (RFC 6052)."""
    assert not is_prohibited(ip_address("64:ff9b::8.8.8.8"))


@given(value=st.integers(0, 2**128 - 1))
def test_ipv6_outside_of_global_unicast_is_prohibited(value: int) -> None:
    """Only 2000::/3 and NAT64 are handed out for use (IPv6 Address Space Registry)."""
    address = IPv6Address(value)
    if address not in ip_network("2000::/3") and address not in ip_network("64:ff9b::/96"):
        assert is_prohibited(address)


def test_allowed_network_opens_the_addresses_in_it_and_no_others() -> None:
    """A network of one family says nothing of the other, nor of disguises."""
    networks = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    assert not is_prohibited(ip_address("127.0.0.1"), networks)
    assert not is_prohibited(ip_address("fd00::1"), networks)
    for text in ("10.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fc00::1"):
        assert is_prohibited(ip_address(text), networks)


def test_allowed_network_of_everything_opens_everything() -> None:
    """The operator's word is the last one."""
    networks = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert not any(is_prohibited(ip_address(text), networks) for text in NOT_REACHABLE_V4 + NOT_REACHABLE_V6)


@pytest.mark.parametrize(
    "text", ["", "localhost", "example.com", "127.1", "2130706433", "0x7f.1", "[::1]", "1.2.3.4 "]
)
def test_text_that_is_no_address_is_prohibited(text: str) -> None:
    """A name at the moment of connecting means that somebody else would resolve it."""
    assert prohibited_text(text)


def test_address_with_a_zone_is_judged_by_its_address() -> None:
    """A zone index changes nothing."""
    assert prohibited_text("fe80::1%1")
    assert not prohibited_text("2606:4700::1111%1")
