"""The page of a warming in a real browser, from a file: on a phone and on a desk, light and dark, with and without
scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browser import Page, open_browser
from desk_browser import blemishes, photographed, until
from warm_report import NOW, report_of

from proxy.cli.output.warmpage import as_html

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

SIZES = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]
ROWS = "[...document.querySelectorAll('section[data-group] tbody tr')]"
SEEN = f"{ROWS}.filter(row => row.checkVisibility()).map(row => row.cells[0].textContent)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    report = report_of(tmp_path)
    path.write_text(as_html(report, made_at=datetime.fromtimestamp(NOW, UTC), folder=tmp_path))
    return path


@asynccontextmanager
async def shown(file: Path, *, width: int, scheme: str = "light") -> AsyncIterator[Page]:
    async with open_browser(width=width, height=900) as page:
        await page.call("Network.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await page.call("Emulation.setEmulatedMedia", features=features)
        await page.open(file.as_uri())
        yield page


async def typed(page: Page, text: str) -> None:
    await page.evaluate("document.querySelector('#search').select()")
    await page.call("Input.insertText", text=text)


async def chosen(page: Page, name: str, value: str) -> None:
    script = f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('change')) }})"
    await page.evaluate(f"{script}(document.querySelector('#{name}'))")


async def seen(page: Page) -> Any:
    return await page.evaluate(SEEN)


@pytest.mark.parametrize(("width", "scheme"), SIZES)
async def test_page_needs_no_network_and_has_no_blemish(
    file: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    """Nothing is asked for, no script of a stranger runs, axe-core finds nothing serious, and previews are pictures."""
    async with shown(file, width=width, scheme=scheme) as page:
        assert await blemishes(page, file.as_uri(), width=width) == []
        await page.evaluate("document.querySelector('details').open = true")
        assert await page.evaluate("[...document.images].map(i => i.naturalWidth > 0)") == [True]
        assert await blemishes(page, file.as_uri(), width=width) == []
        assert await page.evaluate("window.hacked === undefined")
        await photographed(page, tmp_path / f"report-{width}-{scheme}.png")


@pytest.mark.parametrize("width", [390, 1280])
async def test_search_and_group_show_only_what_matches(file: Path, width: int) -> None:
    async with shown(file, width=width) as page:
        assert len(await seen(page)) == 16
        await typed(page, "TIMEOUT 1.png")
        await until(page, "document.querySelector('#told').textContent === '1 of 18 rows'")
        assert await seen(page) == ["http://not-now.example/1.png"]
        await typed(page, "nowhere")
        await until(page, "!document.querySelector('#nothing').hidden")
        assert await blemishes(page, file.as_uri(), width=width) == []
        await typed(page, "png")
        await until(page, "document.querySelector('#nothing').hidden")
        await chosen(page, "group", "not_a_picture")
        assert await seen(page) == [f"http://not-a-picture.example/{n}.png" for n in range(3)]
        assert await blemishes(page, file.as_uri(), width=width) == []


async def test_search_finds_kept_pictures_and_opens_their_list(file: Path) -> None:
    async with shown(file, width=1280) as page:
        await typed(page, "kept.example/a")
        await until(page, "document.querySelector('details').open")
        assert await seen(page) == ["http://kept.example/a.png"]


async def test_columns_sort_by_their_headings_and_by_the_list(file: Path) -> None:
    """The heading says the direction, and every other group keeps its order."""
    heading = "document.querySelector('#gone thead button')"
    sorted_by = "document.querySelector('#gone th').getAttribute('aria-sort')"
    async with shown(file, width=1280) as page:
        await page.evaluate(f"{heading}.click()")
        assert await page.evaluate(sorted_by) == "ascending"
        await page.evaluate(f"{heading}.click()")
        assert await page.evaluate(sorted_by) == "descending"
        names = [f"http://gone.example/{number}.png" for number in (2, 1, 0)]
        assert (await seen(page))[:4] == [*names, "http://refused.example/0.png"]
        assert await blemishes(page, file.as_uri(), width=1280) == []
        await chosen(page, "order", "Tried")
        assert (await seen(page))[:3] == names[::-1]


async def test_keyboard_reaches_the_search_and_sorts(file: Path) -> None:
    async with shown(file, width=1280) as page:
        await page.evaluate("document.querySelector('#order').focus()")
        for key, code in (("Tab", 9), ("Enter", 13)):
            await page.call("Input.dispatchKeyEvent", type="rawKeyDown", key=key, windowsVirtualKeyCode=code)
            if key == "Enter":
                await page.call(
                    "Input.dispatchKeyEvent", type="char", text="\r", key=key, windowsVirtualKeyCode=code
                )
            await page.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        await until(page, "document.querySelector('#gone th').getAttribute('aria-sort') === 'ascending'")


@pytest.mark.parametrize("width", [390, 1280])
async def test_page_shows_every_row_in_its_group_without_scripts(file: Path, width: int) -> None:
    async with shown(file, width=width) as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.call("Page.navigate", url=file.as_uri() + "?again")
        await until(
            page, "document.querySelector('#kept') !== null && !document.querySelector('thead button')"
        )
        assert await page.evaluate("!document.querySelector('.tools').checkVisibility()", wait=False)
        assert len(await page.evaluate(SEEN, wait=False)) == 16
        titles = await page.evaluate(
            "[...document.querySelectorAll('h2')].map(h => h.textContent)", wait=False
        )
        assert [title.partition(" (")[0] for title in titles if "(3)" in title] == [
            "Gone", "Refused", "Not a picture", "Not now", "Not kept",
        ]  # fmt: skip


async def test_printed_page_is_a_table_without_tools_on_paper_as_narrow_as_a_phone(file: Path) -> None:
    """Ink on white also where the screen is dark."""
    async with shown(file, width=717, scheme="dark") as page:
        await page.call("Emulation.setEmulatedMedia", media="print")
        assert not await page.evaluate("document.querySelector('.tools').checkVisibility()")
        tops = "[...document.querySelectorAll('#gone tbody tr')[0].cells].map(c => c.getBoundingClientRect().top)"
        assert len(set(await page.evaluate(tops))) == 1
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
