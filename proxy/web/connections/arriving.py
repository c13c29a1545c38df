"""Bodies that arrive in pieces, bounded in size and time. Event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType

UNREADABLE = (
    web.RequestPayloadError, HttpProcessingError, ConnectionError, ValueError, LookupError, AssertionError,
    RuntimeError,
)  # fmt: skip
"""The errors that aiohttp raises for bodies that end early or are not forms."""

_PIECE_BYTES = 64 * 1024


def require_plain(request: web.BaseRequest) -> None:
    """Let a body pass that is not compressed, or raise (RFC 9110 §15.5.16). The server decodes none.

    Raises:
        UnsupportedMediaType: it has a content coding.
    """
    codings = request.headers.get(hdrs.CONTENT_ENCODING, "")
    if codings.strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")


async def arriving(
    read: Callable[[int], Awaitable[bytes]], *, what: str, max_bytes: int, deadline: float
) -> AsyncIterator[bytes]:
    """Yield the pieces that `read` returns until it returns none. `read` takes the maximum size of a piece.

    what: the name of the body in messages, such as "The body". deadline: when the last piece must have arrived, by the
    clock of the event loop.

    Raises:
        RequestTooLarge: there are more than `max_bytes`.
        InvalidRequest: it does not arrive in time, or cannot be read.
    """
    size = 0
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                piece = await read(_PIECE_BYTES)
        except TimeoutError as error:
            raise InvalidRequest(f"{what} did not arrive in time.") from error
        except UNREADABLE as error:
            raise InvalidRequest(f"{what} cannot be read.", detail=repr(error)) from error
        if not piece:
            return
        size += len(piece)
        if size > max_bytes:
            raise RequestTooLarge(f"{what} may have {max_bytes} bytes at most.")
        yield piece
