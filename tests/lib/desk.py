"""A visitor of the desk for tests: keeps the cookie, fills in forms, and records the cookies that the service set."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping
from http.cookies import SimpleCookie
from urllib.parse import urlencode

import aiohttp
from http_client import Answer, Client

TOKEN = "the token of the owner"
HTML = {"Accept": "text/html"}
_FIELD = re.compile(r'name="form_token" value="([0-9a-f]+)"')


class DeskVisitor:
    """One browser without scripts. cookies: by name, as the service set them."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cookies: dict[str, str] = {}
        self.form_token = ""

    async def open(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask for a page, and remember the form token on it."""
        return self._noted(await self.client.get(target, headers=self._headers(headers)))

    async def send(
        self, target: str, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send a form of the page that was opened last."""
        body = urlencode({"form_token": self.form_token, **(fields or {})})
        given = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.client.base}
        answer = await self.client.get(
            target, method="POST", headers=self._headers({**given, **(headers or {})}), data=body
        )
        return self._noted(answer)

    async def send_file(
        self, target: str, fields: Mapping[str, str], data: bytes, *, name: str = "picture.png"
    ) -> Answer:
        """Send a form with a file behind its other fields."""
        form = aiohttp.FormData({"form_token": self.form_token, **fields})
        form.add_field("file", io.BytesIO(data), filename=name, content_type="application/octet-stream")
        headers = self._headers({"Origin": self.client.base})
        return self._noted(await self.client.get(target, method="POST", headers=headers, data=form))

    async def followed(self, answer: Answer) -> Answer:
        """Open the page that an answer leads to."""
        assert answer.status == 303, (answer.status, answer.body)
        return await self.open(answer.headers["Location"])

    async def sign_in(self, token: str = TOKEN, headers: Mapping[str, str] | None = None) -> Answer:
        """Open the form and send it."""
        await self.open("/desk/sign-in", headers)
        return await self.send("/desk/sign-in", {"token": token}, headers)

    async def wait_for_catalogue(self) -> None:
        """Wait until the catalogue of a service that has just started is whole."""
        deadline = asyncio.get_running_loop().time() + 30
        while b"catalogue is being made" in (await self.open("/desk")).body:
            assert asyncio.get_running_loop().time() < deadline, "no catalogue within 30 s"
            await asyncio.sleep(0.02)

    def _headers(self, given: Mapping[str, str] | None) -> dict[str, str]:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**HTML, **({"Cookie": cookie} if cookie else {}), **(given or {})}

    def _noted(self, answer: Answer) -> Answer:
        for text in answer.headers.getall("Set-Cookie", ()):
            for name, morsel in SimpleCookie(text).items():
                self.cookies.pop(name, None)
                if morsel.value and morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        if found := _FIELD.search(answer.body.decode("utf-8", "replace")):
            self.form_token = found[1]
        return answer


async def signed_in(http: aiohttp.ClientSession, base: str) -> DeskVisitor:
    """Return a visitor who has signed in at a service."""
    visitor = DeskVisitor(Client(http, base))
    await visitor.sign_in()
    return visitor
