"""Turns errors into answers. This is the only place where an exception becomes a status, headers and a text. Pure."""

from __future__ import annotations

import json
import math

from aiohttp import web

from proxy.errors import (
    Internal,
    MethodNotAllowed,
    MirrorError,
    QueueFull,
    RangeNotSatisfiable,
    RateLimited,
    RequestTooLarge,
    SourceError,
    SourceUnreachable,
    Unauthorized,
)
from proxy.services.serving.values import proxy_status
from proxy.services.troubles.negatives import MAX_ASKED_SECONDS
from proxy.web.targets.negotiate import accepts_json

_BRIEFLY_CACHEABLE = {404, 410, 422}
_SHORT = "public, max-age=60"
_PUBLIC = {
    "Access-Control-Allow-Origin": "*",
    "Timing-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
_PRIVATE = {"Cross-Origin-Resource-Policy": "same-origin"}


VARIES_BY = "varies by"
"""The key under which a request holds the `Vary` value of an answer that became an error."""


def error_response(
    error: MirrorError, *, request_id: str, accept: str | None, varies_by: str = "", private: bool = False
) -> web.Response:
    """Return the answer for `error`: JSON, or one line of text when the client does not accept JSON.

    With `private`, other sites may not read it, and nobody keeps it.
    """
    headers = {
        **(_PRIVATE if private else _PUBLIC),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Vary": ", ".join(dict.fromkeys(["Accept", *filter(None, varies_by.split(", "))])),
        "Cache-Control": _SHORT if error.status in _BRIEFLY_CACHEABLE and not private else "no-store",
        "Cache-Status": _cache_status(error),
        "Proxy-Status": proxy_status(error.code, _received_status(error)) + f'; details="{error.code}"',
        "X-Request-Id": request_id,
    }
    if seconds := _retry_after_seconds(error):
        headers["Retry-After"] = str(seconds)
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="imgmirror"'
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = error.allow
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size_bytes}"
    if accepts_json(accept):
        body = {"code": error.code, "message": error.message, "request_id": request_id}
        return web.Response(
            text=json.dumps(body, ensure_ascii=False),
            status=error.status,
            headers=headers,
            content_type="application/json",
        )
    text = f"{error.code}: {error.message} (request {request_id})\n"
    return web.Response(text=text, status=error.status, headers=headers, content_type="text/plain")


def _retry_after_seconds(error: MirrorError) -> int:
    """Return after how many whole seconds it makes sense to ask again (RFC 9110 §10.2.3); 0 when unknown."""
    if isinstance(error, QueueFull | RateLimited):
        return error.retry_after_seconds
    # We pause before asking an unreachable origin again, but not for a prohibited address. Answers must not reveal
    # which of the two it is, so neither has a Retry-After.
    if not isinstance(error, SourceError) or isinstance(error, SourceUnreachable) or error.status < 500:
        return 0
    return math.ceil(min(error.retry_after_seconds or 0.0, MAX_ASKED_SECONDS))


def _cache_status(error: MirrorError) -> str:
    """Return `Cache-Status` (RFC 9211): whether and why an origin was asked. A remembered failure is a hit."""
    parts = ["imgmirror"]
    if error.forward:
        parts.append(f"fwd={error.forward}")
        status = _received_status(error)
        parts += [f"fwd-status={status}"] if status else []
    elif isinstance(error, SourceError):
        parts.append("hit")
    return "; ".join([*parts, f"detail={error.code}"])


def _received_status(error: MirrorError) -> int:
    return error.origin_status if isinstance(error, SourceError) else 0


def store_refused(error: Exception) -> QueueFull:
    """Return our error for one of the disk that nothing else has translated."""
    return QueueFull("The store does not answer as it should; see the log.", detail=repr(error))


def from_aiohttp(error: web.HTTPException) -> MirrorError:
    """Return our error for one that aiohttp raised while reading the request."""
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return RequestTooLarge()
    return Internal(detail=repr(error))
