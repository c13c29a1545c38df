"""The articles on the desk of a real service, after `warm` has read them."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import sys
from pathlib import Path
from urllib.parse import quote

import aiohttp
from desk import TOKEN, DeskVisitor
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.durable_tier import Originals

SETTINGS = {"server": {"admin_token": TOKEN}}
LINK = re.compile(r'href="(/desk/article\?name=[^"]+)"')


async def opened(http: aiohttp.ClientSession, service: Service) -> DeskVisitor:
    visitor = DeskVisitor(Client(http, service.base))
    await visitor.sign_in()
    await visitor.wait_for_catalogue()
    return visitor


async def test_article_names_its_missing_pictures_until_they_are_kept(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/chart.png", chart_png(200, 120))
    origin.serve("/late.png", b"gone", status=404)
    chart, late = origin.url("/chart.png"), origin.url("/late.png")
    (tmp_path / "posts").mkdir()
    (tmp_path / "posts" / "one.md").write_text(f"![]({chart})\n\n![]({late})\n")
    (tmp_path / "posts" / "two.md").write_text(f"![]({chart})\n")
    config = write_config(tmp_path, SETTINGS)
    command = [sys.executable, "-m", "proxy", "warm", str(tmp_path / "posts"), "--all-images"]
    quiet = asyncio.subprocess.DEVNULL
    warming = await asyncio.create_subprocess_exec(
        *command, "--config", str(config), stdout=quiet, stderr=quiet
    )
    assert await warming.wait() == 1, "one picture is dead"
    with Service(config) as service:
        owner = await opened(http, service)
        links = LINK.findall((await owner.open("/desk/articles")).body.decode())
        assert [link.rpartition("=")[2] for link in links] == ["one.md", "two.md"]
        await owner.followed(await owner.send("/desk/picture/refetch", {"source": late}))
        page = (await owner.open(links[0])).body.decode()
        assert "source_not_found" in page
        assert page.index(quote(late, safe="")) < page.index(quote(chart, safe="")), "missing ones come first"
        assert links[0] in (await owner.open(f"/desk/picture?source={quote(late, safe='')}")).body.decode()
        origin.serve("/late.png", chart_png(60, 40))
        await owner.followed(await owner.send("/desk/picture/refetch", {"source": late}))
        page = (await owner.open(links[0])).body.decode()
        assert "source_not_found" not in page
        assert page.count('class="thumb-box"') == 2


FORMULAS = (
    '=HYPERLINK("http://evil.example")',
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\n=1",
    "\uff1d1+1",
    "\uff0b1",
)


async def test_missing_pictures_are_listed_by_pages_and_exported_without_formulas(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Sixty missing pictures are two pages; the file has a line for each article that shows one."""
    origin.serve("/kept.png", chart_png(60, 40))
    sources = [f"http://127.0.0.1:1/{number:02}.png" for number in range(60)]
    config = write_config(tmp_path, SETTINGS)
    with Service(config) as service:
        kept = await Originals.open(tmp_path / "store", min_free_bytes=0, max_bytes=None)
        await kept.articles.record("one.md", [*sources, origin.url("/kept.png")])
        for name in FORMULAS:
            await kept.articles.record(name, sources[:1])
        await kept.close()
        owner = await opened(http, service)
        await owner.open("/desk/jobs")
        await owner.send("/desk/picture/refetch", {"source": origin.url("/kept.png")})
        await owner.send("/desk/picture/refetch", {"source": sources[0]})
        page = (await owner.open("/desk/missing")).body.decode()
        assert "source_unreachable" in page
        assert '<a href="/desk/missing?group=never_tried"' in page
        first = re.findall(r'<a class="break"[^>]* title="([^"]+)"', page)
        [further] = re.findall(r'href="([^"]+)" rel="next"', page)
        page = (await owner.open(further.replace("&amp;", "&"))).body.decode()
        second = re.findall(r'<a class="break"[^>]* title="([^"]+)"', page)
        assert (len(first), first + second) == (50, sources)
        only = (await owner.open("/desk/missing?q=/07.PNG")).body.decode()
        assert re.findall(r'<a class="break"[^>]* title="([^"]+)"', only) == [sources[7]]
        answer = await owner.open("/desk/missing.csv")
        assert answer.headers["Content-Type"].startswith("text/csv")
        table = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["source"] for row in table] == [sources[0]] * len(FORMULAS) + sources
    assert {row["article"] for row in table} == {"one.md", *(f"'{name}" for name in FORMULAS)}
    assert table[0]["code"] == "source_unreachable"


async def test_list_goes_on_by_pages_and_finds_names_of_any_bytes(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Sixty articles are two pages, each article once. A name may hold bytes that are not UTF-8."""
    names = [f"posts/{number:02}.md" for number in range(59)] + ["posts/\udcff<b>.md"]
    config = write_config(tmp_path, SETTINGS)
    with Service(config) as service:
        kept = await Originals.open(tmp_path / "store", min_free_bytes=0, max_bytes=None)
        for name in names:
            await kept.articles.record(name, ["http://127.0.0.1:1/a.png"])
        await kept.close()
        owner = await opened(http, service)
        target, seen = "/desk/articles", []
        while target:
            answer = await owner.open(target)
            assert answer.status == 200
            page = answer.body.decode()
            seen += LINK.findall(page)
            further = re.findall(r'href="([^"]+)" rel="next"', page)
            target = further[0].replace("&amp;", "&") if further else ""
        assert len(seen) == len(set(seen)) == 60
        assert (await owner.open("/desk/articles?q=POSTS/07")).body.decode().count("/desk/article?name=") == 1
        odd = await owner.open(seen[-1])
        assert odd.status == 200
        assert b"&lt;b&gt;" in odd.body
        assert (await owner.open(f"/desk/missing?article={seen[-1].rpartition('=')[2]}")).status == 200
        assert (await owner.open("/desk/article?name=nobody.md")).status == 404
        assert (await owner.open("/desk/article?name=%FF%00")).status == 404
        assert "Traceback" not in service.log()
