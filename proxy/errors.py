"""The errors a client may see: one tree, one shape (docs/api.md, "Errors").

    MirrorError
    ├── RequestError          the URL, the rights or the moment are wrong
    ├── SourceError           the origin could not give the original
    └── PictureError          the original cannot be turned into what was asked

Each class carries what the middleware needs: `code` for programs, `status` for HTTP, `public_message` for
people. `detail` is private (resolved address, library message) and goes to the log only. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class MirrorError(Exception):
    """Base of all errors that have an answer in the contract.

    `message` may replace the class's public message. It is shown to the client, so it never carries addresses, paths
    or library text; those go into `detail`. `forward` says why the origin was asked (RFC 9211 §2.2). The caller that
    asked sets it; it is empty when no origin was asked.
    """

    code: ClassVar[str] = "internal"
    status: int = 500
    public_message: ClassVar[str] = "Something went wrong on our side."
    forward: str = ""

    def __init__(self, message: str | None = None, *, detail: str = "") -> None:
        self.message = message or self.public_message
        self.detail = detail
        super().__init__(self.message)

    def __reduce__(self) -> tuple[object, ...]:
        # Render processes send errors as pickles, which do not restore keyword-only arguments by themselves.
        return _rebuild, (type(self), self.message, self.detail, self.__dict__.copy())


def _rebuild(kind: type[MirrorError], message: str, detail: str, state: dict[str, object]) -> MirrorError:
    error = kind(message, detail=detail)
    error.__dict__.update(state)
    return error


class Internal(MirrorError):
    """A fault of this program. Nothing that a client or an origin sends may raise it."""


class RequestError(MirrorError):
    """The request itself cannot be answered."""


class InvalidRequest(RequestError):
    code, status = "invalid_request", 400
    public_message = "The request cannot be read."


class InvalidTransform(RequestError):
    code, status = "invalid_transform", 400
    public_message = "The options cannot be read."


class InvalidSource(RequestError):
    code, status = "invalid_source", 400
    public_message = "The address of the picture cannot be read."


class Unauthorized(RequestError):
    code, status = "unauthorized", 401
    public_message = "This needs the administrator's token."


class SignatureMissing(RequestError):
    code, status = "signature_missing", 403
    public_message = "This service answers only signed addresses."


class SignatureMismatch(RequestError):
    code, status = "signature_mismatch", 403
    public_message = "The signature does not match this address."


class SignatureExpired(RequestError):
    code, status = "signature_expired", 410
    public_message = "The signature of this address has expired."


class SourceNotAllowed(RequestError):
    code, status = "source_not_allowed", 403
    public_message = "This source is not served here."


class SourceRemoved(SourceNotAllowed):
    """The source was purged and blocked: no kept copy may be served for it."""

    public_message = "This source was permanently removed from this mirror."


class NotFound(RequestError):
    code, status = "not_found", 404
    public_message = "There is nothing at this address."


class MethodNotAllowed(RequestError):
    code, status = "method_not_allowed", 405
    public_message = "This address does not accept that method."
    allow: str = "GET, HEAD, OPTIONS"


class RequestTooLarge(RequestError):
    code, status = "request_too_large", 413
    public_message = "The request is too large."


class UnsupportedMediaType(RequestError):
    code, status = "unsupported_media_type", 415
    public_message = "Send text/html or text/markdown."


class RangeNotSatisfiable(RequestError):
    code, status = "range_not_satisfiable", 416
    public_message = "The range lies outside the picture."
    size_bytes: int = 0


class QueueFull(RequestError):
    code, status = "queue_full", 503
    public_message = "Too many pictures are waiting; try again soon."
    retry_after_seconds: int = 2


class RateLimited(RequestError):
    code, status = "rate_limited", 429
    public_message = "Too many requests; try again soon."
    retry_after_seconds: int = 10


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """The fields of an origin's answer, names in lower case, and the unix seconds around it (RFC 9111 §4.2.3)."""

    headers: tuple[tuple[str, str], ...]
    request_time: float
    response_time: float


class SourceError(MirrorError):
    """The origin did not give an original that may be kept.

    `origin_status` is the status of its answer (RFC 9211 `fwd-status`), 0 when no answer came; `answer` is the head of
    that answer. `retry_after_seconds` is how long the origin asks us to wait, or how long we have decided to wait; None
    when unknown. The other attributes are private, like `detail`: `failure` names the failure more precisely than the
    code and is empty when the failure should not be remembered; `not_asked` is true when no request was sent.
    """

    origin_status: int = 0
    answer: AnswerHead | None = None
    failure: str = ""
    retry_after_seconds: float | None = None
    not_asked: bool = False


class SourceUnreachable(SourceError):
    """The origin cannot be reached, or its address is prohibited.

    The message and the headers are the same in both cases, so that nobody can map an internal network.
    """

    code, status = "source_unreachable", 502
    public_message = "The origin of the picture cannot be reached."
    failure = "unreachable"


class SourceTimeout(SourceError):
    code, status = "source_timeout", 504
    public_message = "The origin of the picture took too long."
    failure = "timeout"


class SourceNotFound(SourceError):
    code, status = "source_not_found", 404
    public_message = "The origin has no such picture."
    failure = "not_found"


class SourceGone(SourceNotFound):
    """The origin said 410; the code stays `source_not_found`."""

    status = 410
    failure = "gone"


class SourceRefused(SourceError):
    code, status = "source_refused", 502
    public_message = "The origin refuses to deliver the picture."
    failure = "refused"


class SourceReplaced(SourceRefused):
    """The origin answered 200 with a placeholder image that means "access denied". The code stays `source_refused`."""


class SourceFailed(SourceError):
    code, status = "source_failed", 502
    public_message = "The origin of the picture is out of order."
    failure = "unusable"


class SourceTooLarge(SourceError):
    code, status = "source_too_large", 422
    public_message = "The original has more bytes than this service accepts."
    failure = "too_large"


class PictureError(MirrorError):
    """The bytes are not a picture that can be rendered within the limits.

    beyond_limits: the picture may be intact, but it exceeds our limits or we do not know its format. A preset with
    `on_error = "original"` then redirects to the original.
    """

    status = 422
    beyond_limits: ClassVar[bool] = False


class NotAnImage(PictureError):
    code = "not_an_image"
    public_message = "The origin's answer is not a picture."


class UnsupportedFormat(PictureError):
    code = "unsupported_format"
    public_message = "The picture's format cannot be rendered."
    beyond_limits = True


class DecodeFailed(PictureError):
    code = "decode_failed"
    public_message = "The picture is damaged and cannot be decoded."


class TooManyPixels(PictureError):
    code = "too_many_pixels"
    public_message = "The picture has more pixels than this service renders."
    beyond_limits = True


class OutOfMemory(TooManyPixels):
    """Rendering needs more memory than a render process may have. The code stays `too_many_pixels`."""

    public_message = "Rendering the picture takes more memory than is available."


class TooManyFrames(PictureError):
    code = "too_many_frames"
    public_message = "The picture has more frames than this service renders."
    beyond_limits = True


class RenderTimeout(PictureError):
    code = "render_timeout"
    public_message = "Rendering the picture took too long."
    beyond_limits = True
