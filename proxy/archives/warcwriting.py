"""Writes kept originals to a WARC file (ISO 28500, WARC/1.1) that pywb and others can replay. Blocking.

    warcinfo
    metadata   the entry as JSON: everything that WARC has no field for
    response   its bytes under the source's address and the time of the download; one for each version
    revisit    instead of a response whose bytes were written for another source (identical-payload-digest)
    metadata   one for each article, one for each block

Readers that do not know our metadata see an ordinary archive: one capture for each version of each picture. Our
metadata records have `urn:` addresses. With the picture's address, pywb would serve them as its latest capture.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from cache.base.durable import abandoned, create_aside, sync_descriptor, sync_folder
from cache.base.entry import Entry, Former
from cache.originals.articles import KeptArticle
from proxy.archives.items import ARTICLE_TYPE, BLOCK_TYPE, ENTRY_TYPE, OpenBody, entry_uri
from proxy.archives.packed import packed_article
from proxy.version import __version__

_PIECE_BYTES = 1 << 20
_HTTP_SCHEMES = ("http://", "https://")


class _RawHeaders(StatusAndHeaders):  # type: ignore[misc]  # untyped there
    """HTTP headers that are written unchanged; the library would percent-encode bytes that are not ASCII."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("200 OK", [], protocol="HTTP/1.1")
        self.headers_buff = raw

    def compute_headers_buffer(self, header_filter: Any = None) -> None:
        """Leave the headers unchanged."""


class WarcWriter:
    """Writes one WARC file under a temporary name, locked so that no run removes it, and renames it when complete."""

    def __init__(self, target: Path) -> None:
        suffix = f".{target.name}.part"
        abandoned(target.parent, remove=True, suffix=suffix)
        descriptor, self._aside = create_aside(target.parent, suffix=suffix)
        self._target = target
        self._out = os.fdopen(descriptor, "wb")
        self._warc = WARCWriter(self._out, gzip=target.name.lower().endswith(".gz"), warc_version="1.1")
        self._written: dict[str, tuple[str, str]] = {}
        info = {
            "software": f"imgmirror/{__version__}",
            "format": "WARC File Format 1.1",
            "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
            "description": f"originals of an imgmirror store; entries are metadata records of {ENTRY_TYPE}",
        }
        self._warc.write_record(self._warc.create_warcinfo_record(target.name, info))

    def entry(self, entry: Entry, bodies: Mapping[str, OpenBody]) -> int:
        """Write an entry and those of its bodies that are not in the archive yet; return how many were written."""
        self._metadata(entry_uri(entry), ENTRY_TYPE, entry.to_json())
        count = 0
        for version in (entry.as_former(), *entry.history):
            body = bodies[version.body_sha256]
            if body.sha256 in self._written:
                self._revisit(entry, version)
            else:
                self._response(entry, version, body)
                count += 1
        return count

    def article(self, article: KeptArticle) -> None:
        """Write the sources that an article uses, its date, and in which lines they stand."""
        self._json("urn:imgmirror:article", ARTICLE_TYPE, packed_article(article))

    def block(self, url: str, reason: str) -> None:
        """Record that a source is blocked."""
        self._json("urn:imgmirror:block", BLOCK_TYPE, {"source": url, "reason": reason})

    def finish(self) -> None:
        """Make the file durable under its final name.

        Raises:
            FileExistsError: the name has been taken meanwhile.
            OSError: the disk refused.
        """
        self._out.flush()
        sync_descriptor(self._out.fileno())
        # Unlike a rename, a link never replaces a file that was created meanwhile.
        os.link(self._aside, self._target)
        self._aside.unlink()
        sync_folder(self._target.parent)
        self._out.close()

    def abandon(self) -> None:
        """Remove what was written."""
        self._aside.unlink(missing_ok=True)
        # Closing tries again to write the bytes that a full disk refused.
        try:
            self._out.close()
        except OSError:
            return

    def _response(self, entry: Entry, version: Former, body: OpenBody) -> None:
        raw = _http_head(entry, version)
        moments = _moments(version)
        headers = {
            **moments,
            "WARC-Payload-Digest": _digest_field(bytes.fromhex(body.sha256)),
            "WARC-Block-Digest": _block_digest(raw, body.reader),
        }
        self._warc.write_record(
            self._warc.create_warc_record(
                entry.source,
                "response",
                payload=body.reader,
                length=body.size,
                warc_headers_dict=headers,
                http_headers=_RawHeaders(raw),
            )
        )
        if body.is_shared:
            self._written[body.sha256] = (entry.source, moments["WARC-Date"])

    def _revisit(self, entry: Entry, version: Former) -> None:
        first_url, first_date = self._written[version.body_sha256]
        self._warc.write_record(
            self._warc.create_revisit_record(
                entry.source,
                _digest_field(bytes.fromhex(version.body_sha256)),
                first_url,
                first_date,
                http_headers=_RawHeaders(_http_head(entry, version)),
                warc_headers_dict=_moments(version),
            )
        )

    def _json(self, uri: str, content_type: str, value: object) -> None:
        self._metadata(uri, content_type, json.dumps(value, indent=2).encode("ascii") + b"\n")

    def _metadata(self, uri: str, content_type: str, text: bytes) -> None:
        self._warc.write_record(
            self._warc.create_warc_record(
                uri, "metadata", payload=io.BytesIO(text), length=len(text), warc_content_type=content_type
            )
        )


def _http_head(entry: Entry, version: Former) -> bytes:
    """Return status line and headers as the origin may have sent them with these bytes.

    The type is the one detected from the bytes, which a browser needs to show them.
    """
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {version.media_type}", f"Content-Length: {version.body_size}"]
    if version.body_sha256 == entry.body_sha256:
        ours = {"content-type", "content-length", "transfer-encoding", "content-encoding"}
        lines += [f"{name}: {value}" for name, value in entry.headers if name not in ours]
    safe = (line for line in lines if "\r" not in line and "\n" not in line)
    return "\r\n".join([*safe, "", ""]).encode("utf-8", "surrogateescape")


def _moments(version: Former) -> dict[str, str]:
    """Return when the bytes were captured. For bytes recovered from another archive, add from where and when.

    The last two fields are not in ISO 28500; pywb writes them when it copies a capture from another archive.
    """
    came = _warc_date(version.fetched_at)
    if version.recovered is None:
        return {"WARC-Date": came}
    captured_at, url = version.recovered.get("captured_at"), str(version.recovered.get("url", ""))
    captured = _warc_date(captured_at) if isinstance(captured_at, int | float) else came
    source = {"WARC-Source-URI": url} if url.isascii() and url.isprintable() and url else {}
    return {"WARC-Date": captured, **source, "WARC-Creation-Date": came}


def _block_digest(head: bytes, reader: BinaryIO) -> str:
    digest = hashlib.sha256(head)
    while piece := reader.read(_PIECE_BYTES):
        digest.update(piece)
    reader.seek(0)
    return _digest_field(digest.digest())


def _digest_field(digest: bytes) -> str:
    return f"sha256:{base64.b32encode(digest).decode('ascii')}"


def _warc_date(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        moment = datetime.fromtimestamp(0, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
