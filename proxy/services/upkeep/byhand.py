"""Keeps a picture that the operator uploads in place of one whose origin is dead. Event loop, files in threads.

An upload passes the checks of a copy from an archive: its type by its bytes, a full decode in a render process. A
damaged one is refused, because the operator may have a better one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cache.base.entry import Entry
from cache.durable_tier import Originals
from cache.originals.landing import Landed
from proxy.errors import DecodeFailed, NotAnImage, QueueFull, SourceRemoved
from proxy.fetch.media import admitted, decide
from proxy.images.jobs import JUDGE, Inspection, Job
from proxy.images.pool.shared_decodes import Batches
from proxy.services.serving.download import root_of_body
from proxy.services.troubles.replacing import accept
from proxy.source import Source

BY_HAND = "by hand"
"""Where the bytes came from, in the entry and in its history."""

MAX_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class HandUpload:
    """An upload. chunks: its bytes. types: the value of `fetch.types`. serve: make it the current original even if
    another one is kept. note: a remark of the operator."""

    source: Source
    chunks: AsyncIterator[bytes]
    types: tuple[str, ...]
    serve: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class HandKept:
    """The result: the entry, and the digest of the uploaded bytes, which are current or in its history."""

    entry: Entry
    sha256: str

    @property
    def is_current(self) -> bool:
        """Whether visitors get the uploaded bytes."""
        return self.entry.body_sha256 == self.sha256


class ByHand:
    """Keeps uploads.

    1. The bytes are written aside and fsynced.
    2. They are judged.
    3. They are kept with the provenance `by hand`: as the current original if nothing is kept of the source, else in
       its history.
    4. If they are to be served, they become current, and the former ones history.
    """

    def __init__(self, kept: Originals, batches: Batches, *, now: Callable[[], float]) -> None:
        self._kept = kept
        self._batches = batches
        self._now = now
        self._running = 0

    async def keep(self, upload: HandUpload) -> HandKept:
        """Keep an upload. On return it survives power loss.

        Raises:
            SourceRemoved: the source was purged with a block.
            NotAnImage, DecodeFailed: it is empty, of a type that is not admitted, or damaged.
            QueueFull: too many uploads or renders at a time.
            StoreFull, StoreUnwritable: the disk refused.
        """
        if self._running >= MAX_AT_A_TIME:
            raise QueueFull("Too many uploads at a time; try again soon.")
        self._running += 1
        try:
            if await self._kept.is_blocked(upload.source.url):
                raise SourceRemoved
            async with self._landed(upload.chunks) as landed:
                return await self._kept_with(upload, landed)
        finally:
            self._running -= 1

    async def _kept_with(self, upload: HandUpload, landed: Landed) -> HandKept:
        theirs = await self._judged(upload, landed)
        arrived = {theirs.body_sha256: landed.arrived}
        entry, _ = await self._kept.history.restore(theirs, arrived, may_displace=False)
        if upload.serve and entry.body_sha256 != theirs.body_sha256:
            entry = await accept(self._kept, upload.source.url, theirs.body_sha256) or entry
        return HandKept(entry, theirs.body_sha256)

    async def _judged(self, upload: HandUpload, landed: Landed) -> Entry:
        if not landed.arrived.size:
            raise NotAnImage("The upload is empty.")
        media_type = decide(landed.head, None, root=await root_of_body(landed.head, landed.arrived.path))
        if not admitted(media_type, upload.types):
            raise NotAnImage("The upload is of a type that fetch.types does not admit.")
        inspection = None
        if media_type.startswith("image/"):
            inspection = await self._inspected(landed)
        moment = self._now()
        return Entry(
            source=upload.source.url,
            status=200,
            # No header determines the freshness: `fetch.min_fresh` does, and then the origin is tried again.
            headers=(("cache-control", "max-age=0"), ("content-type", media_type)),
            body_sha256=landed.arrived.sha256,
            body_size=landed.arrived.size,
            media_type=media_type,
            final_url=upload.source.url,
            request_time=moment,
            response_time=moment,
            fetched_at=moment,
            validated_at=moment,
            judged_by=JUDGE,
            picture=inspection.facts.to_dict() if inspection and inspection.facts else None,
            recovered={"from": BY_HAND, "url": upload.source.url, "captured_at": moment, "note": upload.note},
        )

    async def _inspected(self, landed: Landed) -> Inspection:
        inspection = await self._batches.run(Job(str(landed.arrived.path), check=True))
        if inspection.verdict == "not_an_image":
            raise NotAnImage("The upload is not a picture.")
        if isinstance(inspection.error, DecodeFailed):
            raise DecodeFailed("The upload is damaged.")
        return inspection

    @asynccontextmanager
    async def _landed(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[Landed]:
        landing = await asyncio.to_thread(self._kept.land().__enter__)
        try:
            async for chunk in chunks:
                await asyncio.to_thread(landing.write, chunk)
            landed = await asyncio.to_thread(landing.finish)
        finally:
            await asyncio.to_thread(landing.__exit__, None, None, None)
        try:
            yield landed
        finally:
            await asyncio.to_thread(landed.close)
