"""The desk in a real browser: every page on a phone and on a desk, light and dark, looked at and used."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page
from desk import TOKEN
from desk_browser import TRIES, blemishes, desk_browser, photographed, publish, submitted, until
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin, head, stall
from scripted_wayback import ScriptedWayback
from service import Service, write_config

from cache.durable_tier import Originals

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

KEY = "a signing key of the owner"
PUBLISHED = {"overview-1280-light.png", "picture-390-light.png", "playground-photo-1280-dark.png"}
"""Which photographs docs/desk.md shows; `make screenshots` makes them again."""

SHOWN = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, archive: ScriptedWayback) -> Iterator[Service]:
    settings: dict[str, dict[str, Any]] = {
        "server": {"admin_token": TOKEN},
        "sources": {"keys": [KEY]},
        "fetch": {"wayback": archive.url("")},
    }
    with Service(write_config(tmp_path_factory.mktemp("desk"), settings)) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


@pytest.fixture
async def pictures(origin: ScriptedOrigin) -> ScriptedOrigin:
    origin.serve("/photo.jpg", photo_jpeg(1600, 1000), content_type="image/jpeg")
    origin.serve("/chart.png", chart_png(700, 400))
    return origin


def pages(origin: ScriptedOrigin) -> dict[str, str]:
    """Return the address of every page of the desk by its name."""
    photo = origin.url("/photo.jpg")
    return {
        "overview": "/desk",
        "overview-day": "/desk?span=day",
        "playground": "/desk/playground",
        "playground-photo": f"/desk/playground?source={photo}&width=640&fit=cover&height=300",
        "playground-refused": "/desk/playground?source=ftp://host/a.png",
        "presets": f"/desk/presets?source={photo}",
        "pictures": "/desk/pictures?sort=size",
        "pictures-filtered": "/desk/pictures?state=damaged&since=2020-01-31&article=posts/one.md",
        "pictures-refused": "/desk/pictures?sha256=xyz",
        "picture": f"/desk/picture?source={photo}",
        "picture-absent": f"/desk/picture?source={origin.url('/absent.png')}",
        "confirm": f"/desk/picture/confirm?action=purge&source={photo}",
        "missing": "/desk/missing",
        "missing-group": "/desk/missing?group=given_up",
        "articles": "/desk/articles",
        "article": "/desk/article?name=posts/one.md",
        "jobs": "/desk/jobs",
        "nowhere": "/desk/nowhere",
    }


async def known_article(service: Service, sources: list[str]) -> None:
    """Record an article in the store of the service, as `warm` does."""
    kept = await Originals.open(service.config.parent / "store", min_free_bytes=0, max_bytes=None)
    await kept.articles.record(
        "posts/one.md", sources, lines={url: [number] for number, url in enumerate(sources, 3)}
    )
    await kept.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_every_page_is_well_made(
    service: Service, pictures: ScriptedOrigin, tmp_path: Path, width: int, scheme: str
) -> None:
    """No script errors, no request to another place, no scrolling sideways, nothing serious for axe-core."""
    found: dict[str, list[str]] = {}
    async with desk_browser(service.base, width=width, scheme=scheme) as page:
        await page.open(f"{service.base}/desk/picture?source={pictures.url('/photo.jpg')}")
        await submitted(page, "form[action$=refetch]")
        await known_article(
            service,
            [pictures.url("/photo.jpg"), pictures.url("/absent.png"), "http://127.0.0.1:1/given-up.png"],
        )
        await page.open(f"{service.base}/desk/picture?source=http://127.0.0.1:1/given-up.png")
        if await page.evaluate("document.querySelector('form[action$=give-up]') !== null"):
            await submitted(page, "form[action$=give-up]")
        for name, address in pages(pictures).items():
            await page.open(service.base + address)
            answered = ("404 (Not Found)", "400 (Bad Request)")
            page.errors[:] = [error for error in page.errors if not any(text in error for text in answered)]
            found[name] = await blemishes(page, service.base, width=width)
            photo = tmp_path / f"{name}-{width}-{scheme}.png"
            await photographed(page, photo)
            if photo.name in PUBLISHED:
                publish(photo)
    assert found == {name: [] for name in found}


async def test_form_of_the_sign_in_is_well_made(service: Service) -> None:
    async with desk_browser(service.base, width=390) as page:
        await submitted(page, ".who form")
        assert await page.evaluate("location.pathname") == "/desk/sign-in"
        assert await blemishes(page, service.base, width=390) == []


async def test_playground_with_three_options_shows_the_picture_signed(
    service: Service, pictures: ScriptedOrigin
) -> None:
    """A service with keys answers signed addresses only, so the pictures appear because the desk signed them."""
    async with desk_browser(service.base, width=1280) as page:
        await page.open(service.base + "/desk/playground")
        fields = {"source": pictures.url("/photo.jpg"), "width": "320", "height": "200", "fit": "cover"}
        for name, value in fields.items():
            await page.evaluate(f"document.querySelector('main form')[{name!r}].value = {value!r}")
        await submitted(page, "main form")
        address = await page.evaluate("location.search")
        assert "height=200" in address
        assert "quality" not in address, "empty fields are left out"
        await until(page, SHOWN)
        sizes = await page.evaluate("[...document.querySelectorAll('.compare img')].map(i => i.naturalWidth)")
        assert sizes == [1600, 320]
        assert ",sig=" in await page.evaluate("document.querySelector('#a-own').value")
        rows = await page.evaluate("[...document.querySelectorAll('.list tbody th')].map(t => t.textContent)")
        assert rows == ["AVIF", "WebP", "JPEG", "PNG", "GIF"]


async def test_picture_is_fetched_and_deleted_with_confirmation(
    service: Service, pictures: ScriptedOrigin
) -> None:
    source = pictures.url("/chart.png")
    async with desk_browser(service.base, width=390) as page:
        await page.open(f"{service.base}/desk/picture?source={source}")
        await submitted(page, "form[action$=refetch]")
        assert "The picture is kept now." in await page.evaluate("document.querySelector('main').innerText")
        await until(page, SHOWN)
        assert await page.evaluate("document.querySelector('.stage img').naturalWidth") == 700
        await page.evaluate("window.before = true")
        await page.evaluate("document.querySelector('a[href*=purge]').click()")
        await until(page, "window.before === undefined && document.readyState === 'complete'")
        assert await page.evaluate("document.querySelector('h1').textContent") == "Delete this picture?"
        await submitted(page, "form[action$=purge]")
        text = await page.evaluate("document.querySelector('main').innerText")
        assert "The picture was deleted." in text
        assert "Nothing is kept of this source" in text
        assert await blemishes(page, service.base, width=390) == []


async def test_pictures_are_searched_sorted_opened_and_deleted(
    service: Service, pictures: ScriptedOrigin
) -> None:
    """From the list to the page of a picture, and back to a list without it."""
    chart, photo = pictures.url("/chart.png"), pictures.url("/photo.jpg")
    addresses = "[...document.querySelectorAll('.list tbody th a')].map(a => a.title)"
    async with desk_browser(service.base, width=390) as page:
        for source in (chart, photo):
            await page.open(f"{service.base}/desk/picture?source={source}")
            await submitted(page, "form[action$=refetch]")
        await page.open(f"{service.base}/desk/pictures")
        await page.evaluate("document.querySelector('#q').value = '127.0.0.1'")
        await page.evaluate("document.querySelector('#sort').value = 'size'")
        await submitted(page, "main form")
        assert await page.evaluate("location.search") == "?q=127.0.0.1&sort=size"
        found = await page.evaluate(addresses)
        assert found.index(photo) < found.index(chart)
        await until(
            page, "[...document.querySelectorAll('.thumb img')].every(i => i.complete && i.naturalWidth)"
        )
        assert await blemishes(page, service.base, width=390) == []
        await page.evaluate("document.querySelector('details summary').click()")
        await page.evaluate("document.querySelector('#origin').value = 'no origin'")
        await submitted(page, "main form")
        assert "This search is not possible" in await page.evaluate(
            "document.querySelector('main').innerText"
        )
        assert await page.evaluate("document.querySelector('#origin').value") == "no origin"
        page.errors[:] = [error for error in page.errors if "400 (Bad Request)" not in error]
        await page.open(f"{service.base}/desk/pictures?q=chart")
        await followed(page, ".list tbody th a")
        await followed(page, "a[href*='action=purge']")
        await submitted(page, "form[action$=purge]")
        assert "The picture was deleted." in await page.evaluate("document.querySelector('main').innerText")
        await page.open(f"{service.base}/desk/pictures?q=chart")
        assert await page.evaluate(addresses) == []
        assert await blemishes(page, service.base, width=390) == []


async def test_missing_picture_is_given_up_and_tried_again(service: Service) -> None:
    """The buttons of the list lead back to it, and it says what was done."""
    source = "http://127.0.0.1:1/hopeless.png"
    kept = await Originals.open(service.config.parent / "store", min_free_bytes=0, max_bytes=None)
    await kept.articles.record("posts/two.md", [source], lines={source: [5]})
    await kept.close()
    async with desk_browser(service.base, width=1280) as page:
        await page.open(f"{service.base}/desk/missing?q=hopeless")
        assert "line 5" in await page.evaluate("document.querySelector('.list').innerText")
        await submitted(page, "form[action$=give-up]")
        assert "is given up" in await page.evaluate("document.querySelector('[role=status]').innerText")
        assert await page.evaluate("document.querySelector('#q').value") == "hopeless"
        assert "Given up" in await page.evaluate("document.querySelector('.list').innerText")
        assert await blemishes(page, service.base, width=1280) == []
        await followed(page, ".list tbody th a")
        assert "given up" in await page.evaluate("document.querySelector('main').innerText")
        await page.open(f"{service.base}/desk/missing?q=hopeless")
        await submitted(page, "form[action$=try-again]")
        assert "Not now" in await page.evaluate("document.querySelector('.list').innerText")


async def followed(page: Page, selector: str) -> None:
    """Follow a link, and wait until the next page is there."""
    await page.evaluate("window.before = true")
    await page.evaluate(f"document.querySelector({selector!r}).click()")
    await until(page, "window.before === undefined && document.readyState === 'complete'")


async def test_dead_picture_is_recovered_from_the_archive(service: Service, wayback: ScriptedWayback) -> None:
    source = "http://127.0.0.1:1/recovered.png"
    wayback.capture(source, "20200102030405", chart_png(300, 200))
    async with desk_browser(service.base, width=1280) as page:
        await page.open(f"{service.base}/desk/picture/archive?source={source}")
        assert await blemishes(page, service.base, width=1280) == []
        await submitted(page, "form[action$=recover]")
        assert "The capture from the archive is kept." in await page.evaluate("document.body.innerText")
        await until(page, SHOWN)
        assert await page.evaluate("document.querySelector('.stage img').naturalWidth") == 300


async def test_replacement_is_uploaded_by_hand(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "mine.jpg"
    file.write_bytes(photo_jpeg(640, 400))
    async with desk_browser(service.base, width=1280) as page:
        await page.open(f"{service.base}/desk/picture?source=http://127.0.0.1:1/uploaded.jpg")
        root = await page.call("DOM.getDocument")
        found = await page.call("DOM.querySelector", nodeId=root["root"]["nodeId"], selector="#file")
        await page.call("DOM.setFileInputFiles", files=[str(file)], nodeId=found["nodeId"])
        await submitted(page, "form[action$=upload]")
        text = await page.evaluate("document.body.innerText")
        assert "Visitors get the upload now." in text
        assert "by hand" in text
        await until(page, SHOWN)
        assert await blemishes(page, service.base, width=1280) == []


async def test_running_warm_is_seen_live(service: Service, origin: ScriptedOrigin, tmp_path: Path) -> None:
    """A warm that the command line has started appears on the open page and ends there, without loading it again."""
    release = asyncio.Event()
    body = chart_png(60, 40)
    whole = head(200, {"Content-Type": "image/png", "Content-Length": str(len(body))}) + body
    origin.script("/slow.png", stall(release, after=whole))
    (tmp_path / "post.md").write_text(f"![]({origin.url('/slow.png')})")
    command = [sys.executable, "-m", "proxy", "warm", str(tmp_path / "post.md"), "--all-images"]
    quiet = asyncio.subprocess.DEVNULL
    async with desk_browser(service.base, width=390) as page:
        await page.open(service.base + "/desk/jobs")
        await page.evaluate("window.before = true")
        process = await asyncio.create_subprocess_exec(
            *command, "--config", str(service.config), stdout=quiet, stderr=quiet
        )
        try:
            await until(page, "document.querySelector('.jobs .status.note') !== null")
            assert await blemishes(page, service.base, width=390) == []
            release.set()
            await until(page, "document.querySelector('.jobs li .status.good') !== null")
            assert await page.evaluate("window.before")
        finally:
            release.set()
            assert await process.wait() == 0


async def test_slider_shows_more_of_the_original_as_it_moves(
    service: Service, pictures: ScriptedOrigin
) -> None:
    async with desk_browser(service.base, width=1280) as page:
        await page.open(f"{service.base}/desk/playground?source={pictures.url('/photo.jpg')}&preset=content")
        await page.evaluate("document.querySelector('[aria-pressed]').click()")
        await page.evaluate(
            "(r => { r.value = 80; r.dispatchEvent(new Event('input')) })(document.querySelector('[type=range]'))"
        )
        clip = await page.evaluate("document.querySelectorAll('.slider img')[1].style.clipPath")
        assert "20%" in clip
        assert await blemishes(page, service.base, width=1280) == []
        await page.evaluate("document.querySelector('[aria-pressed]').click()")
        assert await page.evaluate("document.querySelectorAll('.compare > figure').length") == 2


async def test_desk_works_with_scripts_off(service: Service, pictures: ScriptedOrigin) -> None:
    """Signing in, trying a picture and signing out are forms and links."""
    async with desk_browser(service.base, width=1280) as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.call("Page.navigate", url=service.base + "/desk/playground")
        await until(page, "document.querySelector('main form button') !== null")
        assert await page.evaluate("document.querySelector('.compare')", wait=False) is None
        source = pictures.url("/chart.png")
        await page.evaluate(f"document.querySelector('#source').value = {source!r}", wait=False)
        await page.evaluate("document.querySelector('#preset').value = 'thumbnail'", wait=False)
        await page.evaluate("document.querySelector('main form .main').click()", wait=False)
        await until(page, "document.querySelectorAll('.compare img').length === 2")
        assert await page.evaluate("document.querySelector('[aria-pressed]')", wait=False) is None
        await page.evaluate("document.querySelector('.who button').click()", wait=False)
        await until(page, "document.querySelector('#token') !== null")


async def test_keyboard_reaches_the_content_and_every_focus_is_seen(service: Service) -> None:
    """The first Tab shows the skip link, and Enter on it leads to the content."""
    async with desk_browser(service.base, width=1280) as page:
        await page.open(service.base + "/desk")
        for kind in ("keyDown", "keyUp"):
            await page.call("Input.dispatchKeyEvent", type=kind, key="Tab", windowsVirtualKeyCode=9)
        focused = (
            "document.activeElement.className + ' ' + getComputedStyle(document.activeElement).outlineStyle"
        )
        assert await page.evaluate(focused) == "skip solid"
        await page.call("Input.dispatchKeyEvent", type="rawKeyDown", key="Enter", windowsVirtualKeyCode=13)
        await page.call(
            "Input.dispatchKeyEvent", type="char", text="\r", key="Enter", windowsVirtualKeyCode=13
        )
        await until(page, "location.hash === '#main'")


async def test_page_of_another_site_shows_no_desk_in_a_frame(
    service: Service, origin: ScriptedOrigin
) -> None:
    """Clickjacking: the browser refuses to show the desk inside another page."""
    frame = f'<!doctype html><title>a trap</title><iframe src="{service.base}/desk/sign-in"></iframe>'
    origin.serve("/trap.html", frame.encode(), content_type="text/html")
    async with desk_browser(service.base, width=1280) as page:
        await page.open(origin.url("/trap.html"))
        await until(page, "document.title === 'a trap'")
        for _ in range(TRIES):
            # Asking the page for something also takes in what it has reported meanwhile.
            await page.evaluate("1")
            if any("frame-ancestors" in error for error in page.errors):
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail(f"the frame was not refused: {page.errors}")
