"""Hits from the variant store: true, whatever happens to the source or to the store's files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

NOTHING_IN_MEMORY = {"store": {"memory_max_bytes": 0}}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that holds no picture in memory."""
    with Service(write_config(tmp_path, NOTHING_IN_MEMORY)) as started:
        yield started


@pytest.fixture
def client(http: aiohttp.ClientSession, service: Service) -> Client:
    return Client(http, service.base)


@pytest.fixture
async def target(client: Client, origin: ScriptedOrigin) -> str:
    """A variant that was answered from the store more than once."""
    origin.serve("/p.png", chart_png(300, 200))
    target = "/image/width=250,format=png/" + origin.url("/p.png")
    for detail in ("uri-miss", "detail=store", "detail=store"):
        assert detail in (await client.get(target)).headers["Cache-Status"]
    return target


async def test_hit_from_the_store_answers_like_the_first(client: Client, target: str) -> None:
    """The same bytes and entity tag, to every kind of question."""
    first, second = await client.get(target), await client.get(target)
    assert first.status == 200
    assert first.body == second.body
    assert first.headers["ETag"] == second.headers["ETag"]
    assert first.headers["Content-Type"] == "image/png"
    same = {"If-None-Match": first.headers["ETag"]}
    assert (await client.get(target, headers=same)).status == 304
    head = await client.get(target, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(first.body))


async def test_purged_source_is_not_answered_from_the_store(
    client: Client, origin: ScriptedOrigin, target: str
) -> None:
    """The next request asks the origin again."""
    asked = origin.count("/p.png")
    purge = json.dumps({"source": origin.url("/p.png")}).encode()
    answer = await client.get(
        "/purge", method="POST", data=purge, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 200
    assert "fwd=uri-miss" in (await client.get(target)).headers["Cache-Status"]
    assert origin.count("/p.png") == asked + 1


@pytest.mark.parametrize("damage", ["deleted", "altered", "cut"])
async def test_file_that_went_bad_is_rendered_again(
    client: Client, service: Service, origin: ScriptedOrigin, target: str, tmp_path: Path, damage: str
) -> None:
    """Never other bytes than those that were stored; the origin is not asked for that."""
    good, asked = await client.get(target), origin.count("/p.png")
    folder = tmp_path / "store" / "variants"
    assert list(folder.rglob("*.val"))
    for path in folder.rglob("*.val"):
        if damage == "altered":
            path.write_bytes(b"?" * path.stat().st_size)
            os.utime(path, (1, 1))
        elif damage == "cut":
            os.truncate(path, 100)
    if damage == "deleted":
        shutil.rmtree(folder)
    renders = service.renders()
    again = await client.get(target)
    assert (again.status, again.body) == (200, good.body)
    assert service.renders() == renders + 1
    assert origin.count("/p.png") == asked
    assert "store" in (await client.get(target)).headers["Cache-Status"]
