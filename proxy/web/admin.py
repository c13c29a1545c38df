"""Who may call the administrator's addresses: a token, or nobody but this machine."""

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

    Without a token the peer must be loopback, no proxy may stand in between, and the request must not come from
    a web page: a page of anybody's, open in a browser on this machine, can reach loopback too. A proxy on this
    machine need not add any header; a public address in `server.public_url` says that there is one.

    Raises:
        Unauthorized: otherwise.
    """
    if config.admin_token:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        expected = config.admin_token.encode("utf-8")
        if scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("utf-8", "replace"), expected
        ):
            return
        raise Unauthorized
    if config.is_public or _is_forwarded(request) or "Origin" in request.headers:
        raise Unauthorized
    if not _is_loopback(request.remote) or not _names_loopback(request.headers.get("Host", "")):
        raise Unauthorized


def _is_forwarded(request: web.BaseRequest) -> bool:
    names = [name.lower() for name in request.headers]
    return any(name in FORWARDING_HEADERS or name.startswith(FORWARDING_PREFIXES) for name in names)


def _is_loopback(peer: str | None) -> bool:
    try:
        address = ipaddress.ip_address(peer or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _names_loopback(host: str) -> bool:
    """Whether `Host` is a literal address or localhost: a name may be rebound to 127.0.0.1 by its owner."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name in {"", "localhost"}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
