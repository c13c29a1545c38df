"""Reads the items of WARC and ARC files in one pass, whatever their size. Blocking.

Files of other programs are treated as hostile. Lines, records, chunks and compressed bodies are bounded, and digests
are compared. A bad record does not hide those after it, unless the file itself is damaged there.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from warcio.archiveiterator import ArchiveIterator
from warcio.bufferedreaders import DecompressingBufferedReader
from warcio.exceptions import ArchiveLoadFailed
from warcio.statusandheaders import StatusAndHeadersParser

from cache.base.entry import MAX_ENTRY_BYTES, Entry
from cache.base.errors import EntryUnreadable
from cache.originals.landing import Landed
from proxy.archives.items import (
    ARTICLE_TYPE,
    BLOCK_TYPE,
    ENTRY_TYPE,
    BadArchive,
    Capture,
    Headers,
    Item,
    Land,
    PackedEntry,
    Refused,
    Revisit,
    Skipped,
    entry_uri,
)
from proxy.archives.packed import article_of, block_of
from proxy.archives.payload import PIECE_BYTES, Digests, decoded, readings

MAX_WARC_HEADER_BYTES = 1 << 20
"""Limit on the header lines of one record, its own and those of HTTP. Real ones have a few KB."""

MAX_ARTICLE_BYTES = 64 << 20
_STATUS = re.compile(r"([1-9][0-9]{2})\b")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class _BoundedReader(DecompressingBufferedReader):  # type: ignore[misc]  # untyped there
    """The library's reader, with a limit on line length and without its messages on standard error."""

    lines_bytes = 0
    is_in_member = False

    def readline(self, length: int | None = None) -> bytes:
        room = MAX_WARC_HEADER_BYTES - self.lines_bytes
        if room <= 0:
            raise ArchiveLoadFailed("a record has more than 1 MiB of headers")
        line: bytes = super().readline(room if length is None else min(length, room))
        self.lines_bytes += len(line)
        return line

    def _decompress(self, data: bytes) -> bytes:
        plain = self._decompressed(data)
        if data and self.decompressor is not None:
            self.is_in_member = not self.decompressor.eof
        return plain

    def _decompressed(self, data: bytes) -> bytes:
        if self.decompressor is None or not self.num_block_read:
            plain: bytes = super()._decompress(data)
            return plain
        try:
            return bytes(self.decompressor.decompress(data))
        except zlib.error as error:
            raise ArchiveLoadFailed(f"a packed record is broken: {error}") from error


class _Records(ArchiveIterator):  # type: ignore[misc]  # untyped there
    INC_RECORD = ""
    """The text that the library prints on standard error with untrusted bytes; empty, so that it prints none."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, no_record_parse=True, arc2warc=True, check_digests=True)
        self.reader = self._bounded = _BoundedReader(self.fh)

    def next_record(self) -> Any:
        """Return the next record, None at the end.

        Raises:
            BadArchive: the library failed, with any exception, while it read the record's headers.
        """
        self.reader.lines_bytes = 0
        try:
            return next(self)
        except StopIteration:
            return None
        except Exception as error:  # the library's parser may raise anything on untrusted bytes
            raise BadArchive(f"{type(error).__name__}: {error}"[:300]) from error

    @property
    def ends_in_a_member(self) -> bool:
        """Whether a compressed file ended before the end mark of its last gzip member."""
        return self._bounded.is_in_member


class WarcReader:
    """Reads one file.

    In our own packs, an entry comes before the records of its bodies. The bodies are collected until another entry or
    another source begins. Any other response is a capture; any other revisit refers to one.
    """

    def __init__(self, path: Path, land: Land, *, max_bytes: int) -> None:
        self._path = path
        self._land = land
        self._max_bytes = max_bytes
        self._size = path.stat().st_size
        self._file: BinaryIO | None = None
        self._group: PackedEntry | None = None
        self._http = StatusAndHeadersParser([], verify=False)

    def progress(self) -> tuple[int, int]:
        """Return how many bytes of the file were read, and its size."""
        file = self._file
        return (file.tell() if file is not None and not file.closed else self._size), self._size

    def items(self) -> Generator[Item, None, None]:
        """Yield the items of the file."""
        with self._path.open("rb") as self._file:
            records = _Records(self._file)
            try:
                is_cut = False
                while (record := records.next_record()) is not None:
                    yield from self._read(record)
                    _drain(record)
                    is_cut = not _is_whole(record)
                if self._group is not None:
                    yield self._ended()
                if is_cut or records.ends_in_a_member:
                    raise BadArchive("it ends in the middle of a record")
            finally:
                if self._group is not None:
                    self._group.close()

    def _ended(self) -> PackedEntry:
        group, self._group = self._group, None
        assert group is not None  # noqa: S101 - asked before
        return group

    def _read(self, record: Any) -> Iterator[Item]:
        uri = record.rec_headers.get_header("WARC-Target-URI") or ""
        kind = record.rec_type or ""
        mine = self._group is not None and uri == self._group.entry.source and kind in {"response", "revisit"}
        if self._group is not None and not mine:
            yield self._ended()
        try:
            if mine:
                self._add_body(record)
            elif (item := self._item(record, kind, uri)) is not None:
                yield item
        except Refused as refused:
            yield Skipped(refused.reason, _shown(uri), refused=refused.reason not in _NOT_FOR_US)
        except ArchiveLoadFailed as error:
            raise BadArchive(str(error)) from error
        except (ValueError, EOFError, TypeError, AttributeError, IndexError) as error:
            # The library rejected the header of this record only; the stream is still at a known position.
            yield Skipped("unreadable", _shown(uri or str(error)), refused=True)

    def _item(self, record: Any, kind: str, uri: str) -> Item | None:
        content_type = (record.rec_headers.get_header("Content-Type") or "").strip().lower()
        if kind == "metadata" and content_type == ENTRY_TYPE:
            self._group = PackedEntry(_entry_of(_text(record, MAX_ENTRY_BYTES), uri))
            return None
        if kind == "metadata" and content_type == ARTICLE_TYPE:
            return article_of(_text(record, MAX_ARTICLE_BYTES))
        if kind == "metadata" and content_type == BLOCK_TYPE:
            return block_of(_text(record, MAX_ENTRY_BYTES))
        if kind not in {"response", "resource", "revisit"}:
            return None if kind == "warcinfo" else Skipped(_kind_word(kind))
        if not uri.lower().startswith(("http://", "https://")):
            return Skipped("not_http", _shown(uri))
        return self._revisit(record, uri) if kind == "revisit" else self._capture(record, kind, uri)

    # Ours

    def _add_body(self, record: Any) -> None:
        """Add a version to the entry that is being collected, or record there that the version is damaged."""
        group = self._group
        if group is None or record.rec_type == "revisit":
            return  # the bytes came with another entry
        digest = _hex_of(record.rec_headers.get_header("WARC-Payload-Digest") or "")
        size = group.entry.sizes.get(digest)
        if size is None or digest in group.bodies:
            raise Refused("not_of_the_entry")
        group.broken.append(digest)
        self._http.parse(record.raw_stream)
        with self._land() as landing:
            while piece := record.raw_stream.read(PIECE_BYTES):
                if landing.size + len(piece) > size:
                    raise Refused("size")
                landing.write(piece)
            if landing.size != size or not _is_whole(record):
                raise Refused("cut_short")
            landed = landing.finish()
        if landed.arrived.sha256 != digest:
            landed.close()
            raise Refused("digest")
        group.bodies[digest] = landed
        group.broken.remove(digest)

    # Others'

    def _capture(self, record: Any, kind: str, uri: str) -> Capture | Skipped:
        moment = _moment(record)
        if record.rec_headers.get_header("WARC-Truncated") or record.rec_headers.get_header(
            "WARC-Segment-Number"
        ):
            raise Refused("cut_short")
        status, headers = self._http_head(record) if kind == "response" else (200, _resource_headers(record))
        if status != 200:
            return Skipped("not_200", _shown(uri))
        if (record.raw_stream.limit or 0) > self._max_bytes:
            raise Refused("too_large")
        claimed = _claimed_length(headers)
        is_coded = any(name in {"content-encoding", "transfer-encoding"} for name, _ in headers)
        if claimed is not None and not is_coded and record.raw_stream.limit < claimed:
            raise Refused("cut_short")
        note = record.rec_headers.get_header("WARC-Payload-Digest") or ""
        landed = self._landed(record, headers, Digests(note if kind == "response" else ""))
        is_chunked = any(name == "transfer-encoding" for name, _ in headers)
        has_length = kind == "resource" or claimed is not None or is_chunked
        return Capture(uri, moment, status, headers, landed, has_length, note)

    def _landed(self, record: Any, headers: Headers, digests: Digests) -> Landed:
        with self._land() as landing:
            for piece in decoded(record.raw_stream, headers, max_bytes=self._max_bytes, digests=digests):
                landing.write(piece)
            if not _is_whole(record):
                raise Refused("cut_short")
            if not digests.agree() or _block_is_wrong(record):
                raise Refused("digest")
            if not landing.size:
                raise Refused("empty")
            return landing.finish()

    def _revisit(self, record: Any, uri: str) -> Revisit:
        moment = _moment(record)
        headers: Headers = ()
        if record.length:
            headers = self._http_head(record)[1]
        field = record.rec_headers.get_header
        return Revisit(
            uri,
            moment,
            headers,
            field("WARC-Payload-Digest") or "",
            field("WARC-Refers-To-Target-URI") or uri,
        )

    def _http_head(self, record: Any) -> tuple[int, Headers]:
        head = self._http.parse(record.raw_stream)
        status = _STATUS.match(head.statusline)
        if status is None:
            raise Refused("unreadable")
        pairs = ((str(name).strip().lower(), str(value).strip()) for name, value in head.headers)
        return int(status[1]), tuple(
            (name, value) for name, value in pairs if not _CONTROLS.search(name + value)
        )


_NOT_FOR_US = frozenset({"not_of_the_entry"})


def _kind_word(kind: str) -> str:
    return (
        f"record_{kind}" if kind in {"request", "metadata", "conversion", "continuation"} else "record_other"
    )


def _drain(record: Any) -> None:
    """Read the rest of a record. When the library does this itself, a digest that it cannot parse ends the file."""
    try:
        while record.raw_stream.read(PIECE_BYTES):
            pass
    except (ValueError, TypeError):
        return
    except ArchiveLoadFailed as error:
        raise BadArchive(str(error)) from error


def _text(record: Any, most: int) -> bytes:
    if record.length is None or record.length > most:
        raise Refused("too_large")
    text: bytes = record.raw_stream.read(most)
    if not _is_whole(record):
        raise Refused("cut_short")
    if _block_is_wrong(record):
        raise Refused("digest")
    return text


def _entry_of(text: bytes, uri: str) -> Entry:
    try:
        entry = Entry.from_json(text)
    except EntryUnreadable as error:
        raise Refused("unreadable") from error
    if entry_uri(entry) != uri:
        raise Refused("unreadable")
    return entry


def _is_whole(record: Any) -> bool:
    """Return whether the record was read up to its stated length."""
    # A header without a length was truncated.
    return getattr(record.raw_stream, "limit", None) == 0


def _block_is_wrong(record: Any) -> bool:
    # `Digests` compares the payload digest, because the library knows only one of the three interpretations.
    return any("block digest failed" in problem for problem in record.digest_checker.problems)


def _moment(record: Any) -> float:
    text = record.rec_headers.get_header("WARC-Date") or ""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused("unreadable") from None


def _resource_headers(record: Any) -> Headers:
    content_type = record.rec_headers.get_header("Content-Type") or ""
    return (("content-type", content_type),) if content_type and not _CONTROLS.search(content_type) else ()


def _claimed_length(headers: Headers) -> int | None:
    text = next((value for name, value in headers if name == "content-length"), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _hex_of(field: str) -> str:
    """Return the SHA-256 in one of our digest fields, or an empty text."""
    algorithm, _, value = field.partition(":")
    found = [item.hex() for item in readings(value) if len(item) == 32] if algorithm == "sha256" else []
    return found[0] if found else ""


def _shown(uri: str) -> str:
    return uri[:2000]
