"""The store: both durable rooms of what is kept, opened and closed together, and what others may ask of them.

The protocols are what services lean on: another durable tier or another bounded tier is a class with these
methods. Runs on the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache.base.entry import Entry
from cache.originals.durable_tier import Originals
from cache.originals.incoming import Incoming
from cache.originals.keeper import Purged
from cache.variants.bounded_tier import FoundVariant, VariantFile, Variants, VariantsStat


class OriginalStore(Protocol):
    """A tier that never forgets."""

    async def get(self, url: str) -> Entry | None:
        """Return the entry of a source."""

    async def read_body(self, sha256: str) -> bytes:
        """Return a whole body."""

    def receive(self) -> Incoming:
        """Return a body to be received."""

    async def commit(self, entry: Entry, incoming: Incoming | None, *, stamp: int | None = None) -> None:
        """Keep an original for good."""

    async def purge(self, url: str) -> Purged:
        """Delete what is kept of a source."""

    def entries(self) -> AsyncIterator[Entry]:
        """Yield every entry."""


class VariantStore(Protocol):
    """A tier that may forget anything at any time, and never fails."""

    async def get(self, key: str) -> bytes | None:
        """Return the bytes of a variant."""

    async def find(self, key: str) -> FoundVariant | None:
        """Return the bytes of a variant, and the file where they lie."""

    def read_at_hand(self, file: VariantFile) -> bytes | None:
        """Return the bytes of a file that was found before, when that takes no wait."""

    def is_at_hand(self, file: VariantFile) -> bool:
        """Tell whether a file that was found before is still as it was, when that takes no wait."""

    async def put(self, key: str, body: bytes, *, tag: str) -> bool:
        """Keep a variant as long as there is room."""

    async def delete(self, key: str) -> bool:
        """Forget a variant."""

    async def evict(self, tag: str) -> int:
        """Forget every variant with this tag."""

    async def stat(self) -> VariantsStat:
        """Return what lies in the tier."""


@dataclass(frozen=True, slots=True)
class Store:
    """What is kept."""

    originals: Originals
    variants: Variants


@asynccontextmanager
async def open_store(
    folder: Path,
    *,
    variants_folder: Path,
    variants_max_bytes: int,
    min_free_bytes: int = 0,
    max_bytes: int | None = None,
) -> AsyncIterator[Store]:
    """Open both tiers, close both at the end.

    Raises:
        StoreRefused, StoreUnreadable: a folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        originals = await Originals.open(folder, min_free_bytes=min_free_bytes, max_bytes=max_bytes)
        stack.push_async_callback(originals.close)
        variants = await Variants.open(variants_folder, max_bytes=variants_max_bytes)
        stack.push_async_callback(variants.close)
        yield Store(originals, variants)
