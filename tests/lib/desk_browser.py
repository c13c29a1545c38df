"""The desk in a real browser for tests: signs in, and looks for faults that no page may have."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from browser import Page, PageLeft, open_browser
from desk import TOKEN
from generators import npm_packages
from PIL import Image

TRIES = 400


@asynccontextmanager
async def desk_browser(base: str, *, width: int, scheme: str = "light") -> AsyncIterator[Page]:
    """Start a browser of a width and a colour scheme, and sign in by the form."""
    async with open_browser(width=width, height=900) as page:
        await page.call("Network.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.open(f"{base}/desk")
        await page.evaluate(f"document.querySelector('#token').value = {TOKEN!r}")
        await submitted(page, "main form")
        yield page


async def submitted(page: Page, form: str) -> None:
    """Send a form as its button does, and wait until the next page is there."""
    button = f"document.querySelector({form!r}).querySelector('button:not([type=button])')"
    await page.evaluate("window.before = true")
    with contextlib.suppress(PageLeft):
        await page.evaluate(f"{button}.click()")
    await until(page, "window.before === undefined && document.readyState === 'complete'")


async def until(page: Page, expression: str) -> None:
    """Wait until an expression is true in the page, or in the one that follows it."""
    for _ in range(TRIES):
        with contextlib.suppress(PageLeft):
            if await page.evaluate(expression, wait=False):
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not true: {expression}")


async def blemishes(page: Page, base: str, *, width: int) -> list[str]:
    """Return the faults of a page of the desk: errors, foreign requests, a horizontal scroll bar, and serious or
    critical findings of axe-core."""
    found = [f"error: {error}" for error in page.errors]
    found += [f"asks {url}" for url in page.requests if not url.startswith((base, "about:", "data:"))]
    wide = await page.evaluate("document.documentElement.scrollWidth")
    found += [f"is {wide} px wide"] if wide > width else []
    violations: list[str] = json.loads(await page.evaluate(f"{_axe()}\n{_RUN_AXE}"))
    return found + violations


async def photographed(page: Page, path: Path) -> None:
    """Take a picture of the whole page."""
    height = await page.evaluate("document.documentElement.scrollHeight")
    size = await page.evaluate("document.documentElement.clientWidth")
    await page.call(
        "Emulation.setDeviceMetricsOverride",
        width=size,
        height=min(height, 4000),
        deviceScaleFactor=1,
        mobile=size < 500,
    )
    await page.screenshot(path)


def publish(photo: Path) -> None:
    """Copy a photograph to the folder that SCREENSHOTS names, for the docs; without that variable, do nothing."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        with Image.open(photo) as picture:
            picture.convert("RGB").quantize(128).save(Path(folder) / f"desk-{photo.name}", optimize=True)


@functools.cache
def _axe() -> str:
    path = npm_packages("axe") / "node_modules" / "axe-core" / "axe.min.js"
    return path.read_text(encoding="utf-8")


_RUN_AXE = """axe.run().then(({violations}) => JSON.stringify(violations
  .filter(({impact}) => impact === 'serious' || impact === 'critical')
  .map(({id, nodes}) => `${id}: ${nodes.map(node => node.html.slice(0, 160)).join(' | ')}`)))"""
