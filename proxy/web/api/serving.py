"""Answers a request to the API: finds its endpoint in the table, checks the rights, reads it, and writes the answer.

Event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiohttp import hdrs, web

from proxy.errors import MethodNotAllowed, NotFound
from proxy.web.api.admission import admitted
from proxy.web.api.endpoints import MOUNT, Asked, Call, Endpoint, Nothing
from proxy.web.api.reading import read_body, read_query
from proxy.web.api.table import ENDPOINTS
from proxy.web.api.values import PRIVATE_HEADERS, as_json
from proxy.web.connections.server import Request
from proxy.web.context import Context
from proxy.web.errors import store_refused

API_ROOT = "/api/"


async def answer_api(context: Context, request: Request, target: str) -> web.StreamResponse:
    """Answer a request to an address below `/api/`.

    Raises:
        MirrorError: see docs/api.md, "Errors".
    """
    rights = admitted(context, request)
    path, _, query = target.partition("?")
    endpoint, values = _found(path, request.method)
    if endpoint.right == "change":
        rights.require_change()
    body: Asked = Nothing()
    if endpoint.body is not None:
        body = await read_body(request, endpoint.body, timeout_seconds=context.config.server.read_timeout)
    call = Call(context, request, rights, values, read_query(query, endpoint.query), body)
    answer = await _run(endpoint, call)
    if isinstance(answer, web.StreamResponse):
        return answer
    return web.Response(
        body=as_json(answer),
        status=endpoint.status,
        headers={**PRIVATE_HEADERS, "Content-Type": "application/json"},
    )


async def _run(endpoint: Endpoint, call: Call[Any, Any]) -> object:
    try:
        return await endpoint.run(call)
    except ConnectionError:
        raise
    except OSError as error:
        raise store_refused(error) from error


def _found(path: str, method: str) -> tuple[Endpoint, dict[str, str]]:
    method = hdrs.METH_GET if method == hdrs.METH_HEAD else method
    matches = list(_matching(path.removeprefix(MOUNT) if path.startswith(MOUNT + "/") else ""))
    for endpoint, values in matches:
        if endpoint.method == method:
            return endpoint, values
    if not matches:
        raise NotFound
    error = MethodNotAllowed()
    allowed = {endpoint.method for endpoint, _ in matches}
    error.allow = ", ".join(sorted(allowed | ({hdrs.METH_HEAD} if hdrs.METH_GET in allowed else set())))
    raise error


def _matching(path: str) -> Iterable[tuple[Endpoint, dict[str, str]]]:
    for endpoint in ENDPOINTS:
        values = endpoint.match(path)
        if values is not None:
            yield endpoint, values
