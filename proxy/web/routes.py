"""Finds the handler of a raw request target, and turns errors into answers. Nothing else translates errors. Event loop.

We do not use aiohttp's router. It decodes and normalises paths (`%2F`, `%2C`, dot segments), so that some addresses
would name a different picture.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from cache.base.errors import (
    CacheError,
    FlightClosed,
    NotKept,
    StoreBusy,
    StoreUnreadable,
)
from proxy.dialects.native import MOUNT
from proxy.errors import Internal, MethodNotAllowed, MirrorError, NotFound, QueueFull
from proxy.web.api.serving import API_ROOT, answer_api
from proxy.web.connections.server import Request
from proxy.web.context import Context
from proxy.web.desk.door import answer_desk, is_desk
from proxy.web.desk.pages import HOME
from proxy.web.errors import VARIES_BY, error_response, from_aiohttp
from proxy.web.handlers.admin import purge, rewrite
from proxy.web.handlers.cors import cors_help, is_cors_needed
from proxy.web.handlers.explain import EXPLAIN_MOUNT, explain
from proxy.web.handlers.home import home, script
from proxy.web.handlers.pictures import answer_picture
from proxy.web.handlers.service import healthz, metrics, readyz

log = logging.getLogger(__name__)

Handler = Callable[[Context, web.BaseRequest], Awaitable[web.StreamResponse]]

_READ = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_FIXED: dict[str, tuple[frozenset[str], Handler]] = {
    "/static/home.js": (_READ, script),
    "/healthz": (_READ, healthz),
    "/readyz": (_READ, readyz),
    "/metrics": (_READ, metrics),
    "/rewrite": (frozenset({hdrs.METH_POST}), rewrite),
    "/purge": (frozenset({hdrs.METH_POST}), purge),
    "/cors/": (_READ, cors_help),
    "/cors/iscorsneeded": (_READ, is_cors_needed),
}
_AT_EVERY_HOST = frozenset({"/healthz", "/readyz"})
_ADMINISTRATIVE = (EXPLAIN_MOUNT, API_ROOT, "/desk")
_AT_OUR_OWN = (EXPLAIN_MOUNT, MOUNT, API_ROOT, "/static/")
"""Addresses that a host with another proxy's dialect does not answer, in addition to `_FIXED`."""
_AT_ROOTS: dict[tuple[str, str], Handler] = {
    ("cors-anywhere", "/"): cors_help,
    ("cors-anywhere", "/iscorsneeded"): is_cors_needed,
}


def raw_target(request: web.BaseRequest) -> str:
    """Return the request target in origin-form, as it was on the wire (RFC 9112 §3.2)."""
    target = request.raw_path
    if target.startswith("/"):
        return target
    # Absolute-form: remove the scheme and the authority, by which the client knows us.
    _, mark, rest = target.partition("://")
    if not mark:
        return target
    authority_end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    tail = rest[authority_end:]
    return tail if tail.startswith("/") else "/" + tail


def asked_host(request: web.BaseRequest) -> str | None:
    """Return the requested host as the client wrote it. The host of an absolute target wins (RFC 9112 §3.2.2).

    `X-Forwarded-Host` is ignored: a proxy in front has to pass `Host` on.
    """
    target = request.raw_path
    if target.startswith("/"):
        return request.headers.get(hdrs.HOST)
    scheme, mark, rest = target.partition("://")
    if not mark or not scheme.isalpha():
        return request.headers.get(hdrs.HOST)
    return re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[2]


async def dispatch(context: Context, request: Request) -> web.StreamResponse:
    """Answer one request. Every error but a lost connection becomes an answer."""
    request_id = context.next_request_id()
    try:
        return await _handled(context, request, request_id)
    except web.HTTPException as error:
        return _failed(request, context, from_aiohttp(error), request_id)
    except MirrorError as error:
        return _failed(request, context, error, request_id)
    except CacheError as error:
        return _failed(request, context, _from_store(error), request_id)
    except ConnectionError:
        context.accounts.left(request)
        raise
    except Exception as error:
        log.exception("request %s failed", request_id)
        return _failed(request, context, Internal(detail=repr(error)), request_id)


async def _handled(context: Context, request: Request, request_id: str) -> web.StreamResponse:
    target = raw_target(request)
    path = target.partition("?")[0]
    if context.clients is not None:
        context.clients.admit(request, path, now=context.now())
    # Most services configure no hosts, so a hit need not look at `Host`.
    root = context.plans.root_of(asked_host(request)) if context.plans.has_hosts else ""
    if root and path not in _AT_EVERY_HOST:
        return await _at_root(context, request, target, request_id, root=root)
    if path in _FIXED:
        request.route = path
        methods, handler = _FIXED[path]
        return await _with_method(context, request, methods, handler)
    if path.startswith(_ADMINISTRATIVE):
        return await _administrative(context, request, target, request_id)
    return await _public(context, request, target, request_id)


async def _public(context: Context, request: Request, target: str, request_id: str) -> web.StreamResponse:
    """Answer a request for a picture, a preflight, or the page for strangers."""
    request.route = "other"
    if request.method == hdrs.METH_OPTIONS:
        return _preflight(request)
    if request.method not in _READ:
        raise MethodNotAllowed
    if target in {"/", "/?"}:
        request.route = "/"
        return await home(context, request)
    return await answer_picture(context, request, target, request_id)


async def _administrative(
    context: Context, request: Request, target: str, request_id: str
) -> web.StreamResponse:
    path = target.partition("?")[0]
    if is_desk(path):
        return await answer_desk(context, request, target, request_id)
    if not path.startswith((EXPLAIN_MOUNT, API_ROOT)):
        return await _public(context, request, target, request_id)
    if target.startswith(API_ROOT):
        request.route = API_ROOT
        return await answer_api(context, request, target)
    request.route = EXPLAIN_MOUNT
    return await _with_method(context, request, _READ, explain)


async def _at_root(
    context: Context, request: Request, target: str, request_id: str, *, root: str
) -> web.StreamResponse:
    """Answer a request to a host that speaks the dialect `root`. Of our own addresses it answers only health checks."""
    path = target.partition("?")[0]
    request.route = "other"
    if path in _FIXED or is_desk(path) or path.startswith(_AT_OUR_OWN):
        raise NotFound
    if request.method == hdrs.METH_OPTIONS:
        return _preflight(request)
    handler = _AT_ROOTS.get((root, target))
    if handler is not None:
        return await _with_method(context, request, _READ, handler)
    if request.method not in _READ:
        raise MethodNotAllowed
    if target == "/":
        raise NotFound
    return await answer_picture(context, request, target, request_id, root=root)


async def _with_method(
    context: Context, request: web.BaseRequest, methods: frozenset[str], handler: Handler
) -> web.StreamResponse:
    if request.method not in methods:
        error = MethodNotAllowed()
        error.allow = ", ".join(sorted(methods))
        raise error
    return await handler(context, request)


def _preflight(request: web.BaseRequest) -> web.Response:
    """Answer a CORS preflight (Fetch standard §3.2.2). Every site may read pictures."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
        "Access-Control-Max-Age": "86400",
        "Allow": "GET, HEAD, OPTIONS",
        "Vary": "Access-Control-Request-Headers",
    }
    asked = request.headers.get("Access-Control-Request-Headers")
    if asked:
        headers["Access-Control-Allow-Headers"] = asked
    return web.Response(status=204, headers=headers)


def _from_store(error: CacheError) -> MirrorError:
    """Return the client's error for an error of the store. `/readyz` says more about the cause."""
    match error:
        case FlightClosed():
            return QueueFull("This service is shutting down; try again.")
        case StoreBusy():
            return QueueFull("The store is locked; try again soon.", detail=str(error))
        case StoreUnreadable():
            return QueueFull("The store cannot be read now; try again soon.", detail=str(error))
        case NotKept():
            return QueueFull(
                "The disk of the store refused; part of the work was not done.", detail=repr(error)
            )
        case _:
            return Internal(detail=repr(error))


def _failed(request: Request, context: Context, error: MirrorError, request_id: str) -> web.Response:
    """Return the answer for an error, and log it.

    Raises:
        ConnectionAbortedError: the head of another answer is sent, and the text of an error must not become part of its
            body. The connection is cut, which alone tells the client that the answer is incomplete (RFC 9112 §6.3).
    """
    context.metrics.errors.labels(error.code).inc()
    request.failure = error.code
    fields = {
        "request": request_id,
        "status": error.status,
        "code": error.code,
        "address": request.raw_path,
        "source": _source(context, request),
        "client": context.accounts.client(request),
        "referer": request.headers.get(hdrs.REFERER, ""),
        "detail": error.detail,
    }
    level = logging.WARNING if error.status >= 500 else logging.INFO
    log.log(
        level, "request failed", extra={"fields": {name: value for name, value in fields.items() if value}}
    )
    if request.writer.output_size:
        if request.transport is not None:
            request.transport.abort()
        context.accounts.left(request)
        raise ConnectionAbortedError(error.code)
    return error_response(
        error,
        request_id=request_id,
        accept=request.headers.get(hdrs.ACCEPT),
        varies_by=request.get(VARIES_BY, ""),
        private=request.route in {API_ROOT, HOME},
    )


def _source(context: Context, request: web.BaseRequest) -> str:
    """Return the source that a request names, even if it is not admitted; empty when it names none."""
    try:
        root = context.plans.root_of(asked_host(request))
        return context.plans.read(raw_target(request), root=root).source.url
    except MirrorError:
        return ""
