"""`POST /rewrite` and `POST /purge`: requests of the owner of the articles. Event loop."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Coroutine
from typing import Any

from aiohttp import HttpVersion11, web

from proxy.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from proxy.fetch.hooks import tell
from proxy.rewrite.rewriter import RewriteResult, TextKind, kind_of
from proxy.rewrite.site.sitetext import KIND_OF_MEDIA_TYPE, site_kind
from proxy.services.articles.article_use import RewriteSettings
from proxy.services.upkeep.purging import PurgeRefused, PurgeReport, PurgeWish, wanted
from proxy.web.admin import require_admin
from proxy.web.connections.arriving import require_plain
from proxy.web.context import Context

_KINDS: dict[str, TextKind] = {"text/html": "html", "text/markdown": "markdown", **KIND_OF_MEDIA_TYPE}
_SWITCHES = {"": True, "1": True, "true": True, "0": False, "false": False}
_SWITCHED = ("all_images", "responsive")
_LOOK_SECONDS = 0.25
"""How often we check whether the client is still connected while its article is rewritten."""
_FIELDS: dict[str, type] = {
    "source": str, "origin": str, "article": str, "before": str, "since": str, "history": bool, "older_than": str,
    "keep": int, "dry_run": bool, "block": bool,
}  # fmt: skip
_WORDS = {str: "text", bool: "boolean", int: "whole number"}
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def rewrite(context: Context, request: web.BaseRequest) -> web.Response:
    """Answer the article from the request with its pictures pointing at this service. Nothing else in it changes."""
    require_admin(request, context.config.server)
    asked = _RewriteRequest.read(request)
    base_url = context.config.server.public_url or f"{request.scheme}://{request.host}"
    settings = RewriteSettings.of(
        context.config, base_url=base_url, all_images=asked.all_images, responsive=asked.responsive
    )
    look_up = context.pictures.look_up if asked.responsive else None
    with context.rewriting.admitted():
        data = await _body(request, context.config.server.read_timeout)
        work = context.rewriting.rewrite(data, kind=asked.kind, settings=settings, look_up=look_up)
        result = await _while_connected(request, work)
    headers = {
        **_NO_STORE,
        "Content-Type": request.headers["Content-Type"],
        # The article is foreign HTML on our origin, so it must not run scripts.
        "Content-Security-Policy": "sandbox",
        "X-Imgmirror-Replaced": str(len(result.replaced)),
        "X-Imgmirror-Left": str(len(result.left)),
        **({"X-Imgmirror-Added": str(len(result.added))} if asked.responsive else {}),
    }
    return web.Response(body=result.data, headers=headers)


@dataclasses.dataclass(frozen=True, slots=True)
class _RewriteRequest:
    kind: TextKind
    all_images: bool
    responsive: bool

    @classmethod
    def read(cls, request: web.BaseRequest) -> _RewriteRequest:
        """Read the media type and the parameters of a request.

        Raises:
            UnsupportedMediaType: neither the media type nor, for plain text, `name` tells the kind of text.
            InvalidRequest: a parameter is not known.
        """
        unknown = set(request.query) - {"name", *_SWITCHED}
        switched = [_SWITCHES.get(request.query.get(name, "0")) for name in _SWITCHED]
        if unknown or None in switched:
            raise InvalidRequest(
                "Unknown parameter; known are name=post.md, all_images=1 and responsive=1, not "
                f"{sorted(unknown)}."
            )
        name = request.query.get("name", "")
        kind = _KINDS.get(request.content_type)
        if kind == "markdown" and kind_of(name) == "mdx":
            kind = "mdx"
        if kind is None and request.content_type == "text/plain":
            kind = kind_of(name) or site_kind(name)
        if kind is None:
            raise UnsupportedMediaType
        return cls(kind, *map(bool, switched))


async def purge(context: Context, request: web.BaseRequest) -> web.Response:
    """Delete kept originals. When the answer is sent, the purge holds in every worker."""
    require_admin(request, context.config.server)
    report = await purged(context, _wanted(await _body(request, context.config.server.read_timeout)))
    return web.json_response(dataclasses.asdict(report), headers=_NO_STORE)


async def purged(context: Context, wish: PurgeWish) -> PurgeReport:
    """Purge, and tell the caches in front.

    Raises:
        PurgeRefused: the disk refused part of it. The caches were told of the rest.
    """
    try:
        report = await context.purging.purge(wish)
    except PurgeRefused as error:
        await _tell_hooks(context, error.report)
        raise
    await _tell_hooks(context, report)
    return report


async def _tell_hooks(context: Context, report: PurgeReport) -> None:
    if report.dry_run:
        return
    context.metrics.purges.inc(len(report.purged))
    # The purge itself is done. A hook that failed is therefore only logged and counted, and fails no request.
    told = await tell(context.config.server.purge_hooks, purged=report.purged, blocked=report.blocked)
    for outcome, count in (("ok", told.count(True)), ("failed", told.count(False))):
        context.metrics.purge_hooks.labels(outcome).inc(count)


async def _while_connected(
    request: web.BaseRequest, work: Coroutine[Any, Any, RewriteResult]
) -> RewriteResult:
    """Return the result of `work`, or cancel it when the client has closed the connection.

    Raises:
        InvalidRequest: the client is gone.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=_LOOK_SECONDS))[0]:
            if request.transport is None or request.transport.is_closing():
                raise InvalidRequest(detail="the client is gone")
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _body(request: web.BaseRequest, timeout_seconds: float) -> bytes:
    require_plain(request)
    try:
        async with asyncio.timeout(timeout_seconds):
            await invite(request)
            return await request.read()
    except TimeoutError as error:
        raise InvalidRequest("The body of the request did not arrive in time.") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestTooLarge from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidRequest("The body of the request cannot be read.", detail=repr(error)) from error


async def invite(request: web.BaseRequest) -> None:
    """Tell a client that sent `Expect: 100-continue` to send its body (RFC 9110 §10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The answer itself has not begun.
        request.writer.output_size = 0
        # Do not count these bytes as part of the final answer.
        request.writer.output_size = 0


def _wanted(data: bytes) -> PurgeWish:
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("Send a JSON object.") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("Send a JSON object.")
    for name, value in fields.items():
        if name not in _FIELDS:
            raise InvalidRequest(f"Unknown key {name!r}; known are {', '.join(_FIELDS)}.")
        # `isinstance` would accept a boolean as a whole number.
        if type(value) is not _FIELDS[name]:
            raise InvalidRequest(f"{name} must be a {_WORDS[_FIELDS[name]]}.")
    try:
        return wanted(**fields)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
