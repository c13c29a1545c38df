"""A kept original wins: whatever its origin does later, and after restarts and wiped variants."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin, cut_short, reset
from service import Service, wait_until, write_config

LATER = {
    "404": lambda origin, path: origin.serve(path, b"gone", status=404),
    "410": lambda origin, path: origin.serve(path, b"gone", status=410),
    "403": lambda origin, path: origin.serve(path, b"no", status=403),
    "500": lambda origin, path: origin.serve(path, b"oops", status=500),
    "html": lambda origin, path: origin.serve(path, b"<!doctype html><p>parked", content_type="text/html"),
    "empty": lambda origin, path: origin.serve(path, b""),
    "cut": lambda origin, path: origin.script(path, cut_short(b"\x89PNG", declared=900)),
    "reset": lambda origin, path: origin.script(path, reset()),
}


@pytest.fixture
def strict_config(tmp_path: Path) -> Path:
    """Every request asks the origin again, so that every failure is met."""
    return write_config(tmp_path, {"fetch": {"min_fresh": 0}})


@pytest.mark.parametrize("later", LATER)
async def test_kept_original_answers_whatever_its_origin_answers_later(
    strict_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, later: str
) -> None:
    body = chart_png(60, 40)
    origin.serve("/kept.png", body)
    with Service(strict_config) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + origin.url("/kept.png"))).status == 200
        LATER[later](origin, "/kept.png")
        answer = await client.get("/?" + origin.url("/kept.png"))
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert "fwd=stale" in answer.cache_status
        assert "detail=" in answer.cache_status
        variant = await client.get("/image/width=30/" + origin.url("/kept.png"))
        assert variant.status == 200


@pytest.mark.parametrize("earlier", ["html", "empty"])
async def test_variant_that_failed_before_its_original_was_kept_is_made_once_it_is(
    client: Client, origin: ScriptedOrigin, earlier: str
) -> None:
    target = "/image/width=30/" + origin.url("/late.png")
    LATER[earlier](origin, "/late.png")
    assert (await client.get(target)).code == "not_an_image"
    origin.serve("/late.png", chart_png(60, 40))
    assert (await client.get("/?" + origin.url("/late.png"))).status == 200
    assert (await client.get(target)).status == 200


async def test_dead_origin_wiped_variants_and_restart_leave_every_picture(
    own_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    bodies = {f"/{n}.jpg": photo_jpeg(300 + n, 200) for n in range(5)}
    for path, body in bodies.items():
        origin.serve(path, body, content_type="image/jpeg")
    targets = [
        form + origin.url(path) for path in bodies for form in ("/?", "/image/thumbnail/", "/image/headimg/")
    ]
    service = Service(own_config)
    with service:
        client = Client(http, service.base)
        first = [await client.get(target) for target in targets]
    await origin.stop()
    shutil.rmtree(own_config.parent / "store" / "variants")
    with service:
        client = Client(http, service.base)
        again = [await client.get(target) for target in targets]
    assert [answer.status for answer in again] == [200] * len(targets)
    assert [answer.body for answer in again] == [answer.body for answer in first]


async def test_variants_wiped_while_serving_are_rebuilt(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    config = write_config(tmp_path, {"store": {"memory_max_bytes": 0}})
    origin.serve("/w.png", chart_png(90, 60))
    with Service(config) as service:
        client = Client(http, service.base)
        target = "/image/width=45/" + origin.url("/w.png")
        first = await client.get(target)
        shutil.rmtree(tmp_path / "store" / "variants")
        for _ in range(3):
            assert (await client.get(target)).body == first.body
        assert "detail=store" in (await client.get(target)).cache_status
        assert origin.count() == 1


async def test_revalidation_by_etag_keeps_the_body(
    strict_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/e.png", chart_png(50, 50), etag='"one"')
    with Service(strict_config) as service:
        client = Client(http, service.base)
        await client.get("/?" + origin.url("/e.png"))
        answer = await client.get("/?" + origin.url("/e.png"))
        assert (
            answer.cache_status == "imgmirror; fwd=stale; fwd-status=304; stored"
            or answer.cache_status.startswith("imgmirror; fwd=stale; fwd-status=304")
        )
        assert origin.requests[-1].header("If-None-Match") == '"one"'
        assert answer.body == chart_png(50, 50)


async def test_changed_original_is_served_at_once_and_the_older_body_stays(
    strict_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    old, new = chart_png(64, 64, seed=1), chart_png(80, 40, seed=2)
    origin.serve("/ch.png", old, etag='"1"')
    target = "/image/width=32/" + origin.url("/ch.png")
    with Service(strict_config) as service:
        client = Client(http, service.base)
        before = await client.get(target)
        origin.serve("/ch.png", new, etag='"2"')
        after = await client.get(target)
        assert after.body != before.body
        assert (await client.get("/?" + origin.url("/ch.png"))).body == new
    bodies = [path for path in (strict_config.parent / "store" / "bodies").rglob("*") if path.is_file()]
    assert len(bodies) == 2


async def test_same_bytes_under_two_sources_are_stored_once(
    own_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    for path in ("/one.png", "/two.png"):
        origin.serve(path, chart_png(40, 40))
    with Service(own_config) as service:
        client = Client(http, service.base)
        for path in ("/one.png", "/two.png"):
            assert (await client.get("/?" + origin.url(path))).status == 200
    store = own_config.parent / "store"
    assert len([path for path in (store / "bodies").rglob("*") if path.is_file()]) == 1
    entries = [json.loads(path.read_text()) for path in (store / "entries").rglob("*.json")]
    assert {entry["source"] for entry in entries} == {origin.url("/one.png"), origin.url("/two.png")}


async def test_full_store_serves_what_it_cannot_keep(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Nothing is deleted for room: a new source is fetched, served, not kept, and readyz says so."""
    config = write_config(tmp_path, {"store": {"originals_max_bytes": "1 kB"}})
    body = photo_jpeg(200, 150)
    origin.serve("/full.jpg", body, content_type="image/jpeg")
    with Service(config) as service:
        client = Client(http, service.base)
        answer = await client.get("/?" + origin.url("/full.jpg"))
        assert (answer.status, answer.body) == (200, body)
        assert "stored" not in answer.cache_status
        assert "not_kept" in answer.cache_status
        variant = await client.get("/image/width=100/" + origin.url("/full.jpg"))
        assert variant.status == 200
        ready = await client.get("/readyz")
        assert ready.status == 200
        assert json.loads(ready.body)["status"] in {"ok", "degraded"}
        assert service.metrics()["imgmirror_not_kept_total"] >= 1
    assert not list((tmp_path / "store" / "entries").rglob("*.json"))


async def test_body_deleted_by_hand_is_fetched_again(
    own_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    body = chart_png(70, 70)
    origin.serve("/hand.png", body)
    with Service(own_config) as service:
        client = Client(http, service.base)
        await client.get("/image/width=20/" + origin.url("/hand.png"))
        for path in (own_config.parent / "store" / "bodies").rglob("*"):
            if path.is_file():
                path.unlink()
        assert (await client.get("/image/width=25/" + origin.url("/hand.png"))).status == 200
        assert (await client.get("/?" + origin.url("/hand.png"))).body == body


async def test_shutdown_finishes_what_has_begun(
    own_config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    release = asyncio.Event()
    body = chart_png(50, 30)

    async def slow(_request: object, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    origin.script("/slow.png", slow)
    service = Service(own_config)
    service.start()
    client = Client(http, service.base)
    pending = asyncio.create_task(client.get("/?" + origin.url("/slow.png")))
    await asyncio.to_thread(wait_until, origin.count)
    stopping = asyncio.create_task(asyncio.to_thread(service.stop))
    await asyncio.sleep(0.2)
    release.set()
    answer = await pending
    assert (answer.status, answer.body) == (200, body)
    assert await stopping == 0
