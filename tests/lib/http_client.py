"""An HTTP client that sends request targets exactly as written and returns whole answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code of the answer, or an empty text."""
        try:
            return str(json.loads(self.body)["code"])
        except (ValueError, KeyError, TypeError):
            return ""

    @property
    def cache_status(self) -> str:
        return self.headers.get("Cache-Status", "")


class Client:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self.base = base

    async def get(
        self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, **kw: Any
    ) -> Answer:
        """Send one request. It follows no redirects, and it sends an Accept header only if given one."""
        given = dict(headers or {})
        skip = set() if "Accept" in given else {"Accept"}
        async with self._session.request(
            method,
            URL(self.base + target, encoded=True),
            headers=given,
            skip_auto_headers=skip,
            allow_redirects=False,
            **kw,
        ) as response:
            return Answer(response.status, response.headers, await response.read())
