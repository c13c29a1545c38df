"""A Wayback Machine on loopback: it answers a test's own captures as web.archive.org does.

It serves availability (`/wayback/available`), CDX rows in JSON (`/cdx/search/cdx`) and unchanged playback
(`/web/<timestamp>id_/<url>`). A timestamp without a capture redirects to the nearest one. A revisit plays back the
capture that it repeats, and a captured redirect or error is played back unchanged.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from scripted_origin import Handler, Request, ScriptedOrigin, head

FIELDS = ("urlkey", "timestamp", "original", "mimetype", "statuscode", "digest", "length")


@dataclass(frozen=True, slots=True)
class Capture:
    timestamp: str
    status: int
    mimetype: str
    body: bytes
    revisit: bool = False
    location: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha1(self.body).hexdigest()[:32].upper()  # noqa: S324 - what CDX files have


class ScriptedWayback(ScriptedOrigin):
    """A Wayback Machine: add captures with `capture`, then send it requests."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Forget all captures, requests and misbehaviour.

        `busy_seconds`: answer 429 to everything. `always`: answer these bytes. `has_availability`: False answers 404
        to availability. `names_anything`: availability names captures of any status as if it were 200.
        """
        self.captures: dict[str, list[Capture]] = defaultdict(list)
        self.busy_seconds: int | None = None
        self.always = b""
        self.has_availability = True
        self.names_anything = False
        self.requests.clear()

    def capture(
        self,
        url: str,
        timestamp: str,
        body: bytes,
        *,
        status: int = 200,
        mimetype: str = "image/png",
        revisit: bool = False,
        location: str = "",
    ) -> None:
        self.captures[url].append(Capture(timestamp, status, mimetype, body, revisit, location))
        self.captures[url].sort(key=lambda capture: capture.timestamp)

    def asked(self, part: str) -> list[str]:
        """Return the targets that begin with `part`."""
        return [request.target for request in self.requests if request.target.startswith(part)]

    def _handler(self, target: str) -> Handler:
        async def handler(
            _request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(self._answer(target))

        return handler

    def _answer(self, target: str) -> bytes:
        if self.busy_seconds is not None:
            return _made(429, b"too many requests", {"Retry-After": str(self.busy_seconds)})
        if self.always:
            return self.always
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/wayback/available" and self.has_availability:
            return _json(self._available(query))
        if parts.path == "/cdx/search/cdx":
            return _json(self._rows(query))
        if target.startswith("/web/"):
            return self._played(target)
        return _made(404, b"not here")

    def _available(self, query: Mapping[str, str]) -> object:
        found = [
            item
            for item in self.captures.get(query["url"], [])
            if self.names_anything or (item.status == 200 and not item.revisit)
        ]
        if not found:
            return {"url": query["url"], "archived_snapshots": {}}
        wanted = query.get("timestamp", "9" * 14)
        best = min(found, key=lambda item: abs(int(item.timestamp) - int(wanted)))
        closest = {
            "status": "200",
            "available": True,
            "url": f"http://web.archive.org/web/{best.timestamp}/{query['url']}",
            "timestamp": best.timestamp,
        }
        return {"url": query["url"], "archived_snapshots": {"closest": closest}, "timestamp": wanted}

    def _rows(self, query: Mapping[str, str]) -> object:
        found = list(self.captures.get(query["url"], []))
        if query.get("sort") == "closest":
            found.sort(key=lambda item: abs(int(item.timestamp) - int(query["closest"])))
        limit = int(query.get("limit", "1000"))
        found = found[:limit] if limit >= 0 else found[limit:]
        names = query.get("fl", ",".join(FIELDS)).split(",")
        rows = [[self._field(query["url"], item, name) for name in names] for item in found]
        return [names, *rows] if rows else []

    def _field(self, url: str, item: Capture, name: str) -> str:
        values = {
            "urlkey": url,
            "timestamp": item.timestamp,
            "original": url,
            "mimetype": "warc/revisit" if item.revisit else item.mimetype,
            "statuscode": "-" if item.revisit else str(item.status),
            "digest": item.digest,
            "length": str(len(item.body)),
        }
        return values[name]

    def _played(self, target: str) -> bytes:
        timestamp, _, url = target.removeprefix("/web/").partition("/")
        assert timestamp.endswith("id_"), "only unchanged playback is asked for"
        wanted = timestamp.removesuffix("id_")
        found = self.captures.get(url, [])
        if not found:
            return _made(404, b"<html>not archived</html>", {"Content-Type": "text/html"})
        best = min(found, key=lambda item: abs(int(item.timestamp) - int(wanted)))
        if best.timestamp != wanted:
            return _made(302, b"", {"Location": self.url(f"/web/{best.timestamp}id_/{url}")})
        headers = {
            "Content-Type": best.mimetype,
            "ETag": '"of-the-archive"',
            "Cache-Control": "max-age=1800",
            "x-archive-orig-last-modified": "Wed, 01 Jan 2014 00:00:00 GMT",
            "x-archive-orig-set-cookie": "a=b",
            "memento-datetime": "Thu, 01 Jan 2015 00:00:00 GMT",
        }
        if best.location:
            headers["Location"] = best.location
        return _made(best.status, best.body, headers)


def _json(value: object) -> bytes:
    return _made(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def _made(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    return head(status, {**(headers or {}), "Content-Length": str(len(body))}) + body
