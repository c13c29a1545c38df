"""Drives a headless Chromium over the DevTools protocol: opens a page, evaluates expressions, takes screenshots.

This replaces Playwright, whose package brings a Node runtime of 40 MB for three messages.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
    """Start Chromium and yield its page."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "no Chromium on this machine"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
        ]
        command += [
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",
            *arguments,
        ]
        process = await asyncio.create_subprocess_exec(
            *command, "about:blank", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    targets = json.loads(await answer.text())
                address = next(
                    target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"
                )
                async with session.ws_connect(address, max_msg_size=0) as socket:
                    page = Page(socket)
                    for domain in ("Page", "Runtime", "Log"):
                        await page.call(f"{domain}.enable")
                    yield page
        finally:
            process.terminate()
            await process.wait()


async def _port(path: Path) -> int:
    for _ in range(START_SECONDS * 20):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((await asyncio.to_thread(path.read_text)).splitlines()[0])
        await asyncio.sleep(0.05)
    raise AssertionError("Chromium did not start")
