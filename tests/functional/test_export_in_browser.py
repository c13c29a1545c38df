"""An exported site in a real browser, from `file://`, with the origin and the mirror gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import open_browser
from commands import WRAPPER, invoke
from pictures import disc_png, moving, photo_jpeg
from scripted_origin import run_in_thread
from service import write_config
from sites import broken_links, write_site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

MIRROR = "http://mirror.test"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="red"/></svg>'
SHOWN = """[...document.images].map(i => [i.id, i.currentSrc.split('/').pop().split('.').pop(), i.naturalWidth,
  Math.round(i.getBoundingClientRect().width)])"""
DRAWN = """Promise.all([...document.querySelectorAll('[data-drawn]')].map(async e => {
  const address = getComputedStyle(e).backgroundImage.slice(5, -2);
  const image = new Image(); image.src = address; await image.decode();
  return [address.split('.').pop(), image.naturalWidth];
}))"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hexo-like article, exported; the origin is gone."""
    folder = tmp_path_factory.mktemp("exported")
    config = write_config(folder, {"server": {"public_url": MIRROR}})
    with run_in_thread() as origin:
        origin.serve("/photo.jpg", photo_jpeg(1000, 600), content_type="image/jpeg")
        origin.serve("/disc.png", disc_png(90, 60))
        origin.serve("/film.gif", moving("GIF"), content_type="image/gif")
        origin.serve("/s.svg", SVG, content_type="image/svg+xml")
        photo, disc = (f"{MIRROR}/image/content/{origin.url(name)}" for name in ("/photo.jpg", "/disc.png"))
        candidates = ", ".join(
            f"{MIRROR}/image/width={w}/{origin.url('/photo.jpg')} {w}w" for w in (320, 640)
        )
        page = f"""<!doctype html><meta name=viewport content="width=device-width"><base href="/">
<link rel="stylesheet" href="/css/main.css" integrity="sha384-AAAA" crossorigin="anonymous">
<script src="/js/lazy.js" integrity="sha384-AAAA" crossorigin defer></script>
<article><p><img id=photo src="{photo}"></p><p><img id=disc src="{disc}" crossorigin></p>
<img id=wrapped src="{WRAPPER}{origin.url("/photo.jpg")}" width=300 loading=lazy>
<img id=set srcset="{candidates}" sizes="320px" src="{photo}"><img id=film src="{origin.url("/film.gif")}">
<img id=svg src="{origin.url("/s.svg")}"><img id=logo src="/img/logo.png">
<img id=lazy src="data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7" data-src="{photo}">
<picture><source media="(min-width: 800px)" srcset="{photo}"><img id=picture src="{disc}"></picture></article>
<div data-drawn class=sheet>x</div><div data-drawn style="background:url('{photo}')">x</div>
<a id=next href="/posts/two/">two</a>"""
        sheet = "article{max-width:760px}article img{max-width:100%;height:auto}"
        sheet += f'.sheet{{background:url("{photo}")}}'
        files: dict[str, str | bytes] = {
            "posts/one/index.html": page,
            "posts/two/index.html": '<title>two</title><a href="/posts/one/">one</a>',
            "css/main.css": sheet,
            "js/lazy.js": "for (const i of document.querySelectorAll('[data-src]')) i.src = i.dataset.src;",
            "img/logo.png": disc_png(64, 64),
        }
        assert invoke("export", write_site(folder / "site", files), folder / "out", config=config) == 0
    return folder / "out"


@pytest.mark.parametrize("width", [390, 1280])
async def test_every_picture_is_painted_from_a_folder_in_a_modern_format(copy: Path, width: int) -> None:
    async with open_browser(width=width) as page:
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        await page.open((copy / "posts/one/index.html").as_uri())
        shown = {name: (kind, natural, box) for name, kind, natural, box in await page.evaluate(SHOWN)}
        drawn = await page.evaluate(DRAWN)
        errors = page.errors
    assert errors == []
    assert len(shown) == 9
    assert all(natural > 1 for _, natural, _ in shown.values()), shown
    modern = {name: kind for name, (kind, *_) in shown.items() if name not in ("svg", "logo")}
    assert set(modern.values()) <= {"avif", "webp"}, modern
    assert shown["photo"][0] == "avif"
    # What a picture without a style takes is what it took before: its own width, or that of the column.
    assert shown["disc"][2] == 90
    assert shown["wrapped"][2] == 300
    assert shown["photo"][2] == min(760, width - 16)
    assert [kind for kind, natural in drawn if natural == 1000] == ["webp", "webp"]


async def test_links_lead_from_page_to_page_in_a_folder(copy: Path) -> None:
    assert list(broken_links(copy)) == []
    async with open_browser() as page:
        await page.open((copy / "posts/one/index.html").as_uri())
        address = await page.evaluate("document.querySelector('#next').href")
        await page.open(address)
        assert await page.evaluate("document.title") == "two"
