"""The lists of articles and of missing pictures in the API of a running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.durable_tier import Originals

TOKEN = "a token of the owner"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NOBODY = "http://127.0.0.1:1"
NO_TEXT = b"caf\xe9.md".decode("utf-8", "surrogateescape")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Service(write_config(tmp_path, {"server": {"admin_token": TOKEN}}), workers=2) as found:
        yield found
        assert "Traceback" not in found.log(), found.log()


@pytest.fixture
async def owner(
    tmp_path: Path, http: aiohttp.ClientSession, service: Service, origin: ScriptedOrigin
) -> Client:
    """A client of a service that knows three articles and keeps one of their pictures."""
    origin.serve("/chart.png", chart_png(200, 120))
    kept = await Originals.open(tmp_path / "store", min_free_bytes=0, max_bytes=None)
    missing = [f"{NOBODY}/{number:02}.png" for number in range(60)]
    await kept.articles.record("one.md", [origin.url("/chart.png"), *missing], path="/blog/one.md")
    await kept.articles.record("two.md", missing[:1])
    await kept.articles.record(NO_TEXT, missing[:2])
    await kept.close()
    owner = Client(http, service.base)
    await whole(owner)
    await owner.get(f"/image/original/{origin.url('/chart.png')}")
    await owner.get(f"/image/original/{missing[0]}")
    return owner


async def whole(client: Client) -> None:
    """Wait until the catalogue of a service that has just started is whole."""
    deadline = asyncio.get_running_loop().time() + 30
    while (await read(client, "/overview"))["missing"] is None:
        assert asyncio.get_running_loop().time() < deadline, "no catalogue within 30 s"
        await asyncio.sleep(0.02)


async def read(client: Client, path: str, **query: Any) -> Any:
    answer = await client.get(f"/api/v1{path}?{urlencode(query)}", headers=BEARER)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def pages(client: Client, path: str, **query: Any) -> list[list[Any]]:
    found, after = [], ""
    while True:
        page = await read(client, path, **query, **({"after": after} if after else {}))
        found.append(page["items"])
        if page["next"] is None:
            return found
        after = page["next"]


async def test_missing_pictures_name_their_failure_and_who_shows_them(owner: Client) -> None:
    """Pages of 25 hold every missing picture once, in the order of their addresses, and no kept one."""
    found = await pages(owner, "/missing")
    sources = [item["source"] for page in found for item in page]
    assert sources == [f"{NOBODY}/{number:02}.png" for number in range(60)]
    assert [len(page) for page in found] == [25, 25, 10]
    first, third = found[0][0], found[0][2]
    assert first["failure"]["code"] == "source_unreachable"
    assert (first["tries"], first["last_tried"] is not None) == (1, True)
    assert first["articles"] == [
        {"name": name, "lines": []} for name in sorted(["one.md", "two.md", NO_TEXT])
    ]
    assert (third["failure"], third["tries"], third["last_tried"]) == (None, 0, None)
    assert (first["group"], third["group"]) == ("not_now", "never_tried")
    assert [len(page) for page in await pages(owner, "/missing", text="/3")] == [10]


async def test_articles_are_listed_with_what_they_show(owner: Client, origin: ScriptedOrigin) -> None:
    """Counts and bytes are those of the kept originals; an article is found by its name."""
    found = await read(owner, "/articles", text="ONE")
    assert found["total"] == 1
    (item,) = found["items"]
    assert (item["name"], item["path"], item["pictures"], item["missing"]) == (
        "one.md",
        "/blog/one.md",
        61,
        60,
    )
    shown = await read(owner, "/article", name="one.md")
    assert shown["article"] == item
    (picture,) = shown["pictures"]
    expected = {"source": origin.url("/chart.png"), "media_type": "image/png", "bytes": item["bytes"]}
    assert {name: picture[name] for name in expected} == expected
    assert shown["weight"]["original_bytes"] == item["bytes"]
    assert (shown["weight"]["rendered"], shown["weight"]["not_rendered"]) == (0, 1)
    assert len(shown["missing"]) == 60


async def test_article_weighs_what_visitors_load(owner: Client, origin: ScriptedOrigin) -> None:
    """The lightest format stored of its heaviest address counts. The thumbnails of the desk do not."""
    source = origin.url("/chart.png")
    await owner.get(f"/image/thumbnail/{source}")
    bodies = [
        (await owner.get(f"/image/content/{source}", headers={"Accept": accept})).body
        for accept in ("image/png", "image/webp", "image/avif")
    ]
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        weight = (await read(owner, "/article", name="one.md"))["weight"]
        stored = (await read(owner, "/picture/variants", source=source))["variants"]
        if {"png", "webp", "avif"} <= {item["format"] for item in stored if item["options"] == "content"}:
            break
        assert asyncio.get_running_loop().time() < deadline, stored
    weight = (await read(owner, "/article", name="one.md"))["weight"]
    assert (weight["rendered"], weight["not_rendered"]) == (1, 0)
    lightest = min(item["bytes"] for item in stored if item["options"] == "content")
    assert weight["rendered_bytes"] == lightest
    assert lightest in {len(body) for body in bodies}


async def test_pages_of_articles_go_on_behind_a_name_that_is_no_text(owner: Client) -> None:
    """Names of files may hold any bytes; the cursor is ASCII."""
    found = await pages(owner, "/articles", limit=1)
    assert [item["name"] for page in found for item in page] == sorted(["one.md", "two.md", NO_TEXT])


async def test_article_that_nobody_knows_is_not_found(owner: Client) -> None:
    """So is one whose name was misspelt."""
    answer = await owner.get("/api/v1/article?name=One.md", headers=BEARER)
    assert (answer.status, answer.code) == (404, "not_found")


async def test_pages_that_cannot_be_are_refused(owner: Client) -> None:
    """A page has 1 to 100 items."""
    for query in ("limit=0", "limit=101", "limit=x", "offset=3", "text=a&text=b"):
        answer = await owner.get(f"/api/v1/missing?{query}", headers=BEARER)
        assert (answer.status, answer.code) == (400, "invalid_request"), query
