"""Reads the forms of the desk. Every form that changes something passes here, where its form token is checked.

Event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import BodyPartReader, web
from aiohttp.multipart import MultipartReader

from proxy.errors import InvalidRequest, RequestTooLarge, Unauthorized
from proxy.web.connections.arriving import UNREADABLE, arriving, require_plain
from proxy.web.desk.guard import FORM_FIELD, require_own_form
from proxy.web.desk.pages import DeskRequest

MAX_FORM_BYTES = 64 * 1024
"""The most bytes of a form without a file: an address has at most 8 KiB, each byte of it up to three."""

MAX_FIELDS = 16
UPLOAD_SECONDS = 300.0
"""How long an upload may take. The largest one over a slow line takes minutes."""


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form with a file. chunks: the bytes of the file, read as they arrive."""

    fields: Mapping[str, str]
    chunks: AsyncIterator[bytes]


async def read_form(desk: DeskRequest, *, signed_in: bool = True) -> Mapping[str, str]:
    """Return the fields of a form of the desk.

    Raises:
        Unauthorized: the visitor has not signed in, though the form needs that.
        ForeignForm: the form may come from another site.
        InvalidRequest, RequestTooLarge, UnsupportedMediaType: it cannot be read.
    """
    if signed_in:
        require_session(desk)
    fields = await _fields(desk.request, desk.context.config.server.read_timeout)
    _require_ours(desk, fields)
    return fields


async def read_upload(desk: DeskRequest, *, max_bytes: int) -> UploadForm:
    """Return a form whose last field is a file. Its form token is checked before the file is read.

    Raises:
        Unauthorized, ForeignForm, InvalidRequest, RequestTooLarge, UnsupportedMediaType: as `read_form`; the chunks
            raise InvalidRequest and RequestTooLarge.
    """
    require_session(desk)
    request = desk.request
    require_plain(request)
    if request.content_type != "multipart/form-data":
        raise InvalidRequest("Use the form on the desk's page.")
    if (request.content_length or 0) > max_bytes + MAX_FORM_BYTES:
        raise RequestTooLarge(f"A picture may have {max_bytes} bytes at most.")
    deadline = asyncio.get_running_loop().time() + UPLOAD_SECONDS
    try:
        async with asyncio.timeout_at(deadline):
            fields, file = await _parts(await request.multipart())
    except TimeoutError as error:
        raise InvalidRequest("The form did not arrive in time.") from error
    except UNREADABLE as error:
        raise InvalidRequest("The form cannot be read.", detail=repr(error)) from error
    _require_ours(desk, fields)
    if file is None:
        raise InvalidRequest("Choose a file.")
    return UploadForm(
        fields, arriving(file.read_chunk, what="The file", max_bytes=max_bytes, deadline=deadline)
    )


def require_session(desk: DeskRequest, why: str = "this makes a change") -> None:
    """Let a visitor who has signed in pass, or raise.

    Raises:
        Unauthorized: the visitor may only look.
    """
    if not desk.visitor.may_act:
        raise Unauthorized(f"Sign in first: {why}.")


def _require_ours(desk: DeskRequest, fields: Mapping[str, str]) -> None:
    public_url = desk.context.config.server.public_url
    require_own_form(desk.request, desk.visitor, fields.get(FORM_FIELD, ""), public_url=public_url)


async def _fields(request: web.BaseRequest, timeout_seconds: float) -> dict[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise InvalidRequest("Use a form on the desk's pages.")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise RequestTooLarge
    require_plain(request)
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    read = request.content.read
    pieces = arriving(read, what="The form", max_bytes=MAX_FORM_BYTES, deadline=deadline)
    data = b"".join([piece async for piece in pieces])
    try:
        pairs = parse_qsl(
            data.decode("utf-8"), keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS
        )
    except ValueError as error:
        raise InvalidRequest("The form cannot be read.", detail=repr(error)) from error
    return dict(pairs)


async def _parts(reader: MultipartReader) -> tuple[dict[str, str], BodyPartReader | None]:
    """Return the fields before the file, and the file; None when there is none."""
    fields: dict[str, str] = {}
    for _ in range(MAX_FIELDS):
        part = await reader.next()
        if part is None:
            return fields, None
        if not isinstance(part, BodyPartReader):
            raise InvalidRequest("Use the form on the desk's page.")
        if part.filename is not None:
            return fields, part
        fields[part.name or ""] = (await _small(part)).decode("utf-8", "replace")
    raise InvalidRequest("Use the form on the desk's page.")


async def _small(part: BodyPartReader) -> bytes:
    data = b""
    while chunk := await part.read_chunk():
        data += chunk
        if len(data) > MAX_FORM_BYTES:
            raise RequestTooLarge
    return data
