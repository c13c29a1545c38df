"""Drives a headless Chromium over the DevTools protocol: opens a page, evaluates expressions, takes screenshots.

This replaces Playwright, whose package brings a Node runtime of 40 MB for three messages.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import functools
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 30
_ERROR_OF_LEAVING = -32000
"""Chromium's code when a page is left, or its context ends, while it is asked something."""


class PageLeft(Exception):
    """The page was left before it answered."""


class Page:
    """One open tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.errors: list[str] = []
        self.types: dict[str, str] = {}
        """Media types of the answers by address, recorded after `Network.enable`."""
        self.requests: list[str] = []
        """Addresses that the page asked for, recorded after `Network.enable`."""

    async def call(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self._socket.receive_json(timeout=START_SECONDS)
            if message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")
            if message.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("method") == "Network.responseReceived":
                answer = message["params"]["response"]
                self.types[answer["url"]] = answer["mimeType"]
            if message.get("id") == number:
                if message.get("error", {}).get("code") == _ERROR_OF_LEAVING:
                    raise PageLeft(message)
                assert "error" not in message, message
                return message["result"]

    async def open(self, url: str, *, eagerly: bool = True) -> None:
        """Load a page and wait until all of its pictures have loaded or failed, with `eagerly` the lazy ones too."""
        await self.call("Page.navigate", url=url)
        await self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )
        if not eagerly:
            return
        await self.evaluate(
            "Promise.allSettled([...document.images].map(i => { i.loading = 'eager'; return i.decode() }))"
        )

    async def evaluate(self, expression: str, *, wait: bool = True) -> Any:
        """Return the value of an expression in the page; with `wait`, that of a promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=wait, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def screenshot(self, path: Path) -> None:
        answer = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))


@asynccontextmanager
async def open_browser(
    *, width: int = 1200, height: int = 900, arguments: tuple[str, ...] = ()
) -> AsyncIterator[Page]:
    """Yield a page of Chromium with cookies and a cache of its own."""
    base = await asyncio.to_thread(_running, arguments)
    async with aiohttp.ClientSession() as session, session.ws_connect(base.browser, max_msg_size=0) as socket:
        browser = Page(socket)
        context = (await browser.call("Target.createBrowserContext"))["browserContextId"]
        target = await browser.call(
            "Target.createTarget", url="about:blank", browserContextId=context, width=width, height=height
        )
        try:
            async with session.ws_connect(base.page(target["targetId"]), max_msg_size=0) as tab:
                page = Page(tab)
                for domain in ("Page", "Runtime", "Log"):
                    await page.call(f"{domain}.enable")
                yield page
        finally:
            await browser.call("Target.disposeBrowserContext", browserContextId=context)


@dataclass(frozen=True, slots=True)
class _Addresses:
    """Where a Chromium is debugged. browser: the address of the whole program."""

    browser: str

    def page(self, target: str) -> str:
        return f"{self.browser.rpartition('/devtools/')[0]}/devtools/page/{target}"


@functools.cache
def _running(arguments: tuple[str, ...]) -> _Addresses:
    """Start Chromium once for all tests of this process: its start takes longer than most of them."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "no Chromium on this machine"
    profile = Path(tempfile.mkdtemp(prefix="chromium-"))
    command = [
        program,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
    ]
    command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", *arguments, "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end() -> None:
        process.terminate()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)

    atexit.register(end)
    for _ in range(START_SECONDS * 20):
        with contextlib.suppress(OSError, ValueError):
            port, path = (profile / "DevToolsActivePort").read_text(encoding="ascii").splitlines()
            return _Addresses(f"ws://127.0.0.1:{int(port)}{path}")
        time.sleep(0.05)
    raise AssertionError("Chromium did not start")
