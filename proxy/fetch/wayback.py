"""Finds copies of dead sources: captures of a Wayback Machine near a date, and caches of other wrappers. Event loop.

Uses the interfaces of web.archive.org: the availability answer (`/wayback/available`), the CDX server
(`/cdx/search/cdx`, JSON) and unchanged playback (`/web/<timestamp>id_/<url>`). Offers only captures with status 200,
and revisits (`warc/revisit`, status "-"), which play back the capture that they repeat. Whether a copy is the picture
is decided by its bytes, as for an origin.
"""

from __future__ import annotations

import calendar
import json
import logging
import re
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from proxy.config import FetchConfig
from proxy.errors import MirrorError, RequestError, SourceError, SourceNotAllowed
from proxy.fetch.fetcher import Fetcher
from proxy.fetch.media import admitted
from proxy.source import Source

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 1 << 20
MAX_CAPTURES = 100
"""The most captures to request. A picture rarely has more, and the nearest come first if the server sorts them."""
MAX_TRIES = 5
"""The most copies to offer for one source."""
BUSY_SECONDS = 60.0
MAX_BUSY_SECONDS = 3600.0

_PLAYBACK = re.compile(r"/web/([0-9]{4,14})(?:[a-z]{2}_)?/(.+)", re.DOTALL)
_UNCHANGED = re.compile(r"/web/[0-9]{4,14}id_/")
_TIMESTAMP = re.compile(r"[0-9]{14}\Z")
_AVAILABILITY_HOSTS = {"web.archive.org": "https://archive.org"}
"""The Internet Archive answers availability requests on a different host."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A place where a source may be available when its origin is dead.

    place: `wayback` or `wrapper`. captured_at: when the copy was made, Unix seconds, None if unknown.
    check_hop: checks the targets of redirects.
    """

    place: str
    source: Source
    captured_at: float | None
    check_hop: Callable[[Source], None]

    def provenance(self, final_url: str) -> dict[str, Any]:
        """Return the note for the entry of a copy whose last address was `final_url`."""
        match = _PLAYBACK.search(final_url) if self.place == "wayback" else None
        captured_at = (_moment(match[1]) if match else None) or self.captured_at
        return {"from": self.place, "url": final_url, "captured_at": captured_at}


@dataclass(frozen=True, slots=True)
class _Capture:
    timestamp: str
    original: str
    digest: str = ""

    @property
    def moment(self) -> float:
        return _moment(self.timestamp) or 0.0


class Wayback:
    """One Wayback Machine. After it has answered 429, it gets no requests for as long as it demands."""

    def __init__(self, fetcher: Fetcher, config: FetchConfig, *, now: Callable[[], float]) -> None:
        base = Source.parse(config.wayback)
        self._fetcher = fetcher
        self._types = config.types
        self._now = now
        self._busy_until = 0.0
        self._base = base.origin + base.target.partition("?")[0].rstrip("/").removesuffix("/web")
        self._origin = base.origin
        self._path = self._base.removeprefix(base.origin)

    @property
    def busy(self) -> bool:
        """Whether it has asked for a pause that is not over."""
        return self._now() < self._busy_until

    async def copies(
        self, source: Source, *, near: float | None, patient: bool
    ) -> AsyncGenerator[Copy, None]:
        """Yield captures of `source`, the nearest to `near` (Unix seconds) first, or the newest first without a date.

        The availability answer is tried first. The CDX server is asked only if that capture was not good enough.
        """
        seen: set[str] = set()
        tries = 0
        for find in (self._available, self._listed):
            for capture in await find(source, near, patient):
                if self.busy or tries == MAX_TRIES:
                    return
                # The same bytes from another day are no better.
                marks = {capture.timestamp, capture.digest} - {""}
                if marks.isdisjoint(seen) and (copy := self._copy(capture)):
                    seen |= marks
                    tries += 1
                    yield copy

    def note(self, error: MirrorError) -> None:
        """Record an error of a request to this machine."""
        if isinstance(error, SourceError) and error.failure == "busy":
            wish = min(error.retry_after_seconds or BUSY_SECONDS, MAX_BUSY_SECONDS)
            self._busy_until = self._now() + wish
            log.warning("%s is busy: no requests for %.0f s", self._origin, wish)

    def _copy(self, capture: _Capture) -> Copy | None:
        try:
            source = Source.parse(f"{self._base}/web/{capture.timestamp}id_/{capture.original}")
        except RequestError:
            return None
        return Copy("wayback", source, capture.moment, self._check_hop)

    def _check_hop(self, hop: Source) -> None:
        path = hop.target.removeprefix(self._path)
        if hop.origin != self._origin or not _UNCHANGED.match(path):
            raise SourceNotAllowed(
                detail=f"the archive redirects to {hop}, which is not an unchanged capture"
            )

    async def _available(self, source: Source, near: float | None, patient: bool) -> list[_Capture]:
        host = Source.parse(self._base).host
        base = _AVAILABILITY_HOSTS.get(host, self._base)
        query = f"url={quote(source.url, safe='')}"
        if near is not None:
            query += f"&timestamp={_timestamp(near)}"
        answer = await self._ask(f"{base}/wayback/available?{query}", patient)
        return list(closest_available(answer))

    async def captures(self, source: Source, *, near: float | None) -> list[Copy] | None:
        """Return the listed captures of `source` in the order of `copies`; None when the machine does not answer."""
        answer = await self._ask(self._list_address(source, near), False)
        if answer is None:
            return None
        found = [self._copy(capture) for capture in self._sorted(answer, near)]
        return [copy for copy in found if copy is not None]

    def at(self, source: Source, timestamp: str) -> Copy | None:
        """Return the capture of `source` at a moment of 14 digits, or None if it has no address."""
        return self._copy(_Capture(timestamp, source.url))

    async def _listed(self, source: Source, near: float | None, patient: bool) -> list[_Capture]:
        return self._sorted(await self._ask(self._list_address(source, near), patient), near)

    def _list_address(self, source: Source, near: float | None) -> str:
        query = (
            f"url={quote(source.url, safe='')}&output=json&fl=timestamp,original,mimetype,statuscode,digest"
        )
        # A negative `limit` takes rows from the end. `closest` is obeyed only by servers that sort by it.
        wanted = f"&sort=closest&closest={_timestamp(near)}&limit=" if near is not None else "&limit=-"
        return f"{self._base}/cdx/search/cdx?{query}{wanted}{MAX_CAPTURES}"

    def _sorted(self, answer: object, near: float | None) -> list[_Capture]:
        found = captures_listed(answer, types=self._types)
        if near is None:
            return sorted(found, key=lambda capture: -capture.moment)
        return sorted(found, key=lambda capture: abs(capture.moment - near))

    async def _ask(self, url: str, patient: bool) -> object:
        """Return the JSON at `url`, or None if it is unavailable or invalid."""
        if self.busy:
            return None
        sink = _Text()
        try:
            await self._fetcher.fetch(Source.parse(url), sink, patient=patient, check_hop=_same_origin(url))
            return json.loads(sink.data)
        except MirrorError as error:
            self.note(error)
            log.info("the archive did not answer %s: %s", url, error.detail or error.code)
        except (ValueError, RecursionError) as error:
            log.info("the archive's answer to %s cannot be read: %s", url, error)
        return None


def wrapper_copies(source: Source, prefixes: Iterable[str]) -> list[Copy]:
    """Return the addresses under which other wrappers may still have `source`."""
    found = []
    for prefix in prefixes:
        # Escape the source if it is a value of the query. Otherwise it is written plainly.
        text = quote(source.url, safe="") if prefix.endswith("=") else source.url
        try:
            found.append(Copy("wrapper", Source.parse(prefix + text), None, _same_origin(prefix)))
        except RequestError:
            continue
    return found


def written_copy(source: Source) -> Copy:
    """Return a wrapper's own address from an article as a place of a copy."""
    return Copy("wrapper", source, None, _same_origin(source.url))


def closest_available(answer: object) -> Iterable[_Capture]:
    """Yield the capture that an availability answer names, if it has status 200."""
    match answer:
        case {"archived_snapshots": {"closest": {"url": str(url), "status": "200", "available": True}}}:
            found = _PLAYBACK.search(url)
            if found and _TIMESTAMP.match(found[1]):
                yield _Capture(found[1], found[2])


def captures_listed(answer: object, *, types: Iterable[str]) -> list[_Capture]:
    """Return the captures in a CDX answer that may be pictures. It is a list of rows, and the first row names the
    fields."""
    if not isinstance(answer, list) or not answer or not isinstance(answer[0], list):
        return []
    names = answer[0]
    rows = [dict(zip(names, row, strict=False)) for row in answer[1:] if isinstance(row, list)]
    return [capture for row in rows if (capture := _capture(row, types))]


def _capture(row: dict[Any, Any], types: Iterable[str]) -> _Capture | None:
    timestamp, original = row.get("timestamp"), row.get("original")
    mime, status, digest = row.get("mimetype"), row.get("statuscode"), row.get("digest")
    if not (isinstance(timestamp, str) and isinstance(original, str) and _TIMESTAMP.match(timestamp)):
        return None
    is_revisit = mime == "warc/revisit" and status in {"-", "0", ""}
    # Skip a page captured at the address of a picture: the site was already gone.
    is_page = mime == "text/html" and not admitted("text/html", types)
    if is_page or (str(status) != "200" and not is_revisit):
        return None
    # Playback of a revisit may fail where that of the repeated capture works, so a revisit does not represent its
    # digest.
    return _Capture(timestamp, original, digest if isinstance(digest, str) and not is_revisit else "")


class _Text:
    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, chunk: bytes) -> None:
        self.data += chunk
        if len(self.data) > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")


def _same_origin(url: str) -> Callable[[Source], None]:
    origin = Source.parse(url).origin

    def check(hop: Source) -> None:
        if hop.origin != origin:
            raise SourceNotAllowed(detail=f"{origin} redirects to {hop}")

    return check


def _timestamp(moment: float) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(moment))


def _moment(timestamp: str) -> float | None:
    try:
        return float(calendar.timegm(time.strptime(timestamp, "%Y%m%d%H%M%S")))
    except ValueError:
        return None
