"""The page of an article in a real browser: its pictures come from the mirror, small, also when the origin is dead."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import open_browser
from http_client import Client
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin
from service import Service, write_config

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

SHOWN = "[...document.images].map(i => [i.currentSrc, i.naturalWidth, i.complete])"


@pytest.fixture(scope="module")
def demo() -> Iterator[dict[str, str]]:
    """The demo after its story: the origin is off; addresses by name."""
    command = [sys.executable, "-u", "-m", "proxy", "demo"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    addresses: dict[str, str] = {}
    for line in process.stdout:
        if match := re.match(r"\s+the (article|report|service)\s+(http://\S+)", line):
            addresses[match[1]] = match[2]
        if "Ctrl-C" in line:
            break
    yield addresses
    process.terminate()
    process.wait(60)
    process.stdout.close()


async def test_article_page_shows_every_picture_from_the_mirror(demo: dict[str, str], tmp_path: Path) -> None:
    async with open_browser() as page:
        await page.open(demo["article"])
        shown = await page.evaluate(SHOWN)
        mirrored = [(source, width) for source, width, _ in shown if source.startswith(demo["service"])]
        assert len(mirrored) >= 6
        assert all(complete and width > 0 for _, width, complete in shown)
        assert any(width == 1200 for source, width in mirrored if "/headimg/" in source)
        assert all(width <= 1200 for _, width in mirrored)
        await page.screenshot(tmp_path / "article.png")


async def test_report_page_opens_without_errors(demo: dict[str, str]) -> None:
    async with open_browser() as page:
        await page.open(demo["report"])
        assert "dead" in (await page.evaluate("document.body.innerText")).lower()
        assert page.errors == []


async def test_home_page_runs_its_form_under_its_own_policy(client: Client, origin: ScriptedOrigin) -> None:
    """The page's policy permits its script, which sends the address as it was typed."""
    origin.serve("/a.png?x=1&y=%2F", chart_png(80, 60))
    async with open_browser() as page:
        await page.open(client.base + "/")
        assert page.errors == []
        target = origin.url("/a.png?x=1&y=%2F")
        await page.evaluate(f"document.querySelector('input').value = {target!r}")
        await page.evaluate("document.querySelector('form').requestSubmit()")
        for _ in range(100):
            if await page.evaluate("location.search") == "?" + target:
                break
            await asyncio.sleep(0.05)
        assert await page.evaluate(SHOWN) == [[client.base + "/?" + target, 80, True]]


async def test_browser_gets_avif_and_a_canvas_may_read_the_pixels(
    client: Client, origin: ScriptedOrigin
) -> None:
    origin.serve("/p.jpg", photo_jpeg(900, 600), content_type="image/jpeg")
    origin.serve("/another-site.html", b"<!doctype html><p>another site", content_type="text/html")
    variant = client.base + "/image/width=300/" + origin.url("/p.jpg")
    async with open_browser() as page:
        await page.open(origin.url("/another-site.html"))
        await page.evaluate(_LOADED % repr(variant))
        assert await page.evaluate("window.pixel.length") == 4
        assert await page.evaluate("[window.picture.naturalWidth, window.picture.naturalHeight]") == [
            300,
            200,
        ]
    accept = {"Accept": "image/avif,image/webp,*/*"}
    answer = await client.get("/image/width=300/" + origin.url("/p.jpg"), headers=accept)
    assert "detail=memory" in answer.cache_status, "what the browser got was AVIF"


async def test_picture_opened_as_a_page_runs_no_script(client: Client, origin: ScriptedOrigin) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><title>x</title><script>document.title = "ran"</script></svg>'
    origin.serve("/s.svg", svg, content_type="image/svg+xml")
    async with open_browser() as page:
        # Promises do not run in a page without scripts, so it is asked until it is there.
        await page.call("Page.navigate", url=client.base + "/?" + origin.url("/s.svg"))
        for _ in range(100):
            if await page.evaluate("document.documentElement.outerHTML.includes('ran')", wait=False):
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the picture did not come")
        assert await page.evaluate("document.title", wait=False) == "x"


_LOADED = """new Promise((done, failed) => {
  const picture = window.picture = new Image();
  picture.crossOrigin = 'anonymous';
  picture.onload = () => {
    const canvas = document.createElement('canvas');
    canvas.getContext('2d').drawImage(picture, 0, 0);
    window.pixel = Array.from(canvas.getContext('2d').getImageData(0, 0, 1, 1).data);
    done();
  };
  picture.onerror = failed;
  picture.src = %s;
})"""


@pytest.fixture(scope="module")
def hinting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("hinting")
    with Service(write_config(folder, {"render": {"client_hints": True}})) as service:
        yield service


@pytest.mark.parametrize(
    "asking",
    [
        '<meta http-equiv="delegate-ch" content="sec-ch-width {mirror}; sec-ch-dpr {mirror}">',
        'Accept-CH: Sec-CH-Width, Sec-CH-DPR\nPermissions-Policy: ch-width=("{mirror}"), ch-dpr=("{mirror}")',
    ],
    ids=["meta", "headers"],
)
async def test_page_of_another_site_gets_pictures_of_the_width_they_are_shown_in(
    hinting: Service, origin: ScriptedOrigin, asking: str
) -> None:
    """The page asks for hints as docs/api.md says: 300 CSS pixels at a density of two make 640, and 200 stays 200."""
    origin.serve("/p.jpg", photo_jpeg(1600, 1000), content_type="image/jpeg")
    source = origin.url("/p.jpg")
    wide, dense = (
        f"{hinting.base}/image/{options}/{source}" for options in ("width=auto", "width=200,dpr=auto")
    )
    page_text = f'<!doctype html><img sizes="300px" src="{wide}"><img src="{dense}">'
    asking = asking.format(mirror=hinting.base)
    if asking.startswith("<"):
        origin.serve("/page.html", (asking + page_text).encode(), content_type="text/html")
    else:
        headers = dict(line.split(": ", 1) for line in asking.splitlines())
        origin.serve("/page.html", page_text.encode(), content_type="text/html", headers=headers)
    async with open_browser() as page:
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=900, height=700, deviceScaleFactor=2, mobile=False
        )
        await page.open(origin.url("/page.html"))
        shown = await page.evaluate("[...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
    # The second is 400 x 250 in pixels: Content-DPR tells the browser that two of them make one.
    assert shown == [[640, 400], [200, 125]]
