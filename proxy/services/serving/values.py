"""The values on the way of a request, from what is asked for to the picture that answers. Pure.

PictureOrder   the variant a client asks for
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
"""How long a stale, fallback or not-kept answer may be kept by browsers."""

NOT_KEPT = "not_kept"
"""The detail of an answer whose original the disk did not take."""

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
"""RFC 9209 §2.3 by code. One type for all that cannot be reached, so that the service is no oracle of the inner
network. What is not here is an answer of the origin's: `received-status` and `details` tell of it."""

_STRONG = re.compile(r'"[\x21\x23-\x7e]*"')
"""An entity tag (RFC 9110 §8.8.3) that is strong and holds nothing that another server might trip over."""

_LANGUAGES = re.compile(r"[A-Za-z0-9, \-]{1,200}")
_CHARSET = re.compile(
    r'([a-z0-9.+/-]{1,100}) ?; ?charset=(?:[\w.:-]{1,40}|"[\w.:-]{1,40}")', re.IGNORECASE | re.ASCII
)

CORRUPT = "corrupt"
"""The detail of an answer whose bytes on the disk are not as they were kept."""

Forward = Literal["", "uri-miss", "stale"]


@dataclass(frozen=True, slots=True)
class CacheState:
    """How an answer came about, in the terms of RFC 9211 §2.

    forward: why the origin was asked; empty when it was not. forward_status: what it answered, 0 when it gave
    no answer. detail: our own word, such as `memory`, `rendered` or the code of a failed refresh. stale_seconds:
    for how long a hit has been stale that is refreshed behind the answer; 0 for a fresh one.
    """

    forward: Forward = ""
    forward_status: int = 0
    stored: bool = False
    detail: str = ""
    stale_seconds: int = 0

    def or_hit(self, detail: str) -> CacheState:
        """Return this state if it tells how the answer came about, else a hit of the kind `detail`."""
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
        """Return the value of `Proxy-Status` (RFC 9209): what the origin answered, what went wrong with it."""
        return proxy_status(self.detail, self.forward_status) if self.forward else "imgmirror"


def proxy_status(code: str, received_status: int) -> str:
    """Return the value of `Proxy-Status` for the error `code`; an empty or other word is no error."""
    parts = ["imgmirror"]
    if code in PROXY_ERRORS:
        parts.append(f"error={PROXY_ERRORS[code]}")
    if received_status:
        parts.append(f"received-status={received_status}")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """One variant as asked for: `acceptable` are the output formats in order of preference.

    written: the wrappers' own addresses by which it was asked for.
    """

    source: Source
    resolved: Resolved
    acceptable: tuple[str, ...]
    written: tuple[Source, ...] = ()

    @property
    def wish(self) -> Wish:
        """The same, as render processes take it."""
        return Wish(self.resolved, self.acceptable)

    @property
    def memory_key(self) -> tuple[str, str, tuple[str, ...]]:
        """The name of the answer before anything about the original is known."""
        return self.source.url, self.resolved.text, self.acceptable


@dataclass(slots=True)
class SourceOrder:
    """What is known of a source, and what to ask its origin for.

    stamp: the generation of the source, read before anything else was: a purge since then makes it differ.
    known: what is kept of it, fresh or not. failure: what is remembered of its last fetch, believed or not.
    looked_at: when the store was asked for these two, unix seconds; None when it was not.
    wishes: what to render on the way in. wanted: the wishes of all who wait for this original, each caller's
    together; it grows while they come.
    patient: nobody waits for the answer: take the time that the origin needs.
    written: the wrappers' own addresses of it, as articles have them: asked when the origin is dead.
    date: when the article was written, unix seconds, for recovering it near that day; None when nobody says.
    lost: what is kept when its body is gone from the disk: its validators must not be sent, the bytes are needed.
    refused: what the origin gave last when the disk did not take it: its validators are sent, and a 304 keeps it.
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
        """What the origin gave last, kept or not: its validators are sent."""
        return self.refused.entry if self.refused else self.entry

    @property
    def flight_key(self) -> str:
        """The name under which a fetch is shared. It differs after a purge, so nobody gets what was fetched before."""
        return f"source {self.source.url} {self.stamp}"


@dataclass(frozen=True, slots=True)
class Obtained:
    """An original that can be served.

    body: its bytes when they are not on disk (a store that is full keeps nothing), else None.
    rendered: what was rendered on the way in, by wish. Whoever shares a fetch shares this too, so it may hold
    the wishes of others and lack one's own; empty when nothing was fetched.
    stamp: the generation of the source, read before the entry: a purge since then makes it differ.
    fresh_until: unix seconds; `short` marks stale and fallback answers, whose browsers should ask again soon.
    ending: set while the original is still on its way to the disk; its result says whether it was kept. Until
    then what is neither in `rendered` nor in `rendering` must wait for it, unless `is_readable`.
    is_readable: with `ending`, whether the body lies at its place all the same: another source has the same bytes.
    rendering: what is being rendered meanwhile, by wish; the results by wish.
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
        """Whether the bytes on the disk are not as they were kept."""
        return self.state.detail == CORRUPT

    @property
    def is_refused(self) -> bool:
        """Whether the disk did not take what is answered."""
        return self.state.detail == NOT_KEPT


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes ready to be answered, with all that does not change from one hit to the next.

    original_size: upright, in pixels, of the original that a variant was made from; None where nobody knows.
    weak_etag: the origin's entity tag when it is weak. It is not ours to give, but whoever has it from the origin or
    from the worker that was here before us has these bytes, or as good.
    untouched: the original in the place of a variant. codings: its body compressed, by content coding.
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
        """The bytes it holds, those of its codings included."""
        return len(self.body) + sum(map(len, self.codings.values()))

    def coded(self, coding: str) -> Picture:
        """Return the representation in one of `codings`, which has an entity tag of its own (RFC 9110 §8.8.3.3)."""
        return replace(self, body=self.codings[coding], etag=f'{self.etag[:-1]}-{coding}"', weak_etag="")

    def from_memory(self) -> Picture:
        """Return this picture as a later request gets it: a hit, whatever the first one was."""
        if self.state.detail == NOT_KEPT:
            return replace(self, state=NOT_KEPT_HIT)
        return self.as_hit("memory")

    def as_hit(self, detail: str) -> Picture:
        """Return this picture as a hit of the kind `detail`; a short-lived one goes on saying why it is."""
        return self if self.short else replace(self, state=CacheState(detail=detail))


def as_picture(obtained: Obtained, body: bytes) -> Picture:
    """Return an original as a picture that can be answered from memory."""
    entry = obtained.entry
    return Picture(
        body=body,
        media_type=content_type(entry),
        # Never the tag of the bytes that were kept: a cache that has it would hold the damage for good.
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
    """Return the origin's entity tag when it is strong, else the digest of the body."""
    etag = entry.etag
    return etag if etag and _STRONG.fullmatch(etag) else f'"{entry.body_sha256[:32]}"'


def _weak_etag(entry: Entry) -> str:
    tag = parse_etag(entry.etag)
    return entry.etag or "" if tag and tag.weak else ""


def last_modified(entry: Entry) -> str:
    """Return `Last-Modified` for an answer: the origin's where it can be read, else when the bytes came."""
    seconds = parse_http_date(entry.last_modified)
    return format_http_date(entry.fetched_at if seconds is None else seconds)


def content_type(entry: Entry) -> str:
    """Return `Content-Type` for an original: the type as decided, with the charset the origin gave for that type."""
    claimed = (entry.header("content-type") or "").strip(" \t")
    match = _CHARSET.fullmatch(claimed)
    return claimed if match and match[1].lower() == entry.media_type else entry.media_type


def language(entry: Entry) -> str:
    """Return `Content-Language` for an answer; empty when the origin gave none that can be passed on."""
    text = entry.header("content-language") or ""
    return text if _LANGUAGES.fullmatch(text) else ""


NOT_KEPT_HIT = CacheState(detail=NOT_KEPT)
"""A hit in memory only. The answer says so, because a hit is otherwise safe on disk."""
