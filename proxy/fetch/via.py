"""A client for a running imgmirror service: for warming from another machine, and for the demo. Event loop.

The user named the address, so no network is prohibited. Redirects are returned as answers and not followed. The bytes
are counted and hashed, and kept only on request.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from proxy.fetch.connector import wire_url
from proxy.source import Source

_CHUNK_BYTES = 64 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_ORIGIN_STATUS = re.compile(r"(?:fwd|received)-status=([1-5][0-9]{2})")


class ServiceUnreachable(Exception):
    """The service did not answer; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class ViaAnswer:
    """An answer of the service. `headers` have lower-case names; `body` is empty unless it was requested."""

    status: int
    headers: Mapping[str, str]
    size_bytes: int
    sha256: str
    body: bytes = field(default=b"", repr=False)

    @property
    def media_type(self) -> str:
        """The type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def cache_words(self) -> frozenset[str]:
        """The words of Cache-Status (RFC 9211), such as `hit`, `stored` and `detail=not_kept`."""
        return _words(self.headers.get("cache-status", ""))

    @property
    def origin_status(self) -> int:
        """The status that the origin answered, now or in a remembered failure; 0 if it gave no answer.

        Cache-Status reports a fetch only (RFC 9211 §2.3), and Proxy-Status remembered answers too (RFC 9209 §2.1.3).
        """
        words = self.cache_words | _words(self.headers.get("proxy-status", ""))
        found = (_ORIGIN_STATUS.fullmatch(word) for word in words)
        return max((int(match[1]) for match in found if match), default=0)

    @property
    def error(self) -> tuple[str, str]:
        """The code and message of an error answer. The status replaces parts that cannot be read."""
        try:
            told = json.loads(self.body)
            return str(told["code"]), str(told["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"http_{self.status}", f"The service answered {self.status}."


class Via:
    """A client of one service."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        base = Source.parse(base_url)
        self._session = session
        self._base = base
        self._prefix = base.target.partition("?")[0].rstrip("/")
        self.base_url = base.origin + self._prefix

    async def get(self, path: str, *, accept: str = "*/*", want_body: bool = False) -> ViaAnswer:
        """Request `path`, which is sent exactly as written.

        Raises:
            ServiceUnreachable: no complete answer arrived.
        """
        # Do not parse the path: everything after the base is sent exactly as it is.
        url = wire_url(Source(self.base_url + path, self._base.scheme, self._base.host, self._base.port))
        try:
            async with self._session.get(url, headers={"Accept": accept}, allow_redirects=False) as response:
                want_body = want_body or response.status >= 400
                return await _read(response, want_body=want_body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ServiceUnreachable(f"{self.base_url}: {error or type(error).__name__}") from error


@asynccontextmanager
async def open_via(base_url: str, *, timeout_seconds: float = 120.0) -> AsyncIterator[Via]:
    """Open a client of the service at `base_url`; `timeout_seconds` bounds each answer.

    Raises:
        RequestError: the address is invalid.
    """
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        max_line_size=16384,
    ) as session:
        yield Via(session, base_url)


def _words(value: str) -> frozenset[str]:
    return frozenset(word.strip() for word in value.split(";"))


async def _read(response: aiohttp.ClientResponse, *, want_body: bool) -> ViaAnswer:
    digest, size, parts = hashlib.sha256(), 0, bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        digest.update(chunk)
        size += len(chunk)
        if want_body and (response.status < 400 or size <= _MAX_ERROR_BYTES):
            parts += chunk
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ViaAnswer(response.status, headers, size, digest.hexdigest(), bytes(parts))
