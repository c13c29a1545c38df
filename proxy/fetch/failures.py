"""The one place where exceptions of aiohttp, sockets, TLS and DNS become errors of the contract. Pure.

Every failure to reach an origin, prohibited addresses included, has the same public message; what really
happened stands in `detail`, for the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from proxy.errors import (
    SourceError,
    SourceFailed,
    SourceGone,
    SourceNotFound,
    SourceRefused,
    SourceTimeout,
    SourceUnreachable,
)

_UNREACHABLE = (
    aiohttp.ClientError,
    HttpProcessingError,  # the parser's own, when it reaches us unwrapped
    OSError,  # sockets, TLS and DNS
    EOFError,
    ValueError,  # URLs, IDNA and Unicode
    RuntimeError,  # uvloop: "the handler is closed"
)

# Not here: other 4xx are refusals. All else is a failure: 5xx, and what a GET without Range and without
# validators must not be answered with (204, 206, 304, a redirect without Location).
_STATUS_ERRORS: dict[int, type[SourceError]] = {404: SourceNotFound, 410: SourceGone}


@contextmanager
def network_failures() -> Iterator[None]:
    """Turn what the network raises inside the block into `SourceTimeout` or `SourceUnreachable`.

    The block holds network calls only: a full disk is not the origin's fault.
    """
    try:
        yield
    except TimeoutError as error:
        raise SourceTimeout(detail=_describe(error)) from error
    except _UNREACHABLE as error:
        raise SourceUnreachable(detail=_describe(error)) from error


def status_failure(status: int) -> SourceError:
    """Return the error that a final status other than 200 means (docs/api.md, "Errors")."""
    error = _STATUS_ERRORS.get(status, SourceRefused if 400 <= status < 500 else SourceFailed)(
        detail=f"the origin answered {status}"
    )
    error.origin_status = status
    return error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
