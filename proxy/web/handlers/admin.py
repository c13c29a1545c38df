"""`POST /rewrite` and `POST /purge`: what the owner of the articles asks."""

from __future__ import annotations

import asyncio
import dataclasses
import json

from aiohttp import web

from proxy.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from proxy.services.purging import Wanted
from proxy.web.admin import require_admin
from proxy.web.context import CONTEXT

_KINDS = {"text/html": "html", "text/markdown": "markdown"}
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


async def rewrite(request: web.Request) -> web.Response:
    """Answer the article that was sent, its pictures pointing at this service; nothing else in it changes."""
    context = request.app[CONTEXT]
    require_admin(request, context.config.server.admin_token)
    kind = _KINDS.get(request.content_type)
    if kind is None:
        raise UnsupportedMediaType
    data = await _body(request, context.config.server.read_timeout)
    base_url = context.config.server.public_url or f"{request.scheme}://{request.host}"
    result = await asyncio.to_thread(
        context.articles.rewrite, data, kind=kind, base_url=base_url, config=context.config
    )
    headers = {
        **_NO_STORE,
        "Content-Type": request.headers["Content-Type"],
        # The article is somebody else's HTML on our origin: it may be read, not run.
        "Content-Security-Policy": "sandbox",
        "X-Imgmirror-Replaced": str(len(result.replaced)),
        "X-Imgmirror-Left": str(len(result.left)),
    }
    return web.Response(body=result.data, headers=headers)


async def purge(request: web.Request) -> web.Response:
    """Delete kept originals; true in every worker when the answer comes."""
    context = request.app[CONTEXT]
    require_admin(request, context.config.server.admin_token)
    wanted = _wanted(await _body(request, context.config.server.read_timeout))
    report = await context.purging.purge(wanted)
    return web.json_response(dataclasses.asdict(report), headers=_NO_STORE)


async def _body(request: web.Request, timeout_seconds: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_seconds):
            return await request.read()
    except TimeoutError as error:
        raise InvalidRequest("The body of the request did not arrive in time.") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestTooLarge from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise InvalidRequest("The body of the request cannot be read.", detail=repr(error)) from error


def _wanted(data: bytes) -> Wanted:
    kinds = {"source": str, "origin": str, "article": str, "dry_run": bool, "block": bool}
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("Send a JSON object.") from error
    if not isinstance(fields, dict):
        raise InvalidRequest("Send a JSON object.")
    for name, value in fields.items():
        if name not in kinds:
            raise InvalidRequest(f"Unknown key {name!r}; known are {', '.join(kinds)}.")
        if not isinstance(value, kinds[name]):
            raise InvalidRequest(f"{name} must be a {'text' if kinds[name] is str else 'boolean'}.")
    return Wanted(**fields)
