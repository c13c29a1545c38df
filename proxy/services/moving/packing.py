"""Packs a store into one archive while a service may be running. Runs on the event loop of the command.

Sources purged meanwhile are left out. Sources that change meanwhile are packed as they were at one moment. A body is
compared with its digest before it is written, so that a pack never contains a damaged one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from cache.base.entry import Entry
from cache.durable_tier import Originals
from cache.originals.articles import KeptArticle
from proxy.archives.folders import FolderWriter
from proxy.archives.items import ArchiveWriter, OpenBody, is_warc
from proxy.archives.warcwriting import WarcWriter

log = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 20

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class PackReport:
    """What was packed. damaged: sources left out because their current bytes are missing or do not match the digest.

    versions_left_out: older versions left out for the same reason. bodies, body_bytes: bodies written, each once.
    """

    entries: int = 0
    versions: int = 0
    bodies: int = 0
    body_bytes: int = 0
    articles: int = 0
    blocked: int = 0
    damaged: list[str] = field(default_factory=list)
    versions_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Selection:
    """What to pack: the sources for which `wants` is true (all without it), which articles, and whether blocks."""

    wants: Callable[[str], bool] | None = None
    articles: tuple[KeptArticle, ...] = ()
    blocks: bool = True


def open_writer(target: Path) -> ArchiveWriter:
    """Return a writer for the archive type that the file name implies: a WARC file, else a folder.

    Raises:
        OSError: the target cannot be created, or it exists already.
    """
    has_content = any(target.iterdir()) if target.is_dir() else target.exists()
    if has_content:
        raise FileExistsError(17, "it exists already, and an archive is never overwritten", str(target))
    return WarcWriter(target) if is_warc(target) else FolderWriter(target)


class Packing:
    """Writes entry after entry. The archive gets its final name only when it is complete."""

    def __init__(self, kept: Originals) -> None:
        self._kept = kept

    async def pack(self, target: Path, selection: Selection, progress: Progress) -> PackReport:
        """Pack the selection.

        Raises:
            OSError: the target cannot be written; the partial archive is removed.
        """
        writer = await asyncio.to_thread(open_writer, target)
        report = PackReport()
        try:
            total = self._kept.kept().entries
            done = 0
            async for entry in self._kept.entries():
                if selection.wants is None or selection.wants(entry.source):
                    await self._one(entry, writer, report)
                done += 1
                progress(done, max(done, total))
            for article in selection.articles:
                await asyncio.to_thread(writer.article, article)
                report.articles += 1
            for url, reason in await self._kept.blocks() if selection.blocks else ():
                await asyncio.to_thread(writer.block, url, reason)
                report.blocked += 1
            await asyncio.to_thread(writer.finish)
        except BaseException:
            await asyncio.to_thread(writer.abandon)
            raise
        return report

    async def _one(self, entry: Entry, writer: ArchiveWriter, report: PackReport) -> None:
        if await asyncio.to_thread(self._written, entry, writer, report):
            return
        # The entry was purged, changed or damaged; its current state tells which.
        now = await self._kept.get(entry.source)
        if now is None or (now != entry and await asyncio.to_thread(self._written, now, writer, report)):
            return
        log.error("%s is not packed: its body is missing or damaged", entry.source)
        report.damaged.append(entry.source)

    # In a thread

    def _written(self, entry: Entry, writer: ArchiveWriter, report: PackReport) -> bool:
        """Write an entry; return False when its current body does not match its digest."""
        with contextlib.ExitStack() as stack:
            bodies = {}
            for digest in entry.digests:
                body = self._opened(digest, stack)
                if body is not None:
                    bodies[digest] = body
                elif digest == entry.body_sha256:
                    return False
            whole = entry.without([digest for digest in entry.digests if digest not in bodies])
            before = report.bodies
            report.bodies += writer.entry(whole, bodies)
        report.entries += 1
        report.versions += len(whole.history)
        report.versions_left_out += len(entry.history) - len(whole.history)
        if report.bodies > before:
            report.body_bytes += sum(body.size for body in bodies.values())
        return True

    def _opened(self, sha256: str, stack: contextlib.ExitStack) -> OpenBody | None:
        try:
            reader = stack.enter_context(self._kept.files.opened(sha256))
            digest, size = _digest(reader)
        except OSError:
            return None
        return (
            OpenBody(sha256, size, reader, self._kept.history.is_shared(sha256)) if digest == sha256 else None
        )


def _digest(reader: BinaryIO) -> tuple[str, int]:
    """Return the digest and size of an open file, and rewind it."""
    digest, size = hashlib.sha256(), 0
    while piece := reader.read(_PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
    reader.seek(0)
    return digest.hexdigest(), size
