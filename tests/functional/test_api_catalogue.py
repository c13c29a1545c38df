"""The lists of the API over a real store: pictures, missing pictures and articles, in two workers."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from commands import markdown
from http_client import Answer, Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

TOKEN = "a token of the owner"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path, {"server": {"admin_token": TOKEN}})


@pytest.fixture
def service(config: Path) -> Iterator[Service]:
    """A service with a token and two workers, whose store is the test's own."""
    with Service(config, workers=2) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()


@pytest.fixture
async def client(http: aiohttp.ClientSession, service: Service) -> Client:
    """A client of the service. Without an index, the lists are unavailable, and there is nothing to test."""
    client = Client(http, service.base)
    answer = await client.get("/api/v1/summary", headers=BEARER)
    if (answer.status, answer.code) == (503, "queue_full"):
        pytest.skip("this service has no index (Context.catalogue)")
    return client


async def ask(client: Client, path: str, **query: Any) -> Answer:
    return await client.get(
        f"/api/v1{path}?{urlencode(query)}" if query else f"/api/v1{path}", headers=BEARER
    )


async def read(client: Client, path: str, **query: Any) -> Any:
    answer = await ask(client, path, **query)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def post(client: Client, path: str, **body: Any) -> Answer:
    headers = {**BEARER, "Content-Type": "application/json"}
    return await client.get(f"/api/v1{path}", method="POST", headers=headers, data=json.dumps(body))


async def until(client: Client, path: str, wanted: Callable[[Any], bool], **query: Any) -> Any:
    """Return a list once it shows what another process has changed, which takes a second or so."""
    async with asyncio.timeout(60):
        while True:
            found = await read(client, path, **query)
            if wanted(found):
                return found
            await asyncio.sleep(0.05)


async def warmed(config: Path, *sources: str) -> None:
    """Warm an article that shows sources, in a process of its own."""
    article = config.parent / "post.md"
    article.write_text(markdown(*sources))
    words = ("-m", "proxy", "warm", "--config", str(config), str(article))
    quiet = asyncio.subprocess.DEVNULL
    running = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=quiet, stderr=quiet)
    await running.wait()


async def test_pictures_are_listed_in_pages_without_a_gap(client: Client, origin: ScriptedOrigin) -> None:
    """Every kept picture is on exactly one page, in the order asked for, from any worker."""
    sources = [origin.url(f"/{number}.png") for number in range(7)]
    for number, source in enumerate(sources):
        origin.serve(f"/{number}.png", chart_png(20 + number, 10, seed=number))
        await client.get("/?" + source)
    await until(client, "/pictures", lambda found: found["total"] == 7)
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await read(client, "/pictures", limit=3, sort="source", descending="false", **after)
        seen += [item["source"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == sorted(sources)
    other = await ask(client, "/pictures", sort="size", **after)
    assert (other.status, other.code) == (400, "invalid_request")
    found = await read(client, "/pictures", text="/3.PNG")
    assert [item["source"] for item in found["items"]] == [sources[3]]
    assert (found["items"][0]["width"], found["items"][0]["state"]) == (23, "kept")


async def test_missing_picture_is_told_with_its_article_until_it_is_uploaded(
    client: Client, origin: ScriptedOrigin, config: Path
) -> None:
    """A dead picture is listed with its reason and its place, can be given up and hoped for, and goes when replaced."""
    origin.serve("/good.png", chart_png(30, 20))
    good, dead = origin.url("/good.png"), origin.url("/dead.png")
    await warmed(config, good, dead)
    found = await until(client, "/failures", lambda found: found["total"] == 1)
    item = found["items"][0]
    assert (item["source"], item["group"], item["code"], item["shown"]) == (
        dead,
        "gone",
        "source_not_found",
        1,
    )
    assert item["places"][0]["article"].endswith("post.md")
    table = await ask(client, "/failures.csv")
    rows = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert [(row["source"], row["group"]) for row in rows] == [(dead, "gone")]
    assert table.headers["Content-Type"].startswith("text/csv")
    assert (await post(client, "/failures/give-up", source=dead, note="=gone")).status == 200
    given = await until(client, "/failures", lambda found: found["total"] == 1, given_up="true")
    assert given["items"][0]["note"] == "=gone"
    assert (await post(client, "/failures/resume", sources=[dead])).status == 200
    await until(client, "/failures", lambda found: found["total"] == 0, given_up="true")
    article = (await until(client, "/articles", lambda found: found["total"] == 1))["items"][0]
    assert (article["pictures"], article["missing"]) == (2, 1)
    one = await read(client, "/article", name=article["name"])
    assert [row["source"] for row in one["pictures"]] == [good]
    assert [row["source"] for row in one["missing"]] == [dead]
    headers = {**BEARER, "Content-Type": "application/octet-stream"}
    path = f"/api/v1/picture/upload?{urlencode({'source': dead})}"
    assert (await client.get(path, method="POST", headers=headers, data=chart_png(9, 9))).status == 200
    await until(client, "/failures", lambda found: found["total"] == 0)
    by_hand = await until(client, "/pictures", lambda found: found["total"] == 1, provenance="by hand")
    assert by_hand["items"][0]["source"] == dead


async def test_summary_and_origins_count_what_is_kept(client: Client, origin: ScriptedOrigin) -> None:
    """The figures are those of the store, and the index says that it is current."""
    origin.serve("/a.png", chart_png(30, 20))
    await client.get("/?" + origin.url("/a.png"))
    found = await until(client, "/summary", lambda found: found["pictures"].get("kept") == 1)
    assert found["bytes"] == len(chart_png(30, 20))
    origins = (await until(client, "/origins", lambda found: bool(found["origins"])))["origins"]
    assert (origins[0]["origin"], origins[0]["pictures"]) == (origin.url(""), 1)


async def test_article_that_is_not_known_is_not_found(client: Client) -> None:
    """A name is compared as it was recorded."""
    answer = await ask(client, "/article", name="nobody.md")
    assert (answer.status, answer.code) == (404, "not_found")
