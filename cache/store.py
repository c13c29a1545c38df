"""The store: both tiers, opened and closed together, and the protocols that others use.

Services depend on the protocols only. Another durable tier or another bounded tier is a class with these methods. Runs
on the event loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache.base.entry import Entry
from cache.base.page_cache import KeptFile
from cache.durable_tier import Originals
from cache.originals.incoming import Incoming
from cache.originals.keeper import Purged
from cache.variants.bounded_tier import FoundVariant, Variants, VariantsStat


class OriginalStore(Protocol):
    """A tier that never forgets anything."""

    async def get(self, url: str) -> Entry | None:
        """Return the entry of a source."""

    async def read_body(self, sha256: str) -> bytes:
        """Return a whole body."""

    def receive(self) -> Incoming:
        """Return a body that is to be received."""

    async def commit(self, entry: Entry, incoming: Incoming | None, *, stamp: int | None = None) -> None:
        """Keep an original for good."""

    async def purge(self, url: str) -> Purged:
        """Delete everything kept of a source."""

    def entries(self) -> AsyncIterator[Entry]:
        """Yield every entry."""


class VariantStore(Protocol):
    """A tier that may forget anything at any time, and never fails."""

    async def get(self, key: str) -> bytes | None:
        """Return the bytes of a variant."""

    async def find(self, key: str) -> FoundVariant | None:
        """Return the bytes of a variant, and the file that contains them."""

    def read_at_hand(self, file: KeptFile) -> bytes | None:
        """Return the bytes of a file that was found before, if that needs no wait."""

    def is_at_hand(self, file: KeptFile) -> bool:
        """Return whether a file that was found before is unchanged, if that needs no wait."""

    async def put(self, key: str, body: bytes, *, tag: str) -> bool:
        """Keep a variant while there is room."""

    async def delete(self, key: str) -> bool:
        """Delete a variant."""

    async def evict(self, tag: str) -> int:
        """Delete every variant with this tag."""

    async def stat(self) -> VariantsStat:
        """Return the figures of the tier."""


@dataclass(frozen=True, slots=True)
class Store:
    """The two tiers."""

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
    """Open both tiers; close both at the end.

    Raises:
        StoreRefused, StoreUnreadable: a folder cannot be used.
    """
    async with AsyncExitStack() as stack:
        originals = await Originals.open(folder, min_free_bytes=min_free_bytes, max_bytes=max_bytes)
        stack.push_async_callback(originals.close)
        variants = await Variants.open(variants_folder, max_bytes=variants_max_bytes)
        stack.push_async_callback(variants.close)
        yield Store(originals, variants)
