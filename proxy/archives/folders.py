"""Reads and writes a plain folder as an archive: picture files and a manifest of JSON lines. Blocking.

    manifest.jsonl             one line for each entry, article and block
    files/ab/<sha256>.png      the bodies, named by their digest, with the suffix of their type

A folder made by hand needs only lines such as {"source": "http://h/a.png", "file": "pictures/a.png"}. The keys "date"
and "type" are optional.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from cache.base.durable import sync_descriptor, sync_folder
from cache.base.entry import MAX_ENTRY_BYTES, Entry
from cache.base.errors import EntryUnreadable
from cache.originals.articles import KeptArticle
from cache.originals.landing import Landed
from proxy.archives.items import (
    BadArchive,
    Capture,
    Item,
    Land,
    OpenBody,
    PackedEntry,
    Refused,
    Skipped,
)
from proxy.archives.packed import article_of, block_of, packed_article
from proxy.archives.payload import PIECE_BYTES

MANIFEST = "manifest.jsonl"
MAX_LINE_BYTES = 64 << 20
_SUFFIXES = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/avif": ".avif",
    "image/svg+xml": ".svg", "image/bmp": ".bmp", "image/tiff": ".tiff", "image/x-icon": ".ico", "text/css": ".css",
}  # fmt: skip


class FolderWriter:
    """Writes one folder under a temporary name and renames it when it is complete.

    The temporary folder of an earlier run is removed, unless that run is alive and holds the folder's lock.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._aside = target.with_name(f".{target.name}.part")
        self._aside.mkdir(exist_ok=True)
        self._lock = os.open(self._aside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise FileExistsError(17, "somebody packs there now", str(self._aside)) from None
        for path in list(self._aside.iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._manifest = (self._aside / MANIFEST).open("wb")
        self._folders = {self._aside}

    def entry(self, entry: Entry, bodies: Mapping[str, OpenBody]) -> int:
        """Write an entry and those of its bodies that are not in the archive yet; return how many were written."""
        files, count = {}, 0
        for version in (entry.as_former(), *entry.history):
            digest = version.body_sha256
            name = f"files/{digest[:2]}/{digest}{_SUFFIXES.get(version.media_type, '')}"
            files[digest] = name
            count += self._copied(bodies[digest], self._aside / name)
        self._line({"entry": json.loads(entry.to_json()), "files": files})
        return count

    def article(self, article: KeptArticle) -> None:
        """Write the sources that an article uses, its date, and in which lines they stand."""
        self._line(packed_article(article))

    def block(self, url: str, reason: str) -> None:
        """Record that a source is blocked."""
        self._line({"blocked": url, "reason": reason})

    def finish(self) -> None:
        """Make the folder durable under its final name.

        Raises:
            OSError: the name has been taken meanwhile, or the disk refused.
        """
        self._manifest.flush()
        sync_descriptor(self._manifest.fileno())
        for folder in self._folders:
            sync_folder(folder)
        # The rename replaces an empty folder and fails on anything else.
        self._aside.rename(self._target)
        sync_folder(self._target.parent)
        self._close()

    def abandon(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self._aside, ignore_errors=True)
        self._close()

    def _close(self) -> None:
        self._manifest.close()
        os.close(self._lock)

    def _line(self, value: object) -> None:
        self._manifest.write(json.dumps(value).encode("ascii") + b"\n")

    def _copied(self, body: OpenBody, path: Path) -> bool:
        if path.exists():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folders |= {path.parent, path.parent.parent}
        with path.open("xb") as out:
            shutil.copyfileobj(body.reader, out, PIECE_BYTES)
            out.flush()
            sync_descriptor(out.fileno())
        return True


class FolderReader:
    """Reads one folder. Names in the manifest cannot leave the folder: no `..`, no links."""

    def __init__(self, path: Path, land: Land, *, max_bytes: int) -> None:
        self._root = path
        self._land = land
        self._max_bytes = max_bytes
        self._size = (path / MANIFEST).stat().st_size
        self._read = 0

    def progress(self) -> tuple[int, int]:
        """Return how many bytes of the manifest were read, and its size."""
        return self._read, self._size

    def items(self) -> Generator[Item, None, None]:
        """Yield the items that the manifest lists."""
        with (self._root / MANIFEST).open("rb") as manifest:
            while line := manifest.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n") and len(line) >= MAX_LINE_BYTES:
                    raise BadArchive("a line of the manifest has no end")
                self._read += len(line)
                if line.strip():
                    yield self._item(line)

    def _item(self, line: bytes) -> Item:
        url = ""
        try:
            known = _parsed(line)
            url = str(known.get("source", ""))
            if "entry" in known:
                return self._entry(known)
            if "article" in known:
                return article_of(line)
            if "blocked" in known:
                return block_of(
                    json.dumps({"source": known["blocked"], "reason": known.get("reason", "")}).encode()
                )
            return self._capture(known)
        except Refused as refused:
            return Skipped(refused.reason, url[:2000], refused=True)

    def _entry(self, known: dict[str, Any]) -> PackedEntry:
        text = json.dumps(known["entry"]).encode()
        files = known.get("files")
        try:
            entry = Entry.from_json(text if len(text) <= MAX_ENTRY_BYTES else b"")
        except EntryUnreadable as error:
            raise Refused("unreadable") from error
        if not isinstance(files, dict):
            raise Refused("unreadable")
        item = PackedEntry(entry)
        for digest, size in entry.sizes.items():
            try:
                landed = self._landed(files.get(digest), most=size)
            except Refused:
                item.broken.append(digest)
                continue
            if landed.arrived.sha256 == digest:
                item.bodies[digest] = landed
            else:
                landed.close()
                item.broken.append(digest)
        return item

    def _capture(self, known: dict[str, Any]) -> Capture:
        url, content_type = known.get("source"), known.get("type", "")
        if not isinstance(url, str) or not isinstance(content_type, str) or not content_type.isprintable():
            raise Refused("unreadable")
        headers = (("content-type", content_type),) if content_type else ()
        landed = self._landed(known.get("file"), most=self._max_bytes)
        if not landed.arrived.size:
            landed.close()
            raise Refused("empty")
        moment = _moment(known["date"]) if "date" in known else landed.modified_at
        return Capture(url, moment, 200, headers, landed, has_length=False)

    def _landed(self, name: object, *, most: int) -> Landed:
        with self._opened(name) as reader, self._land() as landing:
            if os.fstat(reader.fileno()).st_size > most:
                raise Refused("too_large")
            while piece := reader.read(PIECE_BYTES):
                if landing.size + len(piece) > most:
                    raise Refused("too_large")
                landing.write(piece)
            landed = landing.finish()
            landed.modified_at = os.fstat(reader.fileno()).st_mtime
            return landed

    def _opened(self, name: object) -> BinaryIO:
        """Open a file of the folder without following a link in any part of its path."""
        parts = PurePosixPath(name).parts if isinstance(name, str) and "\0" not in name else ()
        if not parts or parts[0] == "/" or ".." in parts:
            raise Refused("bad_name")
        folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                inner = os.open(
                    part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
                )
                os.close(folder)
                folder = inner
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(parts[-1], flags, dir_fd=folder)
        except (OSError, ValueError) as error:
            raise Refused("no_file") from error
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Refused("no_file")
        return os.fdopen(descriptor, "rb")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        known = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused("unreadable") from error
    if not isinstance(known, dict):
        raise Refused("unreadable")
    return known


def _moment(text: object) -> float:
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused("unreadable") from None
