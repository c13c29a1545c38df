"""Reads the forms of the desk. Every form that changes something passes `read_form`. Event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from proxy.errors import InvalidRequest, RequestTooLarge, Unauthorized
from proxy.web.desk.guard import FORM_FIELD, require_own_form
from proxy.web.desk.pages import DeskRequest

MAX_FORM_BYTES = 64 * 1024
"""The most bytes of a form without a file: an address has at most 8 KiB, each byte of it up to three."""


async def read_form(desk: DeskRequest, *, signed_in: bool = True) -> Mapping[str, str]:
    """Return the fields of a form of the desk.

    Raises:
        Unauthorized: the visitor has not signed in, though the form needs that.
        ForeignForm: the form may come from another site.
        InvalidRequest, RequestTooLarge: it cannot be read.
    """
    if signed_in and not desk.visitor.may_act:
        raise Unauthorized("Sign in first: this changes something.")
    fields = await _fields(desk.request, desk.context.config.server.read_timeout)
    public_url = desk.context.config.server.public_url
    require_own_form(desk.request, desk.visitor, fields.get(FORM_FIELD, ""), public_url=public_url)
    return fields


async def _fields(request: web.BaseRequest, timeout_seconds: float) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("Send a form of the desk.")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise RequestTooLarge
    try:
        async with asyncio.timeout(timeout_seconds):
            posted = await request.post()
    except TimeoutError as error:
        raise InvalidRequest("The form did not arrive in time.") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestTooLarge from error
    except (web.RequestPayloadError, ConnectionError, ValueError, LookupError) as error:
        raise InvalidRequest("The form cannot be read.", detail=repr(error)) from error
    return {name: value for name, value in posted.items() if isinstance(value, str)}
