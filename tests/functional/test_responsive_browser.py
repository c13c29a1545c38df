"""Responsive pictures in a real browser: no more pixels than are shown, and nothing moves when they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from browser import open_browser
from commands import WRAPPER, invoke
from pictures import photo_jpeg
from scripted_origin import ScriptedOrigin, run_in_thread
from service import Service, write_config

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SIZES = "(max-width: 768px) calc(100vw - 28px), 720px"
# A theme that says nothing of the height, as volantis and butterfly do not.
STYLE = "body{margin:0 14px}main{max-width:720px;margin:auto}img{max-width:100%}p.half{width:50%}"
SHIFT = """new PerformanceObserver(list => {
  for (const entry of list.getEntries()) window.shift += entry.value
}).observe({type: 'layout-shift', buffered: true})"""
SHOWN = """Promise.all([...document.images].map(async i => {
  const body = await (await fetch(i.currentSrc)).blob();
  const wide = (await createImageBitmap(body)).width;
  return {lazy: i.loading === 'lazy', slot: i.clientWidth, tall: i.clientHeight, source: i.currentSrc, wide};
}))"""
SCROLL = """(async () => {
  for (let y = 0; y < document.body.scrollHeight; y += 300) {
    scrollTo(0, y);
    await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
  await Promise.all([...document.images].map(i => i.decode()));
})()"""


def page(origin: ScriptedOrigin) -> str:
    """An article: full and half width, a narrow one, a size that the author gave, text between."""
    text = "<p>" + "Lorem ipsum dolor sit amet. " * 60 + "</p>"
    tags = [
        f'<p><img src="{WRAPPER}{origin.url("/0.jpg")}"></p>',
        f'<p><img src="{WRAPPER}{origin.url("/1.jpg")}"></p>',
        f'<p class="half"><img src="{WRAPPER}{origin.url("/2.jpg")}"></p>',
        f'<p><img src="{WRAPPER}{origin.url("/3.jpg")}" width="300"></p>',
        f'<p><img src="{WRAPPER}{origin.url("/small.jpg")}"></p>',
    ]
    return (
        f"<!doctype html><meta name=viewport content='width=device-width'><style>{STYLE}</style><main>"
        + text.join(tags)
    )


@pytest.fixture(scope="module")
def article(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of the article, warmed and rewritten."""
    folder = tmp_path_factory.mktemp("responsive")
    with run_in_thread() as origin:
        for number in range(4):
            origin.serve(f"/{number}.jpg", photo_jpeg(2000, 1250), content_type="image/jpeg")
        origin.serve("/small.jpg", photo_jpeg(600, 375), content_type="image/jpeg")
        with Service(write_config(folder, {"rewrite": {"sizes": SIZES}})) as service:
            path = folder / "a.html"
            path.write_text(page(origin))
            words = ("--base-url", service.base)
            assert invoke("warm", path, *words, config=service.config) == 0
            assert invoke("rewrite", path, "--write", "--responsive", *words, config=service.config) == 0
            origin.serve("/page.html", path.read_bytes(), content_type="text/html")
            yield origin.url("/page.html")


@pytest.mark.parametrize(("width", "density"), [(390, 1), (390, 2), (1280, 1), (1280, 2)])
async def test_lazy_pictures_are_as_wide_as_their_slots_and_nothing_moves(
    article: str, width: int, density: int
) -> None:
    """They are at most 1.5 times as wide as needed, except for the narrowest candidate, and keep their shape."""
    shown, shift = await _look(article, width, density)
    assert [image["lazy"] for image in shown] == [False, True, True, True, True]
    assert shift < 0.02
    for image in shown:
        assert abs(image["slot"] * 0.625 - image["tall"]) <= 2, image
        needed = image["slot"] * density
        if image["lazy"]:
            assert image["wide"] <= max(1.5 * needed, 320), image
        assert image["wide"] >= min(needed, 600) - 1, image


async def _look(url: str, width: int, density: int) -> tuple[list[dict[str, Any]], float]:
    async with open_browser() as page:
        await page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=density, mobile=False,
        )  # fmt: skip
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=f"window.shift = 0; {SHIFT}")
        await page.call("Page.navigate", url=url)
        await page.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )
        await page.evaluate(SCROLL)
        return await page.evaluate(SHOWN), await page.evaluate("window.shift")
