"""Changed originals: the older bytes stay as history, placeholders are set aside, the operator has the last word."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import invoke
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

OLD, NEW = chart_png(60, 40, seed=1), chart_png(60, 40, seed=2)
FORBIDDEN = chart_png(90, 30, seed=9)


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def strict(folder: Path, **fetch: Any) -> Path:
    """Every request asks the origin again."""
    return write_config(folder, {"fetch": {"min_fresh": 0, **fetch}})


async def store(*words: str | Path, config: Path) -> int:
    return await asyncio.to_thread(invoke, "store", *words, config=config)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


async def test_older_version_is_served_by_its_digest_until_it_is_purged(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    config, source = strict(tmp_path), origin.url("/a.png")
    target = f"/image/original@{digest(OLD)}/{source}"
    with Service(config) as service:
        client = Client(http, service.base)
        origin.serve("/a.png", OLD)
        await client.get("/?" + source)
        origin.serve("/a.png", NEW)
        assert (await client.get("/?" + source)).body == NEW
        asked = origin.count()
        for body in (OLD, NEW):
            answer = await client.get(f"/image/original@{digest(body)}/{source}")
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers["ETag"] == f'"{digest(body)[:32]}"'
        part = await client.get(target, headers={"Range": "bytes=0-7"})
        assert (part.status, part.body) == (206, OLD[:8])
        assert origin.count() == asked
        explained = json.loads((await client.get("/explain" + target)).body)
        assert explained["original"]["history"][0]["address"] == target
        assert await store("show", "--source", source, "--json", config=config) == 0
        versions = told(capsys)["entry"]["versions"]
        assert [item["body_sha256"] for item in versions] == [digest(NEW), digest(OLD)]
        words = ("purge", "--history", "--keep", "0", "--source", source, "--json")
        assert await store(*words, "--dry-run", config=config) == 0
        assert told(capsys)["freed_bytes"] == len(OLD)
        assert (await client.get(target)).status == 200
        assert await store(*words, config=config) == 0
        assert told(capsys)["versions"] == 1
        gone = await client.get(target)
        assert (gone.status, gone.code) == (404, "not_found")
        assert (await client.get("/?" + source)).body == NEW
    assert await store("verify", config=config) == 0


@pytest.mark.parametrize("digits", ["abc", "A" * 64, "0" * 63, "", "0" * 64 + ",width=9"])
async def test_version_that_cannot_be_read_is_refused(client: Client, digits: str) -> None:
    answer = await client.get(f"/image/original@{digits}/http://h.example/a.png")
    assert (answer.status, answer.code) == (400, "invalid_transform")


async def test_version_that_never_was_is_not_found_and_not_fetched(
    client: Client, origin: ScriptedOrigin
) -> None:
    answer = await client.get(f"/image/original@{'0' * 64}/{origin.url('/a.png')}")
    assert (answer.status, answer.code) == (404, "not_found")
    assert origin.count() == 0


async def test_picture_of_another_size_on_a_stable_address_is_set_aside_until_it_is_accepted(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    config, source = strict(tmp_path, stable_after=0), origin.url("/a.png")
    with Service(config) as service:
        client = Client(http, service.base)
        origin.serve("/a.png", OLD)
        await client.get("/?" + source)
        origin.serve("/a.png", FORBIDDEN)
        answer = await client.get("/?" + source)
        assert (answer.status, answer.body) == (200, OLD)
        assert answer.cache_status == "imgmirror; fwd=stale; fwd-status=200; detail=source_refused"
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert service.metrics()['imgmirror_set_aside_total{reason="another_size"}'] == 1
        aside = await client.get(f"/image/original@{digest(FORBIDDEN)}/{source}")
        assert aside.body == FORBIDDEN
        assert await store("stat", "--json", config=config) == 0
        assert told(capsys)["set_aside"] == 1
        assert await store("accept", "--source", source, "--json", config=config) == 0
        assert told(capsys)["sha256"] == digest(FORBIDDEN)
        assert (await client.get("/?" + source)).body == FORBIDDEN
        assert await store("accept", "--source", source, config=config) == 1
        # Back again, and for good: the origin goes on giving what was turned down.
        assert await store("accept", "--source", source, "--version", digest(OLD), config=config) == 0
        assert (await client.get("/image/original/" + source)).body == OLD
    with Service(config) as service:
        assert (await Client(http, service.base).get("/?" + source)).body == OLD
    assert await store("verify", config=config) == 0


async def test_same_bytes_in_place_of_different_pictures_are_a_placeholder(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """The first two changes are believed. The third one reveals the placeholder, and all three pictures are
    restored."""
    config = strict(tmp_path)
    pictures = {f"/{number}.png": chart_png(50, 50, seed=number) for number in range(4)}
    with Service(config) as service:
        client = Client(http, service.base)
        for path, body in pictures.items():
            origin.serve(path, body)
            await client.get("/?" + origin.url(path))
        for path in pictures:
            origin.serve(path, FORBIDDEN)
        served = [(await client.get("/?" + origin.url(path))).body for path in pictures]
        assert served == [FORBIDDEN, FORBIDDEN, pictures["/2.png"], pictures["/3.png"]]
        served = [(await client.get("/?" + origin.url(path))).body for path in pictures]
        assert served == list(pictures.values())
        assert service.metrics()['imgmirror_set_aside_total{reason="placeholder"}'] >= 2
    assert await store("verify", config=config) == 0


async def test_picture_with_several_addresses_may_change_under_all_of_them(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A logo with version numbers in its query is not a placeholder: it replaces the same picture everywhere."""
    with Service(strict(tmp_path)) as service:
        client = Client(http, service.base)
        for body in (OLD, NEW):
            origin.serve("/logo.png", body)
            for number in range(5):
                assert (await client.get("/?" + origin.url(f"/logo.png?v={number}"))).body == body


async def test_purge_by_date_deletes_what_came_then(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    config, source = strict(tmp_path), origin.url("/a.png")
    origin.serve("/a.png", OLD)
    with Service(config) as service:
        client = Client(http, service.base)
        await client.get("/?" + source)

        async def purged(**asked: Any) -> object:
            answer = await client.get("/purge", method="POST", data=json.dumps(asked))
            assert answer.status == 200, answer.body
            return json.loads(answer.body)["purged"]

        assert await purged(before="2020-01-01") == []
        assert await purged(since="2020-01-01", before="2020-02-01", origin=origin.url("")) == []
        assert await purged(since="2020-01-01", dry_run=True) == [source]
        assert await purged(since="2020-01-01", source=source) == [source]
        assert await purged(since="2020-01-01") == []


async def test_scrub_of_a_running_service_finds_a_changed_body(
    own_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """It is found at the next start, shown by readiness and metrics, and no longer shown once the body is repaired."""
    origin.serve("/a.png", OLD)
    with Service(own_config) as service:
        await Client(http, service.base).get("/?" + origin.url("/a.png"))
    (body,) = [path for path in (own_config.parent / "store" / "bodies").rglob("*") if path.is_file()]
    body.write_bytes(OLD[:-1] + b"?")
    (own_config.parent / "store" / "scrub").unlink(missing_ok=True)
    with Service(own_config, workers=2) as service:
        client = Client(http, service.base)

        async def ready() -> dict[str, object]:
            found = json.loads((await client.get("/readyz")).body)
            assert isinstance(found, dict)
            return found

        await asyncio.to_thread(wait_until, lambda: service.metrics().get("imgmirror_scrub_damaged") == 1.0)
        found = await ready()
        assert (found["status"], found["scrub_damaged"]) == ("degraded", 1)
        await asyncio.to_thread(
            wait_until, lambda: service.metrics()["imgmirror_scrub_finished_timestamp_seconds"] > 0
        )
        assert service.metrics()["imgmirror_scrub_bytes_total"] == len(OLD)
        body.write_bytes(OLD)
        assert (await ready())["status"] == "ok"
