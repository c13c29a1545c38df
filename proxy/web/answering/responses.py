"""Turns pictures into answers: headers, preconditions, ranges, streaming (RFC 9110 §8.8, §13, §14; RFC 9211).

Event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiohttp import web

from cache.base.opening import LocalFile, open_regular
from cache.http.validators import Range, evaluate, if_range_matches, parse_range
from proxy.errors import RangeNotSatisfiable
from proxy.services.serving.values import NOT_KEPT, SHORT_SECONDS, Obtained, Picture, as_picture
from proxy.web.targets.negotiate import choose_coding

log = logging.getLogger(__name__)

CHUNK_BYTES = 64 * 1024
"""How much of an original is read and written at a time. It bounds the memory for each client and lets others run."""

WHOLE_BYTES = 2 * CHUNK_BYTES
"""Bodies up to this size are written at once, which is faster."""

SAFE_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; sandbox"
"""An SVG or HTML original that is opened as a page may be shown, but may run no scripts and send no requests."""

_NO_FALLBACK = frozenset({"", "refreshing", NOT_KEPT})
"""Details of short-lived answers that do not name a failure."""

_BASE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": (
        "Cache-Status, Content-Length, Content-Range, ETag, Proxy-Status, X-Imgmirror-Fallback, "
        "X-Imgmirror-Ignored, X-Request-Id"
    ),
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Timing-Allow-Origin": "*",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": SAFE_POLICY,
}


class PiecewiseResponse(web.Response):
    """Writes a large body in memory, or a part of it, in pieces of `CHUNK_BYTES`.

    aiohttp would join the head and the body, so each client that does not read would hold a copy of the whole picture.
    """

    def __init__(self, body: bytes, part: Range, headers: Mapping[str, str], *, status: int) -> None:
        length = {"Content-Length": str(part.stop - part.start)}
        super().__init__(status=status, body=body, headers={**headers, **length})
        self._pieces = memoryview(body)[part.start : part.stop]
        self._begun = False

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the body as fast as the client reads. aiohttp calls this a second time, which does nothing.

        Raises:
            ConnectionError: the client hung up.
        """
        if not self._begun:
            self._begun = True
            for start in range(0, len(self._pieces), CHUNK_BYTES):
                await self.write(self._pieces[start : start + CHUNK_BYTES])
            await super(web.Response, self).write_eof(data)


@dataclass(frozen=True, slots=True)
class Moment:
    """The part of an answer that differs from one request for a picture to the next.

    headers: headers that depend on the address, such as `Vary`. expires_at: when the signature expires.
    short: browsers should ask again soon, because a better answer may follow.
    """

    now: float
    request_id: str
    min_max_age_seconds: float
    headers: Mapping[str, str]
    expires_at: float | None = None
    short: bool = False


def picture_response(request: web.BaseRequest, picture: Picture, moment: Moment) -> web.Response:
    """Return the answer for a picture in memory. Only originals are served in ranges."""
    if picture.untouched:
        return _untouched_response(request, picture, moment)
    headers = _headers(picture, moment)
    if _not_modified(request, picture):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = picture.media_type
    return _with_body(request, picture.body, Range(0, len(picture.body)), headers)


def original_response(request: web.BaseRequest, picture: Picture, moment: Moment) -> web.Response:
    """Return the answer for an original in memory, or for a part of it when the request has a range."""
    headers = _headers(picture, moment)
    headers["Accept-Ranges"] = "bytes"
    if _not_modified(request, picture):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = picture.media_type
    part = _range(request, picture.etag, picture.last_modified, size=len(picture.body))
    if part is None:
        return _with_body(request, picture.body, Range(0, len(picture.body)), headers)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(picture.body)}"
    return _with_body(request, picture.body, part, headers, status=206)


def _with_body(
    request: web.BaseRequest, body: bytes, part: Range, headers: Mapping[str, str], *, status: int = 200
) -> web.Response:
    if part.stop - part.start > WHOLE_BYTES and request.method != "HEAD":
        return PiecewiseResponse(body, part, headers, status=status)
    # A slice of the whole `bytes` object is the object itself, not a copy.
    return web.Response(status=status, body=body[part.start : part.stop], headers=headers)


def _untouched_response(request: web.BaseRequest, picture: Picture, moment: Moment) -> web.Response:
    """Return the answer for an original in place of a variant, in a content coding that the client accepts."""
    coding = choose_coding(joined(request, "Accept-Encoding"), picture.codings)
    vary = ", ".join(filter(None, (moment.headers.get("Vary"), "Accept-Encoding")))
    moment = replace(moment, headers={**moment.headers, "Vary": vary})
    response = original_response(request, picture.coded(coding) if coding else picture, moment)
    if coding and response.status != 304:
        response.headers["Content-Encoding"] = coding
    return response


def handed_response(
    request: web.BaseRequest,
    picture: Picture,
    moment: Moment,
    *,
    header: tuple[str, str],
    ranges_of: int | None = None,
) -> web.Response:
    """Return the answer for a picture whose file the web server in front sends; `header` names the file.

    `ranges_of` is the size in bytes of an original, which may be sent in ranges. It is None for a variant, which is
    always sent whole.

    Raises:
        RangeNotSatisfiable: the range lies outside the original.
    """
    headers = _headers(picture, moment)
    if _not_modified(request, picture):
        return web.Response(status=304, headers=headers)
    if ranges_of is not None:
        # The server in front cuts the range and sets `Accept-Ranges`.
        _range(request, picture.etag, picture.last_modified, size=ranges_of)
    headers["Content-Type"] = picture.media_type
    headers[header[0]] = header[1]
    return web.Response(headers=headers)


async def stream_original(
    request: web.BaseRequest, obtained: Obtained, file: LocalFile, moment: Moment
) -> web.StreamResponse:
    """Answer an original from its file, in pieces, without holding it in memory.

    Raises:
        OSError: the body in the store does not match its entry. Nothing has been sent then.
    """
    picture = as_picture(obtained, b"")
    size = obtained.entry.body_size
    headers = _headers(picture, moment)
    headers["Accept-Ranges"] = "bytes"
    if _not_modified(request, picture):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = picture.media_type
    part = _range(request, picture.etag, picture.last_modified, size=size)
    if part is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    else:
        part = Range(0, size)
    headers["Content-Length"] = str(part.stop - part.start)
    return await _send_file(request, file, headers, part=part, size=size)


async def _send_file(
    request: web.BaseRequest, file: LocalFile, headers: Mapping[str, str], *, part: Range, size: int
) -> web.StreamResponse:
    start, stop = part.start, part.stop
    descriptor = await asyncio.to_thread(_opened, file, size)
    try:
        partial = "Content-Range" in headers
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        await response.prepare(request)
        while start < stop and request.method != "HEAD":
            chunk = await asyncio.to_thread(_read, descriptor, min(CHUNK_BYTES, stop - start), start)
            if not chunk:
                # RFC 9112 §6.3: the head is sent, so only an aborted connection tells the client of the failure.
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write(chunk)
            start += len(chunk)
        await response.write_eof()
        return response
    finally:
        os.close(descriptor)


def _opened(file: LocalFile, size: int) -> int:
    descriptor = open_regular(file)
    if os.fstat(descriptor).st_size != size:
        os.close(descriptor)
        raise FileNotFoundError(f"{file} does not have the {size} bytes of its entry")
    return descriptor


def _read(descriptor: int, size: int, offset: int) -> bytes:
    try:
        return os.pread(descriptor, size, offset)
    except OSError as error:
        log.error("a kept original cannot be read: %s", error)
        return b""


def _headers(picture: Picture, moment: Moment) -> dict[str, str]:
    remaining = picture.fresh_until - moment.now
    max_age = SHORT_SECONDS if picture.short or moment.short else max(remaining, moment.min_max_age_seconds)
    if moment.expires_at is not None:
        max_age = min(max_age, max(moment.expires_at - moment.now, 0))
    headers = _BASE.copy()
    headers["ETag"] = picture.etag
    headers["Cache-Control"] = f"public, max-age={int(min(max_age, 31_536_000))}"
    headers["Cache-Status"] = picture.state.header(int(min(max(remaining, 0), 31_536_000)))
    headers["Proxy-Status"] = picture.state.proxy_header()
    headers["X-Request-Id"] = moment.request_id
    if picture.short and picture.state.detail not in _NO_FALLBACK:
        headers["X-Imgmirror-Fallback"] = picture.state.detail
    if picture.last_modified:
        headers["Last-Modified"] = picture.last_modified
    if picture.language:
        headers["Content-Language"] = picture.language
    headers.update(moment.headers)
    return headers


def _not_modified(request: web.BaseRequest, picture: Picture) -> bool:
    given = request.headers
    if "If-None-Match" not in given and "If-Modified-Since" not in given:
        return False
    # RFC 9110 §13.1.1: If-Match protects changes. A 412 for a picture would be useless, so only 304 is considered.
    conditions = {
        "if_none_match": joined(request, "If-None-Match"),
        "if_modified_since": given.get("If-Modified-Since"),
        "last_modified": picture.last_modified or None,
    }
    tags = (picture.etag, picture.weak_etag) if picture.weak_etag else (picture.etag,)
    return any(evaluate(request.method, etag=tag, **conditions) == "not_modified" for tag in tags)


def joined(request: web.BaseRequest, name: str) -> str | None:
    """Return a header of the request, its field lines joined into one list (RFC 9110 §5.3)."""
    values = request.headers.getall(name, ())
    return ", ".join(values) if values else None


def _range(request: web.BaseRequest, etag: str, last_modified: str, *, size: int) -> Range | None:
    text = request.headers.get("Range")
    if text is None or request.method != "GET":
        return None
    condition = request.headers.get("If-Range")
    if condition is not None and not if_range_matches(
        condition, etag=etag, last_modified=last_modified or None
    ):
        return None
    part = parse_range(text, size)
    if part is not None and not isinstance(part, Range):
        error = RangeNotSatisfiable()
        error.size_bytes = size
        raise error
    return part
