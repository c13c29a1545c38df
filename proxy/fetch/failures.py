"""Translates exceptions of aiohttp, sockets, TLS and DNS into errors of the contract. No other place does. Pure.

Every failure to reach an origin, including a prohibited address, has the same public message. The real reason is in
`detail`, for the log.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime

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
    HttpProcessingError,  # exceptions of the parser that arrive unwrapped
    OSError,  # sockets, TLS and DNS
    EOFError,
    ValueError,  # URLs, IDNA and Unicode
    RuntimeError,  # uvloop: "the handler is closed"
)

# Statuses not listed here: other 4xx are refusals, and all others are failures. These are 5xx, and statuses that must
# not answer a GET without Range and validators (204, 206, 304, a redirect without Location).
_STATUS_ERRORS: dict[int, type[SourceError]] = {404: SourceNotFound, 410: SourceGone}

_BUSY = 429
_TLS = (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError, ssl.CertificateError)
_LACKS_ISSUER = frozenset({2, 20, 21})
"""OpenSSL's X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, …_LOCALLY and X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE."""
_LONGEST_WISH_SECONDS = 86_400.0


@contextmanager
def network_failures(*, failure: str = "") -> Iterator[None]:
    """Translate network exceptions of the block into `SourceTimeout` or `SourceUnreachable`.

    The block must contain network calls only, because a full disk is not the origin's fault. `failure` names the kind
    if the block knows it better than the exception does.
    """
    try:
        yield
    except TimeoutError as error:
        raise SourceTimeout(detail=_describe(error)) from error
    except _UNREACHABLE as error:
        unreachable = SourceUnreachable(detail=_describe(error))
        unreachable.failure = failure or _kind(error)
        raise unreachable from error


def lacks_issuer(error: SourceError) -> bool:
    """Return whether `error` says that OpenSSL does not know the issuer of a certificate from the origin."""
    cause = error.__cause__
    if not isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return False
    refusal = cause.certificate_error
    return isinstance(refusal, ssl.SSLCertVerificationError) and refusal.verify_code in _LACKS_ISSUER


def status_failure(status: int, *, retry_after: str | None = None, now: float = 0.0) -> SourceError:
    """Return the error for a final status other than 200 (docs/api.md, "Errors").

    `retry_after` is the value of that header (RFC 9110 §10.2.3). It may be a date, so `now` (Unix seconds) is needed.
    """
    error = _STATUS_ERRORS.get(status, SourceRefused if 400 <= status < 500 else SourceFailed)(
        detail=f"the origin answered {status}"
    )
    error.origin_status = status
    if status == _BUSY or status >= 500:
        error.failure = "busy" if status == _BUSY else "failed"
        error.retry_after_seconds = wished_seconds(retry_after, now=now)
    return error


def wished_seconds(retry_after: str | None, *, now: float) -> float | None:
    """Return the seconds that `Retry-After` demands, at most a day; None if it cannot be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        # No int() for any length: thousands of digits would be an attack of their own.
        return min(float(text[:18]), _LONGEST_WISH_SECONDS) if len(text) < 18 else _LONGEST_WISH_SECONDS
    try:
        moment = parsedate_to_datetime(text)
        # RFC 5322: "-0000" and obsolete zones give no zone. HTTP dates are in GMT.
        seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WISH_SECONDS)


def _kind(error: BaseException) -> str:
    """Return the kind of failure as far as the exception tells."""
    if isinstance(error, _TLS):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    # This includes prohibited addresses. They are remembered for the same time, because a difference could be measured.
    return "connect" if isinstance(error, aiohttp.ClientConnectorError) else "unreachable"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
