"""Reads queries and bodies of the API strictly: anything unknown, repeated or of the wrong type is refused by name.

Encoding contract: a query is `application/x-www-form-urlencoded` in UTF-8, each parameter at most once. A body is a
JSON object in UTF-8 without repeated members.

    good   limit=50&state=kept        {"source": "https://host/a.png"}
    bad    limit=50&limit=60          {"source": 5}
    bad    Limit=50                   {"source": "https://host/a.png", "sorce": ""}

Event loop.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import ValidationError

from proxy.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from proxy.web.api.endpoints import Asked
from proxy.web.connections.arriving import arriving, require_plain
from proxy.web.handlers.admin import invite

MAX_BODY_BYTES = 256 * 1024
"""The largest JSON body. The largest useful one names a single source, each character of which may be escaped."""

MAX_FIELDS = 32
_SHOWN = 80
_WHOLE = re.compile(r"-?[0-9]{1,15}")
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_FLAGS = {"true": True, "false": False}


def read_query(text: str, model: type[Asked]) -> Asked:
    """Return the values of a raw query.

    Raises:
        InvalidRequest: a parameter is unknown, repeated or invalid; the message names it.
    """
    try:
        pairs = parse_qsl(
            text,
            keep_blank_values=True,
            strict_parsing=bool(text),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise InvalidRequest("The query cannot be read; write name=value&name=value in UTF-8.") from error
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise InvalidRequest(f"{_shown(name)} is given twice.")
        values[name] = _typed(value, model, name)
    return _validated(values, model, what="parameter")


def _typed(text: str, model: type[Asked], name: str) -> object:
    """Return a parameter as the type that its field declares, or unchanged if it is not one."""
    field = model.model_fields.get(name)
    kinds = _kinds(field.annotation) if field else set()
    if bool in kinds:
        return _FLAGS.get(text, text)
    if int in kinds and _WHOLE.fullmatch(text):
        return int(text)
    if float in kinds and _NUMBER.fullmatch(text):
        return float(text)
    return text


def _kinds(annotation: Any) -> set[Any]:
    members = getattr(annotation, "__args__", None)
    return {kind for member in members for kind in _kinds(member)} if members else {annotation}


async def read_body(request: web.BaseRequest, model: type[Asked], *, timeout_seconds: float) -> Asked:
    """Return the values of a JSON body.

    Raises:
        UnsupportedMediaType: it is not declared as JSON, so that no form of a web page can send it, or compressed.
        RequestTooLarge: it has more than `MAX_BODY_BYTES`.
        InvalidRequest: it does not arrive in time, is not JSON, or a member is unknown, repeated or invalid.
    """
    if request.content_type != "application/json":
        raise UnsupportedMediaType("Send application/json.")
    data = b"".join(
        [
            chunk
            async for chunk in body_chunks(request, max_bytes=MAX_BODY_BYTES, timeout_seconds=timeout_seconds)
        ]
    )
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("Send a JSON object in UTF-8, each member once.") from error
    if not isinstance(values, dict):
        raise InvalidRequest("Send a JSON object.")
    return _validated(values, model, what="member")


async def body_chunks(
    request: web.BaseRequest, *, max_bytes: int, timeout_seconds: float
) -> AsyncIterator[bytes]:
    """Yield a body in pieces. `timeout_seconds` bounds the whole of it.

    Raises:
        RequestTooLarge: it has more than `max_bytes`, or announces it.
        UnsupportedMediaType: it is compressed.
        InvalidRequest: it does not arrive in time, or the connection ends.
    """
    require_plain(request)
    if (request.content_length or 0) > max_bytes:
        raise RequestTooLarge(f"The body may have {max_bytes} bytes at most.")
    await invite(request)
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    read = request.content.read
    async for piece in arriving(read, what="The body", max_bytes=max_bytes, deadline=deadline):
        yield piece


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is repeated")
    return found


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _validated(values: Mapping[str, Any], model: type[Asked], *, what: str) -> Asked:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest(_problem(error, model, what=what)) from None


def _problem(error: ValidationError, model: type[Asked], *, what: str) -> str:
    """Return the first problem in words. It repeats only names from the request."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    # A typing error in a name is reported as unknown, not as the lack of the name that was meant.
    first = next((item for item in problems if item["type"] == "extra_forbidden"), problems[0])
    name = _shown(".".join(map(str, first["loc"])) or what)
    if first["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields) or "none"
        return f"Unknown {what} {name}; known are {known}."
    if first["type"] == "missing":
        return f"{name} is missing."
    return f"{name}: {first['msg'].removeprefix('Value error, ')}."


def _shown(name: str) -> str:
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    return "".join(char if char.isprintable() and char.isascii() else ascii(char)[1:-1] for char in shown)
