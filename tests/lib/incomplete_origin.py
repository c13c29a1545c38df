"""Origins that send only their own certificate, and the addresses that serve the other certificates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from authorities import Holder, root, trusting
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from fetching import body_of, fetching
from scripted_origin import Handler, Request, ScriptedOrigin

from proxy.config import FetchConfig
from proxy.errors import SourceUnreachable
from proxy.fetch.fetcher import Fetcher

HOST = "127.0.0.1"


def _bundle(holder: Holder) -> bytes:
    return pkcs7.serialize_certificates([root("Other").certificate, holder.certificate], Encoding.DER)


FORMS: dict[str, Callable[[Holder], bytes]] = {
    "DER": lambda holder: holder.der,
    "PEM": lambda holder: holder.pem,
    "PKCS#7": _bundle,
    "PKCS#7 as PEM": lambda holder: pkcs7.serialize_certificates([holder.certificate], Encoding.PEM),
}


class Server(ScriptedOrigin):
    """A TLS origin that sends `leaf` and the certificates `above` it, and counts the handshakes that begin."""

    def __init__(self, leaf: Holder, *above: Holder) -> None:
        super().__init__()
        self.handshakes = 0
        self.show(leaf, *above)

    async def __aenter__(self) -> Server:
        """Listen."""
        await self.start()
        return self

    def show(self, leaf: Holder, *above: Holder) -> None:
        """Send these certificates from the next `start` on."""
        self._ssl = leaf.serve(*above)
        self._ssl.sni_callback = self._count
        self.serve("/a", b"picture", until_close=True)

    def _count(self, *_: object) -> None:
        self.handshakes += 1


def put(shelf: ScriptedOrigin, path: str, holder: Holder, form: str = "DER") -> None:
    """Serve the certificate at `path`."""
    shelf.serve(path, FORMS[form](holder), content_type="application/pkix-cert")


def told(asked: asyncio.Event, handler: Handler) -> Handler:
    """Set `asked`, then do as `handler`."""

    async def telling(request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await handler(request, reader, writer)

    return telling


def below(
    shelf: ScriptedOrigin, issuer: Holder, number: int, *, names: Callable[[int], str] = "Between {}".format
) -> Holder:
    """Return a server's certificate, `number` intermediates below `issuer`; the shelf serves them."""
    above, address = issuer, ""
    for place in range(number):
        above = above.issue(names(place), aia=[address] if address else [])
        path = f"/{names(place).replace(' ', '-')}.crt"
        put(shelf, path, above)
        address = shelf.url(path)
    return server_below(above, address)


def server_below(issuer: Holder, *addresses: str, host: str = HOST, days: int = 30) -> Holder:
    """Return a server's certificate by `issuer`, whose own certificate is at `addresses`."""
    return issuer.issue(host, aia=addresses, is_ca=False, days=days)


def trusted(authority: Holder) -> dict[str, Any]:
    """Return the arguments of a fetcher that trusts this authority alone."""
    return {"make_ssl_context": lambda: trusting(authority)}


@asynccontextmanager
async def meeting(
    leaf: Holder, authority: Holder, config: FetchConfig | None = None, **means: Any
) -> AsyncIterator[tuple[Fetcher, Server]]:
    """Run an origin that sends `leaf` alone, and a fetcher that trusts `authority`."""
    async with Server(leaf) as origin, fetching(config, **{**trusted(authority), **means}) as fetcher:
        yield fetcher, origin


async def refused(fetcher: Fetcher, origin: ScriptedOrigin) -> None:
    """Check that a fetch fails with a TLS failure and sends nothing."""
    with pytest.raises(SourceUnreachable) as caught:
        await body_of(fetcher, origin.url("/a"))
    assert caught.value.failure == "tls"
    assert origin.count() == 0
