"""The one place where exceptions of aiohttp, sockets, TLS and DNS become errors of the contract. Pure.

Every failure to reach an origin, prohibited addresses included, has the same public message; what really
happened stands in `detail`, for the log.
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
    HttpProcessingError,  # the parser's own, when it reaches us unwrapped
    OSError,  # sockets, TLS and DNS
    EOFError,
    ValueError,  # URLs, IDNA and Unicode
    RuntimeError,  # uvloop: "the handler is closed"
)

# Not here: other 4xx are refusals. All else is a failure: 5xx, and what a GET without Range and without
# validators must not be answered with (204, 206, 304, a redirect without Location).
_STATUS_ERRORS: dict[int, type[SourceError]] = {404: SourceNotFound, 410: SourceGone}

_BUSY = 429
_TLS = (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError, ssl.CertificateError)
_LACKS_ISSUER = frozenset({2, 20, 21})
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, …_LOCALLY and X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE of OpenSSL."""
_LONGEST_WISH_SECONDS = 86_400.0


@contextmanager
def network_failures(*, failure: str = "") -> Iterator[None]:
    """Turn what the network raises inside the block into `SourceTimeout` or `SourceUnreachable`.

    The block holds network calls only: a full disk is not the origin's fault. `failure` names the kind where the
    block knows it better than the exception.
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
    """Tell whether `error` is that OpenSSL knows no issuer of a certificate that the origin sent."""
    cause = error.__cause__
    if not isinstance(cause, aiohttp.ClientConnectorCertificateError):
        return False
    refusal = cause.certificate_error
    return isinstance(refusal, ssl.SSLCertVerificationError) and refusal.verify_code in _LACKS_ISSUER


def status_failure(status: int, *, retry_after: str | None = None, now: float = 0.0) -> SourceError:
    """Return the error that a final status other than 200 means (docs/api.md, "Errors").

    `retry_after` is that header's value (RFC 9110 §10.2.3), `now` unix seconds: it may be a date.
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
    """Return the seconds that a `Retry-After` asks for, a day at most; None when it cannot be read."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        # Not int() of any length: thousands of digits are an attack of their own.
        return min(float(text[:18]), _LONGEST_WISH_SECONDS) if len(text) < 18 else _LONGEST_WISH_SECONDS
    try:
        moment = parsedate_to_datetime(text)
        # RFC 5322: "-0000" and obsolete zones leave no zone; HTTP's dates are in GMT.
        seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WISH_SECONDS)


def _kind(error: BaseException) -> str:
    """Return what kept us from an answer, as far as the exception tells."""
    if isinstance(error, _TLS):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    # Prohibited addresses are among these, and last as long: what differs could be measured from outside.
    return "connect" if isinstance(error, aiohttp.ClientConnectorError) else "unreachable"


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]
