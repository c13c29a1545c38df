"""A real Hexo blog with volantis in Chromium: every picture is painted from the mirror, whatever its origin does."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from browser import PROGRAMS, Page, open_browser
from commands import invoke
from generators import ROOT, WORKER, require, run
from scripted_origin import ScriptedOrigin, run_in_thread, stop_in_thread
from service import Service, write_config
from volantis_blog import PICTURES, build, escaped, pages, posts, serving

from proxy.rewrite.exporting.pictures import FOLDER

pytestmark = [pytest.mark.integrations, pytest.mark.timeout(600)]

NO_NETWORK = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
SMALL = {"image/avif", "image/webp"}

# Scrolls through the page as a reader does, so that every lazy picture is asked for, and waits until all have come.
SCROLL = """(async () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  const to = y => scrollTo({ top: y, behavior: 'instant' });
  const end = () => document.documentElement.scrollHeight;
  for (let y = 0; y < end(); y += innerHeight) { to(y); await frame(); }
  // The theme's loader gives up a picture that leaves the view before its load event, complete or not, and puts
  // its placeholder back; it lets go only of one that it calls loaded.
  const unsettled = i => i.classList.contains('lazyload') && i.dataset.llStatus !== 'loaded';
  const waiting = i => i.src.includes('MARK') && (!i.complete || unsettled(i));
  const begun = performance.now();
  let next;
  let away = begun;
  while ((next = [...document.images].find(waiting)) && performance.now() - begun < 30000) {
    // The loader notices a picture that comes into view, not one that is in view already.
    if (performance.now() > away) { to(0); await frame(); to(end()); await frame(); away = performance.now() + 2000; }
    next.scrollIntoView({ block: 'center', behavior: 'instant' });
    await frame();
  }
})()"""
SHOWN = """[...document.images].filter(i => i.src.includes('MARK')).map(i => ({
  source: i.currentSrc, complete: i.complete, width: i.naturalWidth, slot: i.clientWidth,
  lazy: i.loading === 'lazy', theme: i.dataset.llStatus ?? ''}))"""


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


async def looked_at(page: Page, address: str, *, mark: str = "/p/") -> list[dict[str, Any]]:
    """Open a page with an empty cache, scroll through it, and return its article pictures as they are shown.

    `mark` is what their addresses hold.
    """
    page.types.clear()
    await page.call("Network.clearBrowserCache")
    await page.open(address, eagerly=False)
    await page.evaluate(SCROLL.replace("MARK", mark))
    return list(await page.evaluate(SHOWN.replace("MARK", mark)))


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


# What Chromium reports as shifted, the pictures that moved, and the pixels that came for each lazy picture.
MEASURED = """(async () => {
  const shifts = [];
  const take = list => shifts.push(...list.filter(entry => !entry.hadRecentInput));
  const observer = new PerformanceObserver(list => take(list.getEntries()));
  observer.observe({ type: 'layout-shift', buffered: true });
  await new Promise(done => setTimeout(done, 50));
  take(observer.takeRecords());
  const lazy = [];
  for (const i of document.images) {
    if (!i.src.includes('/p/') || i.loading !== 'lazy' || !i.clientWidth) continue;
    const pixels = (await createImageBitmap(await (await fetch(i.currentSrc)).blob())).width;
    lazy.push({ source: i.currentSrc, pixels, needs: i.clientWidth * devicePixelRatio });
  }
  const place = rect => [rect.x, rect.y, rect.width, rect.height].map(Math.round).join(' ');
  const name = x => `${x.node?.nodeName}.${x.node?.className}: ${place(x.previousRect)} -> ${place(x.currentRect)}`;
  const moved = shifts.map(entry => [entry.value, Math.round(entry.startTime), ...entry.sources.map(name)]);
  return { shift: shifts.reduce((sum, entry) => sum + entry.value, 0), moved, lazy };
})()"""


def docs_sizes() -> str:
    """Return what docs/responsive.md says of volantis' column."""
    page = (ROOT / "docs" / "responsive.md").read_text(encoding="utf-8")
    found = re.search(r"^\| volantis [^|]*\| `([^`]+)` \|$", page, re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def kept(blog: Blog) -> Blog:
    """The blog when the mirror keeps all pictures and their origin is gone."""
    for path in PICTURES:
        address = blog.mirror.url("/image/original/" + blog.origin.url(escaped(path)))
        with urlopen(address, timeout=60) as answer:  # noqa: S310 - our own loopback address
            assert answer.status == 200
    stop_in_thread(blog.origin)
    return blog


@pytest.fixture(scope="module")
def responsive(tmp_path_factory: pytest.TempPathFactory, kept: Blog) -> Blog:
    """The blog without the theme's own lazy loader, its finished pages rewritten with `--responsive`."""
    folder = tmp_path_factory.mktemp("responsive")
    posts_folder = kept.site.parent / "source" / "_posts"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in posts_folder.glob("*.md")}
    site = build(folder, texts=texts, lazy=False)
    changes = {
        "store": {"dir": str(kept.mirror.config.parent / "store")},
        "rewrite": {"sizes": docs_sizes()},
    }
    (folder / "config").mkdir()
    config = write_config(folder / "config", changes)
    words = ("--write", "--responsive", "--base-url", kept.mirror.base)
    assert invoke("rewrite", site, *words, config=config) == 0
    return Blog(site, kept.origin, kept.mirror)


@pytest.mark.parametrize("dpr", [1, 2])
@pytest.mark.parametrize("width", [390, 1280])
async def test_responsive_pages_load_what_they_need_and_do_not_shift(
    responsive: Blog, width: int, dpr: int
) -> None:
    """The five forms of the articles, the sample, and a list."""
    paths = [*responsive.pages[:5], next(path for path in responsive.pages if "sample" in path), "/"]
    with serving(responsive.site) as base:
        async with window(width, dpr=dpr) as page:
            for path in paths:
                shown = await looked_at(page, base + path)
                assert problems(shown, page.types, responsive.mirror.base) == [], path
                measured = await page.evaluate(MEASURED)
                print(path, measured)
                wide = [found for found in measured["lazy"] if found["pixels"] > 1.5 * found["needs"]]
                assert measured["lazy"], path
                assert not wide, path
                assert measured["shift"] < 0.02, (path, measured["moved"])


async def test_exported_blog_is_painted_from_a_folder_when_origin_and_mirror_are_gone(
    tmp_path: Path, kept: Blog
) -> None:
    """Nothing but files: the pages are opened from `file://`."""
    out = tmp_path / "out"
    words = ("--base-url", kept.mirror.base, "--offline")
    changes = {"store": {"dir": str(kept.mirror.config.parent / "store")}}
    config = write_config(tmp_path, changes)
    # The theme's own pictures from its CDN are reported as dead, which is 1; none of the articles' is.
    said = run(
        sys.executable, "-m", "proxy", "export", kept.site, out, *words, "--config", config,
        cwd=tmp_path, code=1,
    )  # fmt: skip
    assert "/p/" not in "".join(line for line in said.splitlines() if line.startswith("dead:"))
    async with window(1280) as page:
        for path in [*kept.pages[:5], "/"]:
            address = (out / path.strip("/") / "index.html").as_uri()
            shown = await looked_at(page, address, mark=f"/{FOLDER}/")
            assert len(shown) >= 6, path
            for picture in shown:
                assert picture["complete"], picture
                assert picture["width"] > 1, picture
                assert picture["source"].startswith("file://"), picture
