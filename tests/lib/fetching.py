"""Helpers for tests of fetching: a sink in memory, and a fetcher that may reach loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from proxy.config import FetchConfig
from proxy.fetch.fetcher import Fetched, Fetcher, NotModified, Validators
from proxy.source import Source

INSTANCE = "imgmirror-test"
LOOPBACK = ("127.0.0.0/8",)


class MemorySink:
    """Keeps the written bytes; `on_write` may inspect them, or raise."""

    def __init__(self, on_write: Callable[[bytes], None] | None = None) -> None:
        self.chunks: list[bytes] = []
        self._on_write = on_write

    async def write(self, chunk: bytes) -> None:
        """Keep `chunk`."""
        if self._on_write is not None:
            self._on_write(chunk)
        self.chunks.append(chunk)

    @property
    def body(self) -> bytes:
        """All written bytes."""
        return b"".join(self.chunks)


def fetch_config(**keys: Any) -> FetchConfig:
    """Return a configuration that admits loopback, with `keys` as a file would set them."""
    return FetchConfig.model_validate({"allow_networks": LOOPBACK, **keys})


def anywhere(_source: Source) -> None:
    """A policy for redirects that forbids nothing."""


@asynccontextmanager
async def fetching(
    config: FetchConfig | None = None, *, check_hop: Callable[[Source], None] = anywhere, **means: Any
) -> AsyncIterator[Fetcher]:
    """Run a fetcher for the block."""
    fetcher = Fetcher(config or fetch_config(), check_hop=check_hop, instance_id=INSTANCE, **means)
    await fetcher.start()
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def fetched(
    fetcher: Fetcher, url: str, *, validators: Validators | None = None
) -> tuple[Fetched | NotModified, bytes]:
    """Fetch `url`; return the answer and its bytes."""
    sink = MemorySink()
    answer = await fetcher.fetch(Source.parse(url), sink, validators=validators)
    return answer, sink.body


async def body_of(fetcher: Fetcher, url: str) -> bytes:
    """Fetch `url`; return its bytes."""
    return (await fetched(fetcher, url))[1]
