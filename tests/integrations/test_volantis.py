"""A real Hexo blog with volantis in Chromium: every picture is painted from the mirror, whatever its origin does."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import PROGRAMS, Page, open_browser
from commands import invoke
from generators import WORKER, require
from scripted_origin import ScriptedOrigin, run_in_thread, stop_in_thread
from service import Service, write_config
from volantis_blog import PICTURES, build, escaped, pages, posts, serving

pytestmark = [pytest.mark.integrations, pytest.mark.timeout(600)]

NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
SMALL = {"image/avif", "image/webp"}

# Scrolls through the page as a reader does, so that every lazy picture is asked for, and waits until all have come.
SCROLL = """(async () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  const to = y => scrollTo({ top: y, behavior: 'instant' });
  const end = () => document.documentElement.scrollHeight;
  for (let y = 0; y < end(); y += innerHeight) { to(y); await frame(); }
  const waiting = i => i.src.includes('/p/') && (!i.complete || i.currentSrc.startsWith('data:'));
  const begun = performance.now();
  let next;
  let step = 0;
  while ((next = [...document.images].find(waiting)) && performance.now() - begun < 20000) {
    // The theme's loader notices a picture that comes into view, not one that is in view already.
    if (step++ % 20 === 0) { to(0); await frame(); }
    next.scrollIntoView({ block: 'center', behavior: 'instant' });
    await frame();
  }
})()"""
SHOWN = """[...document.images].filter(i => i.src.includes('/p/')).map(i => ({
  source: i.currentSrc, complete: i.complete, width: i.naturalWidth, slot: i.clientWidth,
  lazy: i.loading === 'lazy'}))"""


@dataclass
class Blog:
    """The finished site, its origin and its mirror."""

    site: Path
    origin: ScriptedOrigin
    mirror: Service

    @property
    def pages(self) -> list[str]:
        return pages(self.site)


@pytest.fixture(scope="module")
def origin() -> Iterator[ScriptedOrigin]:
    with run_in_thread() as origin:
        for path, (body, content_type) in PICTURES.items():
            origin.serve(escaped(path), body, content_type=content_type)
        yield origin


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("mirror")
    config = {"render": {"processes": 2}, "server": {"min_max_age": 0}, "fetch": {"per_origin": 16}}
    with Service(write_config(folder, config)) as service:
        yield service


@pytest.fixture(scope="module")
def blog(tmp_path_factory: pytest.TempPathFactory, origin: ScriptedOrigin, mirror: Service) -> Blog:
    """The articles rewritten for good, then built; the theme loads its pictures lazily, as it is shipped."""
    require("node", "npm")
    if not any(map(shutil.which, PROGRAMS)):
        require("chromium")
    folder = tmp_path_factory.mktemp("blog")
    texts = posts(origin.url(""))
    for name, text in texts.items():
        path = folder / "source" / "_posts" / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    words = ("--write", "--base-url", mirror.base)
    assert invoke("rewrite", folder / "source", *words, config=mirror.config) == 0
    assert (
        invoke("rewrite", folder / "source", "--check", "--base-url", mirror.base, config=mirror.config) == 0
    )
    rewritten = {name: (folder / "source" / "_posts" / f"{name}.md").read_text("utf-8") for name in texts}
    return Blog(build(folder, texts=rewritten, lazy=True), origin, mirror)


async def looked_at(page: Page, address: str) -> list[dict[str, Any]]:
    """Open a page with an empty cache, scroll through it, and return its article pictures as they are shown."""
    page.types.clear()
    await page.call("Network.clearBrowserCache")
    await page.open(address, eagerly=False)
    await page.evaluate(SCROLL)
    return list(await page.evaluate(SHOWN))


def problems(shown: list[dict[str, Any]], types: dict[str, str], mirror: str) -> list[str]:
    """Return what is wrong with the pictures of a page."""
    found = [] if shown else ["the page shows no picture"]
    for picture in shown:
        kind = types.get(picture["source"], "nothing")
        if not (picture["complete"] and picture["width"]):
            found.append(f"not painted: {picture}")
        elif not picture["source"].startswith(mirror + "/image/"):
            found.append(f"not from the mirror: {picture}")
        elif kind not in SMALL:
            found.append(f"came as {kind}: {picture}")
    return found


@asynccontextmanager
async def window(width: int, *, dpr: int = 1) -> AsyncIterator[Page]:
    """A browser that reaches nothing but this machine."""
    async with open_browser(width=width, height=900, arguments=(NO_NETWORK,)) as page:
        await page.call("Network.enable")
        screen = {"width": width, "height": 900, "deviceScaleFactor": dpr, "mobile": width < 500}
        await page.call("Emulation.setDeviceMetricsOverride", **screen)
        yield page


async def visited(blog: Blog, paths: list[str], *, width: int) -> tuple[int, dict[str, list[str]]]:
    """Return how many pictures pages show, and what is wrong with them by page."""
    count, wrong = 0, {}
    with serving(blog.site) as base:
        async with window(width) as page:
            for path in paths:
                shown = await looked_at(page, base + path)
                count += len(shown)
                if found := problems(shown, page.types, blog.mirror.base):
                    wrong[path] = found
    return count, wrong


def test_built_blog_names_the_mirror_and_no_wrapper(blog: Blog) -> None:
    """Pages of the theme too: lists, structured data, links of the gallery."""
    texts = {path: path.read_text(encoding="utf-8") for path in blog.site.rglob("*.html")}
    assert len(texts) >= 24
    assert not [path for path, text in texts.items() if WORKER in text]
    without_ours = (text.replace("/" + blog.origin.url(""), "") for text in texts.values())
    assert not any(blog.origin.url("") in text for text in without_ours)


async def test_every_picture_is_painted_from_the_mirror_also_when_the_origin_is_gone(blog: Blog) -> None:
    for width in (390, 1280):
        count, wrong = await visited(blog, blog.pages, width=width)
        assert wrong == {}
        assert count >= 21 * 7
    await asyncio.to_thread(stop_in_thread, blog.origin)
    asked = blog.origin.count()
    for width in (390, 1280):
        count, wrong = await visited(blog, [*blog.pages[:6], "/"], width=width)
        assert wrong == {}
        assert count >= 6 * 7
    assert blog.origin.count() == asked
