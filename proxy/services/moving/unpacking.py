"""Unpacks archives into the store while a service may be running. Runs on the event loop of the command.

Our own packs are restored in full: entries, versions, articles, blocks. From other archives we take the pictures and
check each like a download: its type by its bytes, a full decode in a render process. Originals are stored one after
the other, as durably as fetched ones. An interrupted run leaves only complete originals and can be repeated.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cache.base.entry import Entry
from cache.base.errors import SourceBlocked, Superseded
from cache.durable_tier import Originals
from cache.http.fields import kept_fields
from cache.originals.articles import KeptArticle
from proxy.archives.folders import MANIFEST, FolderReader
from proxy.archives.items import (
    ArchiveReader,
    BadArchive,
    Capture,
    Item,
    PackedArticle,
    PackedBlock,
    PackedEntry,
    Refused,
    Revisit,
    Skipped,
    is_warc,
)
from proxy.archives.warcreading import WarcReader
from proxy.config import FetchConfig
from proxy.dialects import Unwrapper
from proxy.errors import DecodeFailed, InvalidSource, SourceNotAllowed
from proxy.fetch.addresses import is_address, prohibited_text
from proxy.fetch.media import admitted, decide
from proxy.images.formats import FORMAT_OF_MEDIA_TYPE
from proxy.images.formats.probe import has_proper_end
from proxy.images.pool.workers import JUDGE, Job, RenderPool
from proxy.services.serving.download import root_of_body
from proxy.source import Source

log = logging.getLogger(__name__)

MAX_LISTED = 1000
MAX_DEFERRED = 100_000
"""Limit on the revisit records that wait for their capture."""

LOOPBACK = "127.0.0.1"
"""The address of every name under `localhost` (RFC 6761 §6.3)."""

_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class UnpackReport:
    """What was unpacked. new: sources that were not kept before. changed: sources that gained a version, as the current
    one or in their history. same: sources that did not change. skipped, refused: numbers of records by reason.

    refused_sources: the first thousand, by source. versions_left_out: older versions that were damaged in a pack.
    broken: archives that could not be read to their end, with the reason.
    """

    new: int = 0
    changed: int = 0
    same: int = 0
    body_bytes: int = 0
    articles: int = 0
    blocked: int = 0
    versions_left_out: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    refused_sources: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether everything that should be unpacked was."""
        return not (self.refused or self.broken or self.versions_left_out)


@dataclass(frozen=True, slots=True)
class UnpackingParts:
    """The parts that unpacking needs."""

    kept: Originals
    pool: RenderPool
    fetch: FetchConfig
    unwrapper: Unwrapper
    now: Callable[[], float]


class Unpacking:
    """Stores the items of archives, one after the other.

    1. An entry of our own pack: the reader has compared the bodies with their digests; the type must match the bytes.
       The entry is merged with the kept one; the version confirmed last becomes the current one.
    2. A capture passes the checks of a download. A kept original stays current, and the capture becomes history.
       A proxy's copy is stored under the source in its address, with a note of where it came from.
    3. A revisit uses the bytes of the capture that it names. If that capture comes later, the revisit waits for it.
    4. An item from an address that may not be fetched from is refused.
    5. A full store ends the run. The refusal of a single item does not.
    """

    def __init__(self, parts: UnpackingParts) -> None:
        self._parts = parts
        self._report = UnpackReport()
        self._captured: dict[str, tuple[str, str]] = {}
        self._deferred: list[Revisit] = []

    async def unpack(self, paths: list[Path], progress: Progress) -> UnpackReport:
        """Unpack all archives into the store.

        Raises:
            StoreFull, StoreUnwritable: the store accepts nothing more; items stored before remain.
            OSError: an archive cannot be read.
        """
        for path in paths:
            reader = open_reader(path, self._parts)
            try:
                async with _items(reader) as next_item:
                    while (item := await next_item()) is not None:
                        await self._take(item)
                        progress(*reader.progress())
            except BadArchive as error:
                log.error("%s cannot be read any further: %s", path, error)
                self._report.broken[str(path)] = str(error)
        for revisit in self._deferred:
            if not await self._resolved(revisit):
                self._refuse("unresolved_revisit", revisit.url)
        return self._report

    async def _take(self, item: Item) -> None:
        url = getattr(item, "url", "")
        try:
            match item:
                case PackedEntry():
                    url = item.entry.source
                    await self._entry(item)
                case Capture():
                    await self._capture(item)
                case Revisit():
                    await self._revisit(item)
                case PackedArticle():
                    await self._article(item)
                case PackedBlock():
                    await self._block(item)
                case Skipped():
                    self._skip(item)
        except Refused as refused:
            self._refuse(refused.reason, url)
        except SourceBlocked:
            self._report.skipped["blocked"] += 1
        except Superseded:
            self._refuse("incomplete", url)
        except (InvalidSource, SourceNotAllowed):
            self._refuse("unreadable", url)
        finally:
            item.close()

    def _skip(self, item: Skipped) -> None:
        if item.refused:
            self._refuse(item.reason, item.url)
        else:
            self._report.skipped[item.reason] += 1

    def _refuse(self, reason: str, url: str) -> None:
        self._report.refused[reason] += 1
        if len(self._report.refused_sources) < MAX_LISTED:
            self._report.refused_sources[url] = reason

    # Ours

    async def _entry(self, item: PackedEntry) -> None:
        entry = item.entry
        _require_sound(entry)
        self._require_reachable(Source.parse(entry.source))
        for digest, landed in item.bodies.items():
            version = next(
                known for known in (entry.as_former(), *entry.history) if known.body_sha256 == digest
            )
            root = await root_of_body(landed.head, landed.arrived.path)
            if not _is_kind_of(decide(landed.head, version.media_type, root=root), version.media_type):
                raise Refused("type")
            if not admitted(version.media_type, self._parts.fetch.types):
                raise Refused("not_admitted")
        self._report.versions_left_out += len(set(item.broken) - {entry.body_sha256})
        arrived = {digest: landed.arrived for digest, landed in item.bodies.items()}
        now, before = await self._parts.kept.history.restore(entry, arrived, may_displace=True)
        self._count(now, before, sum(body.size for body in arrived.values()))

    async def _article(self, item: PackedArticle) -> None:
        if item.has_bad_lines:
            log.warning("the lines of the article %a cannot be read; it is unpacked without them", item.name)
            self._report.skipped["unreadable_lines"] += 1
        # Who has read the file here knows better.
        await self._parts.kept.articles.add(KeptArticle(item.name, item.sources, item.date, lines=item.lines))
        self._report.articles += 1

    async def _block(self, item: PackedBlock) -> None:
        url = Source.parse(item.url).url
        if not await self._parts.kept.is_blocked(url):
            await self._parts.kept.block(url, item.reason)
        self._report.blocked += 1

    # Others'

    async def _capture(self, item: Capture) -> None:
        source = self._source(item.url)
        claimed = next((value for name, value in item.headers if name == "content-type"), None)
        root = await root_of_body(item.body.head, item.body.arrived.path)
        media_type = decide(item.body.head, claimed, root=root)
        if not admitted(media_type, self._parts.fetch.types):
            self._report.skipped["not_admitted"] += 1
            return
        entry = await self._judged(item, source, media_type)
        arrived = {entry.body_sha256: item.body.arrived}
        now, before = await self._parts.kept.history.restore(entry, arrived, may_displace=False)
        self._count(now, before, item.body.arrived.size)
        if item.digest:
            self._captured.setdefault(item.digest.lower(), (source.url, entry.body_sha256))

    async def _judged(self, item: Capture, source: Source, media_type: str) -> Entry:
        path = str(item.body.arrived.path)
        if not item.has_length:
            picture_format = FORMAT_OF_MEDIA_TYPE.get(media_type)
            if not picture_format or not await asyncio.to_thread(has_proper_end, path, picture_format):
                raise Refused("cut_short")
        facts, damaged = None, False
        if media_type.startswith("image/"):
            inspection = await self._parts.pool.run(Job(path, (), check=True))
            if inspection.verdict == "not_an_image":
                raise Refused("not_an_image")
            facts, damaged = inspection.facts, isinstance(inspection.error, DecodeFailed)
        moment = min(item.moment, self._parts.now())
        provenance = _provenance(item, source, moment)
        return Entry(
            source=source.url,
            status=item.status,
            headers=kept_fields(item.headers),
            body_sha256=item.body.arrived.sha256,
            body_size=item.body.arrived.size,
            media_type=media_type,
            final_url=item.url if provenance else source.url,
            request_time=moment,
            response_time=moment,
            fetched_at=moment,
            validated_at=moment,
            recovered=provenance,
            damaged=damaged,
            judged_by=JUDGE,
            picture=facts.to_dict() if facts else None,
        )

    async def _revisit(self, item: Revisit) -> None:
        if not await self._resolved(item):
            if len(self._deferred) >= MAX_DEFERRED:
                raise Refused("unresolved_revisit")
            self._deferred.append(item)

    async def _resolved(self, item: Revisit) -> bool:
        """Record that a source gave bytes that are kept already; return False when we do not have them (yet)."""
        url = self._source(item.url).url
        known = self._captured.get(item.digest.lower()) if item.digest else None
        if known is None and not item.digest:
            known = await self._named(item.refers_to)
        entry = await self._parts.kept.get(known[0]) if known else None
        if known is None or entry is None or known[1] not in entry.digests:
            return False
        version = entry if entry.body_sha256 == known[1] else entry.promoting(known[1])
        moment = min(item.moment, self._parts.now())
        theirs = replace(
            version,
            source=url,
            headers=kept_fields(item.headers) or version.headers,
            final_url=url,
            request_time=moment,
            response_time=moment,
            fetched_at=moment,
            validated_at=moment,
            history=(),
        )
        now, before = await self._parts.kept.history.restore(theirs, {}, may_displace=False)
        self._count(now, before, 0)
        return True

    async def _named(self, url: str) -> tuple[str, str] | None:
        entry = await self._parts.kept.get(self._source(url).url)
        return (entry.source, entry.body_sha256) if entry else None

    def _source(self, url: str) -> Source:
        """Return the source behind an address, with any proxy's wrapper removed."""
        source = self._parts.unwrapper.opened(Source.parse(url))[0]
        self._require_reachable(source)
        return source

    def _require_reachable(self, source: Source) -> None:
        """Refuse an address that may not be fetched from. Host names are not resolved."""
        host = LOOPBACK if source.host.rpartition(".")[2] == "localhost" else source.host
        if is_address(host) and prohibited_text(host.strip("[]"), self._parts.fetch.allow_networks):
            raise Refused("prohibited_address")

    def _count(self, now: Entry, before: Entry | None, size: int) -> None:
        if before is None:
            self._report.new += 1
        elif now == before:
            self._report.same += 1
            return
        else:
            self._report.changed += 1
        self._report.body_bytes += size


def open_reader(path: Path, parts: UnpackingParts) -> ArchiveReader:
    """Return a reader for the archive type that the file name implies.

    Raises:
        OSError: the archive cannot be opened.
    """
    if path.is_dir():
        if not (path / MANIFEST).is_file():
            raise FileNotFoundError(2, f"there is no {MANIFEST} in it", str(path))
        return FolderReader(path, parts.kept.land, max_bytes=parts.fetch.max_bytes)
    if not is_warc(path):
        raise OSError(
            22, "it is not a folder, and its name does not end in .warc, .arc, .warc.gz or .arc.gz", str(path)
        )
    return WarcReader(path, parts.kept.land, max_bytes=parts.fetch.max_bytes)


@asynccontextmanager
async def _items(reader: ArchiveReader) -> AsyncIterator[Callable[[], Awaitable[Item | None]]]:
    """Yield functions that return the next item, None at the end. One thread reads, so closing is safe at any item."""
    loop = asyncio.get_running_loop()
    iterator = reader.items()
    with ThreadPoolExecutor(1, thread_name_prefix="archive") as thread:
        try:
            yield lambda: loop.run_in_executor(thread, next, iterator, None)
        finally:
            thread.submit(iterator.close)


def _provenance(item: Capture, source: Source, moment: float) -> Mapping[str, Any] | None:
    """Return where a proxy's copy came from; None for a capture of the source itself."""
    if Source.parse(item.url) == source:
        return None
    return {"from": "wrapper", "url": item.url, "captured_at": moment}


def _require_sound(entry: Entry) -> None:
    """Refuse an entry that our store could not have written."""
    if Source.parse(entry.source).url != entry.source:
        raise Refused("unreadable")
    texts = (entry.final_url, entry.media_type, *(part for pair in entry.headers for part in pair))
    if any(_CONTROLS.search(text) for text in texts):
        raise Refused("unreadable")


def _is_kind_of(found: str, said: str) -> bool:
    """Return whether bytes detected as `found` may be labelled `said`. Another version may know more specific types."""
    return found == said or (found.partition("/")[0] == said.partition("/")[0] and found != "text/html")
