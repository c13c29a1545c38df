"""Decides who may call the administrator's addresses: clients with the token or, without one, this machine. Pure."""

from __future__ import annotations

import hmac
import ipaddress

from aiohttp import web

from proxy.config import ServerConfig
from proxy.errors import Unauthorized

FORWARDING_HEADERS = frozenset({
    "forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip", "via",
    "x-envoy-external-address", "fastly-client-ip", "fly-client-ip", "cdn-loop",
})  # fmt: skip
FORWARDING_PREFIXES = ("x-forwarded", "x-original-")


def require_admin(request: web.BaseRequest, config: ServerConfig) -> None:
    """Let the request pass or raise.

    With `server.admin_token`, the request must carry it. Without a token, the peer must be loopback, no proxy may stand
    in between, and the request must not come from a web page: any page that is open in a browser on this machine can
    reach loopback too. A proxy on this machine may add no header at all, so a public address in `server.public_url`
    counts as a proxy.

    Raises:
        Unauthorized: the request may not use the administrator's addresses.
    """
    if config.admin_token:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = config.admin_token.encode("utf-8")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), expected
        ):
            return
        raise Unauthorized
    if config.is_public or _is_forwarded(request) or _is_of_a_page(request):
        raise Unauthorized
    if not _is_loopback(request.remote) or not _names_loopback(request.headers.get("Host", "")):
        raise Unauthorized


def _is_forwarded(request: web.BaseRequest) -> bool:
    names = [name.lower() for name in request.headers]
    return any(name in FORWARDING_HEADERS or name.startswith(FORWARDING_PREFIXES) for name in names)


def _is_of_a_page(request: web.BaseRequest) -> bool:
    """Return whether a page made the request. A person who follows a link to us, or whom we show a page, may."""
    headers = request.headers
    if "Origin" in headers:
        return True
    # Pictures, frames and scripts of another site are asked for without `Origin` (Fetch Metadata).
    if headers.get("Sec-Fetch-Site", "none") in {"none", "same-origin"}:
        return False
    return (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) != ("navigate", "document")


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _names_loopback(host: str) -> bool:
    """Return whether `Host` is an IP address or localhost. The owner of any other name can rebind it to 127.0.0.1."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name in {"", "localhost"}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
