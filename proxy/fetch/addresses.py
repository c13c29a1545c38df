"""Decides which IP addresses may be connected to: those that IANA lists as globally reachable. Pure.

Sources: the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890, as of 2025) and the IPv6 address space
registry (only 2000::/3 is global unicast). It also handles IPv4 addresses inside IPv6 ones: mapped and compatible (RFC
4291 §2.5.5), translated (RFC 2765), 6to4 (RFC 3056), NAT64 (RFC 6052, RFC 8215), Teredo (RFC 4380), ISATAP (RFC 5214).
Host names are not judged here; the address of the actual connection is. `ipaddress.is_global` is not used, because it
accepts several of these addresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NOT_REACHABLE_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network", RFC 791
        "10.0.0.0/8",  # private use, RFC 1918
        "100.64.0.0/10",  # shared address space (CGNAT), RFC 6598
        "127.0.0.0/8",  # loopback, RFC 1122
        "169.254.0.0/16",  # link-local and cloud metadata, RFC 3927
        "172.16.0.0/12",  # private use, RFC 1918
        "192.0.0.0/24",  # IETF protocol assignments, RFC 6890
        "192.0.2.0/24",  # TEST-NET-1, RFC 5737
        "192.88.99.0/24",  # 6to4 relay anycast, withdrawn by RFC 7526
        "192.168.0.0/16",  # private use, RFC 1918
        "198.18.0.0/15",  # benchmarking, RFC 2544
        "198.51.100.0/24",  # TEST-NET-2, RFC 5737
        "203.0.113.0/24",  # TEST-NET-3, RFC 5737
        "224.0.0.0/4",  # multicast, RFC 5771
        "240.0.0.0/4",  # reserved, RFC 1112, and limited broadcast, RFC 8190
    )
)
REACHABLE_WITHIN_V4 = tuple(
    IPv4Network(text)
    for text in (
        "192.0.0.9/32",  # Port Control Protocol anycast, RFC 7723
        "192.0.0.10/32",  # TURN anycast, RFC 8155
    )
)
GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
"""All other addresses are reserved, local, multicast or fec0::/10 (IPv6 address space registry)."""
NOT_REACHABLE_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments, RFC 2928; Teredo 2001::/32 is among them
        "2001:db8::/32",  # documentation, RFC 3849
        "2002::/16",  # 6to4, RFC 3056: reachability "N/A", it is that of the IPv4 address inside
        "3fff::/20",  # documentation, RFC 9637
    )
)
REACHABLE_WITHIN_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001:1::1/128",  # Port Control Protocol anycast, RFC 7723
        "2001:1::2/128",  # TURN anycast, RFC 8155
        "2001:1::3/128",  # DNS-SD registration anycast, RFC 9665
        "2001:3::/32",  # AMT, RFC 7450
        "2001:4:112::/48",  # AS112-v6, RFC 7535
        "2001:20::/28",  # ORCHIDv2, RFC 7343
        "2001:30::/28",  # drone remote ID, RFC 9374
    )
)
NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the only prefix that carries IPv4 and is listed as globally reachable."""
_ISATAP_MARK = 0x00005EFE
_ISATAP_MASK = 0xFCFFFFFF  # RFC 5214 §6.1: the universal and group bits may be set


def is_prohibited(address: Address, allow_networks: Iterable[Network] = ()) -> bool:
    """Return whether connections to `address` are prohibited.

    `allow_networks` permits addresses that lie in one of its networks as written. 127.0.0.0/8 does not permit
    ::ffff:127.0.0.1.
    """
    if any(address.version == network.version and address in network for network in allow_networks):
        return False
    return not (_reachable_v4(address) if isinstance(address, IPv4Address) else _reachable_v6(address))


def is_address(host: str) -> bool:
    """Return whether the canonical host of a source is an address and not a name."""
    return host.startswith("[") or host.rpartition(".")[2].isdigit()


def prohibited_text(text: str, allow_networks: Iterable[Network] = ()) -> bool:
    """Return the same for an address as text. A text that is not an address is prohibited."""
    try:
        address = ip_address(text)
    except ValueError:
        return True
    return is_prohibited(address, allow_networks)


def _reachable_v4(address: IPv4Address) -> bool:
    if any(address in network for network in REACHABLE_WITHIN_V4):
        return True
    return not any(address in network for network in NOT_REACHABLE_V4)


def _reachable_v6(address: IPv6Address) -> bool:
    if address in NAT64:
        return _reachable_v4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in GLOBAL_UNICAST_V6 or _carries_unreachable(address):
        return False
    if any(address in network for network in REACHABLE_WITHIN_V6):
        return True
    return not any(address in network for network in NOT_REACHABLE_V6)


def _carries_unreachable(address: IPv6Address) -> bool:
    interface = int(address) & 0xFFFFFFFFFFFFFFFF
    is_isatap = (interface >> 32) & _ISATAP_MASK == _ISATAP_MARK
    return is_isatap and not _reachable_v4(IPv4Address(interface & 0xFFFFFFFF))
