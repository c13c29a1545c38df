"""The values on the way of a request, from the order to the picture that answers it. Pure.

PictureOrder   the variant that a client asks for
SourceOrder    what is known of its source, and what to ask the origin for
Obtained       an original that can be served
Picture        bytes ready to be answered; the web room turns them into a response
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from cache.across.failures import RememberedFailure
from cache.base.entry import Entry
from cache.http.httpdate import format_http_date, parse_http_date
from cache.http.validators import parse_etag
from proxy.images.pool.workers import Output, Wish
from proxy.images.transforms.resolved import Resolved
from proxy.source import Source

SHORT_SECONDS = 60.0
"""How long browsers may keep an answer that is stale, a fallback or not kept."""

NOT_KEPT = "not_kept"
"""The detail of an answer whose original the disk refused."""

PROXY_ERRORS = {
    "source_unreachable": "destination_unavailable",
    "source_timeout": "http_response_timeout",
    "source_too_large": "http_response_body_size",
    "queue_full": "connection_limit_reached",
    "rate_limited": "http_request_denied",
    "unauthorized": "http_request_denied",
    "signature_missing": "http_request_denied",
    "signature_mismatch": "http_request_denied",
    "signature_expired": "http_request_denied",
    "source_not_allowed": "http_request_denied",
    "invalid_request": "http_request_error",
    "invalid_transform": "http_request_error",
    "invalid_source": "http_request_error",
    "not_found": "http_request_error",
    "method_not_allowed": "http_request_error",
    "request_too_large": "http_request_error",
    "unsupported_media_type": "http_request_error",
    "range_not_satisfiable": "http_request_error",
    "internal": "proxy_internal_error",
    "render_timeout": "proxy_internal_error",
}
"""Error types of RFC 9209 §2.3 by code. All unreachable origins share one type, so that the service does not reveal the
inner network. Codes that are missing here are answers of the origin; `received-status` and `details` describe them."""

_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
"""A strong entity tag (RFC 9110 §8.8.3) without characters that other servers might misread."""

_LANGUAGES = re.compile(r"[A-Za-z0-9, \-]{1,200}")
_CHARSET = re.compile(
    r'([a-z0-9.+/-]{1,100}) ?; ?charset=(?:[\w.:-]{1,40}|"[\w.:-]{1,40}")', re.IGNORECASE | re.ASCII
)

CORRUPT = "corrupt"
"""The detail of an answer whose bytes on the disk are damaged."""

Forward = Literal["", "uri-miss", "stale"]


@dataclass(frozen=True, slots=True)
class CacheState:
    """How an answer came about, in the terms of RFC 9211 §2.

    forward: why the origin was asked; empty if it was not. forward_status: its status, 0 without an answer.
    detail: a word of ours, such as `memory`, `rendered` or the code of a failed refresh. stale_seconds: how long a hit
    that is being refreshed in the background has been stale; 0 for a fresh one.
    """

    forward: Forward = ""
    forward_status: int = 0
    stored: bool = False
    detail: str = ""
    stale_seconds: int = 0

    def or_hit(self, detail: str) -> CacheState:
        """Return this state if it describes a fetch or a failure, else a hit with the detail `detail`."""
        return self if self.forward or self.stale_seconds or self.detail else CacheState(detail=detail)

    def header(self, ttl_seconds: int) -> str:
        """Return the value of `Cache-Status` for an answer that stays fresh for `ttl_seconds`."""
        parts = ["imgmirror"]
        if self.forward:
            parts.append(f"fwd={self.forward}")
            if self.forward_status:
                parts.append(f"fwd-status={self.forward_status}")
        else:
            # §2.3: a stale hit has a negative time to live.
            parts += ["hit", f"ttl={-self.stale_seconds or ttl_seconds}"]
        if self.stored:
            parts.append("stored")
        if self.detail:
            parts.append(f"detail={self.detail}")
        return "; ".join(parts)

    def proxy_header(self) -> str:
        """Return the value of `Proxy-Status` (RFC 9209): the origin's status, and any error."""
        return proxy_status(self.detail, self.forward_status) if self.forward else "imgmirror"


def proxy_status(code: str, received_status: int) -> str:
    """Return the value of `Proxy-Status` for the error `code`. An empty or unknown code is not an error."""
    parts = ["imgmirror"]
    if code in PROXY_ERRORS:
        parts.append(f"error={PROXY_ERRORS[code]}")
    if received_status:
        parts.append(f"received-status={received_status}")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """One wanted variant. `acceptable` holds the output formats in order of preference.

    written: the wrappers' own addresses used for the request.
    """

    source: Source
    resolved: Resolved
    acceptable: tuple[str, ...]
    written: tuple[Source, ...] = ()

    @property
    def wish(self) -> Wish:
        """The same as a value for render processes."""
        return Wish(self.resolved, self.acceptable)

    @property
    def memory_key(self) -> tuple[str, str, tuple[str, ...]]:
        """The key of the answer in memory, which needs no facts of the original."""
        return self.source.url, self.resolved.text, self.acceptable


@dataclass(slots=True)
class SourceOrder:
    """What is known of a source, and what to ask its origin for.

    stamp: the generation of the source, read before anything else; a purge since then changes it.
    known: what is kept of it, fresh or not. failure: the remembered failure of its last fetch, whether it still applies
    or not. looked_at: when the store was asked for these two, Unix seconds; None if it was not.
    wishes: what to render after the download. wanted: the wishes of all callers that wait for this original, each
    caller's together; it grows while more arrive.
    patient: nobody waits for the answer, so take the time that the origin needs.
    written: the wrappers' own addresses of it in articles, to be asked if the origin is dead.
    date: when the article was written, Unix seconds, to recover the source near that day; None if unknown.
    lost: what is kept if its body is gone from the disk. Its validators must not be sent, because the bytes are needed.
    refused: the origin's last answer if the disk refused it. Its validators are sent, and a 304 keeps it.
    """

    source: Source
    stamp: int
    known: Obtained | None = None
    failure: RememberedFailure | None = None
    looked_at: float | None = None
    wishes: tuple[Wish, ...] = ()
    wanted: Mapping[tuple[Wish, ...], None] = field(default_factory=dict)
    patient: bool = False
    written: tuple[Source, ...] = ()
    date: float | None = None
    lost: Entry | None = None
    refused: Obtained | None = None

    @property
    def entry(self) -> Entry | None:
        """What is kept of the source."""
        return self.known.entry if self.known else None

    @property
    def last_given(self) -> Entry | None:
        """The origin's last answer, kept or not. Its validators are sent."""
        return self.refused.entry if self.refused else self.entry

    @property
    def flight_key(self) -> str:
        """The key under which a fetch is shared. A purge changes it, so that no request shares a fetch from before the
        purge."""
        return f"source {self.source.url} {self.stamp}"


@dataclass(frozen=True, slots=True)
class Obtained:
    """An original that can be served.

    body: its bytes if they are not on the disk (a full store keeps nothing), else None.
    rendered: the results rendered after the download, by wish. All callers that share a fetch share these, so they may
    contain wishes of others and lack one's own; empty if nothing was fetched.
    stamp: the generation of the source, read before the entry; a purge since then changes it.
    fresh_until: Unix seconds. `short` marks stale and fallback answers, which browsers should request again soon.
    ending: set while the original is still being written to the disk; its result says whether it was kept. Until then,
    a wish that is neither in `rendered` nor in `rendering` must wait for it, unless `is_readable`.
    is_readable: with `ending`, whether the body is at its place already, because another source has the same bytes.
    rendering: results that are still being rendered, by wish.
    """

    entry: Entry
    state: CacheState
    stamp: int
    fresh_until: float
    short: bool = False
    body: bytes | None = None
    rendered: Mapping[Wish, Output] = field(default_factory=dict, repr=False)
    rendering: Mapping[Wish, asyncio.Future[Mapping[Wish, Output]]] = field(
        default_factory=dict, repr=False, compare=False
    )
    ending: asyncio.Task[Obtained] | None = field(default=None, repr=False, compare=False)
    is_readable: bool = False

    @property
    def is_corrupt(self) -> bool:
        """Whether the bytes on the disk are damaged."""
        return self.state.detail == CORRUPT

    @property
    def is_refused(self) -> bool:
        """Whether the disk refused the answered original."""
        return self.state.detail == NOT_KEPT


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes ready to be answered, with everything that does not change from one hit to the next.

    original_size: the upright size in pixels of the original of a variant; None if unknown.
    weak_etag: the origin's entity tag if it is weak. We must not send it, but a client that got it from the origin, or
    from the worker that imgmirror replaced, has these bytes or equivalent ones.
    untouched: the original, answered instead of a variant. codings: its compressed bodies, by content coding.
    """

    body: bytes = field(repr=False)
    media_type: str
    etag: str
    last_modified: str
    language: str
    fresh_until: float
    stamp: int
    state: CacheState
    short: bool = False
    original_size: tuple[int, int] | None = None
    weak_etag: str = ""
    untouched: bool = False
    codings: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """The number of bytes it holds, including those of its codings."""
        return len(self.body) + sum(map(len, self.codings.values()))

    def coded(self, coding: str) -> Picture:
        """Return the representation in one of `codings`, which has its own entity tag (RFC 9110 §8.8.3.3)."""
        return replace(self, body=self.codings[coding], etag=f'{self.etag[:-1]}-{coding}"', weak_etag="")

    def from_memory(self) -> Picture:
        """Return this picture as later requests get it: as a hit, whatever the first answer was."""
        if self.state.detail == NOT_KEPT:
            return replace(self, state=NOT_KEPT_HIT)
        return self.as_hit("memory")

    def as_hit(self, detail: str) -> Picture:
        """Return this picture as a hit with the detail `detail`. A short-lived one keeps the detail that explains
        it."""
        return self if self.short else replace(self, state=CacheState(detail=detail))


def as_picture(obtained: Obtained, body: bytes) -> Picture:
    """Return an original as a picture that can be answered from memory."""
    entry = obtained.entry
    return Picture(
        body=body,
        media_type=content_type(entry),
        # Never use the tag of the undamaged bytes: a cache that has it would keep the damaged ones permanently.
        etag=f'W/"corrupt-{entry.body_sha256[:32]}"' if obtained.is_corrupt else original_etag(entry),
        last_modified=last_modified(entry),
        language=language(entry),
        fresh_until=obtained.fresh_until,
        stamp=obtained.stamp,
        state=obtained.state.or_hit("original"),
        short=obtained.short,
        weak_etag="" if obtained.is_corrupt else _weak_etag(entry),
    )


def original_etag(entry: Entry) -> str:
    """Return the origin's entity tag if it is strong, else the digest of the body."""
    etag = entry.etag
    return etag if etag and _STRONG.fullmatch(etag) else f'"{entry.body_sha256[:32]}"'


def _weak_etag(entry: Entry) -> str:
    tag = parse_etag(entry.etag)
    return entry.etag or "" if tag and tag.weak else ""


def last_modified(entry: Entry) -> str:
    """Return `Last-Modified` for an answer: the origin's if it can be read, else when the bytes arrived."""
    seconds = parse_http_date(entry.last_modified)
    return format_http_date(entry.fetched_at if seconds is None else seconds)


def content_type(entry: Entry) -> str:
    """Return `Content-Type` for an original: the detected type, with the charset that the origin gave for that type."""
    claimed = (entry.header("content-type") or "").strip(" \t")
    match = _CHARSET.fullmatch(claimed)
    return claimed if match and match[1].lower() == entry.media_type else entry.media_type


def language(entry: Entry) -> str:
    """Return `Content-Language` for an answer; empty if the origin gave none that can be passed on."""
    text = entry.header("content-language") or ""
    return text if _LANGUAGES.fullmatch(text) else ""


NOT_KEPT_HIT = CacheState(detail=NOT_KEPT)
"""A hit in memory only. The answer says so, because other hits are safe on the disk."""
