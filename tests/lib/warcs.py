"""WARC files for tests, written byte by byte: records of other archives, and records that no honest archive holds."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Iterable, Mapping

DATE = "2020-02-03T04:05:06Z"
MOMENT = 1580702706.0


def record(kind: str, block: bytes, fields: Mapping[str, str], *, length: int | None = None) -> bytes:
    """Return one record; `length` declares a wrong length of its block."""
    lines = ["WARC/1.0", f"WARC-Type: {kind}", "WARC-Record-ID: <urn:uuid:0>"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    lines.append(f"Content-Length: {len(block) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + block + b"\r\n\r\n"


def response(
    url: str,
    body: bytes,
    *headers: str,
    status: str = "200 OK",
    date: str = DATE,
    length: int | None = None,
    content_length: int | None = -1,
    **fields: str,
) -> bytes:
    """Return a response record. content_length: the HTTP field; -1 for the true length, None for no field."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("Content-Type: image/png")
    if content_length is not None:
        lines.append(f"Content-Length: {len(body) if content_length < 0 else content_length}")
    block = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return record("response", block, {"WARC-Target-URI": url, "WARC-Date": date, **named}, length=length)


def chunked(body: bytes, size: int = 7) -> bytes:
    """Return a body in chunks."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def sha1(body: bytes) -> str:
    """Return a digest as most archives write it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()


def packed(records: Iterable[bytes]) -> bytes:
    """Return the records as a .warc.gz holds them, each as a separate gzip member."""
    return b"".join(gzip.compress(item) for item in records)
