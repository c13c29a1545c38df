"""Recovery beside kept pictures: repair, placeholders and history treat copies from archives as copies."""

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
from keeping import files_below
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from scripted_wayback import ScriptedWayback
from service import Service, write_config

from cache.base.entry import Entry
from cache.base.errors import Superseded
from cache.durable_tier import Originals

OLD, NEW, FORBIDDEN = chart_png(60, 40), chart_png(90, 70), chart_png(80, 20)
DAY = "20150101000000"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def config(tmp_path: Path, wayback: ScriptedWayback) -> Path:
    """Every request asks the origin again; dead sources are looked up."""
    return write_config(tmp_path, {"fetch": {"wayback": wayback.url(""), "min_fresh": 0}})


def entry_of(config: Path, url: str) -> Entry:
    found = (Entry.from_json(path.read_bytes()) for path in files_below(config.parent / "store" / "entries"))
    return next(entry for entry in found if entry.source == url)


def body_file(config: Path, body: bytes) -> Path:
    name = digest(body)
    return config.parent / "store" / "bodies" / name[:2] / name


async def repaired(config: Path, capsys: pytest.CaptureFixture[str], *, code: int) -> dict[str, Any]:
    capsys.readouterr()
    assert await asyncio.to_thread(invoke, "store", "verify", "--repair", "--json", config=config) == code
    return dict(json.loads(capsys.readouterr().out)["repair"])


async def kept_once(http: aiohttp.ClientSession, config: Path, *urls: str) -> None:
    with Service(config) as service:
        for url in urls:
            assert (await Client(http, service.base).get("/?" + url)).status == 200


# Repair


async def test_repair_takes_the_lost_bytes_from_the_archive_when_the_origin_is_dead(
    config: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    wayback: ScriptedWayback,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bytes are the same, so the origin's statements still apply, and they do not count as a copy."""
    url = origin.url("/x.png")
    origin.serve("/x.png", OLD, etag='"of-the-origin"')
    await kept_once(http, config, url)
    before = entry_of(config, url)
    origin.forget("/x.png")
    wayback.capture(url, DAY, OLD)
    body_file(config, OLD).write_bytes(OLD[:-1] + b"?")
    report = await repaired(config, capsys, code=0)
    assert (report["repaired"], report["left"]) == ([url], [])
    assert report["recovered"] == {url: wayback.url(f"/web/{DAY}id_/{url}")}
    assert entry_of(config, url) == before
    assert body_file(config, OLD).read_bytes() == OLD


async def test_repair_with_another_picture_of_the_archive_says_that_the_kept_one_is_lost(
    config: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    wayback: ScriptedWayback,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = origin.url("/x.png")
    origin.serve("/x.png", OLD)
    await kept_once(http, config, url)
    origin.forget("/x.png")
    wayback.capture(url, DAY, NEW)
    body_file(config, OLD).unlink()
    report = await repaired(config, capsys, code=1)
    assert [item["kind"] for item in report["left"]] == ["body_missing"]
    entry = entry_of(config, url)
    assert (entry.body_sha256, entry.recovered is not None) == (digest(NEW), True)
    assert [item.body_sha256 for item in entry.history] == [digest(OLD)]


async def test_repair_never_takes_a_placeholder_that_was_set_aside(
    tmp_path: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The good bytes are gone from the disk, and the origin still sends those that were refused."""
    config = write_config(tmp_path, {"fetch": {"min_fresh": 0, "stable_after": 0}})
    url = origin.url("/x.png")
    with Service(config) as service:
        client = Client(http, service.base)
        origin.serve("/x.png", OLD)
        await client.get("/?" + url)
        origin.serve("/x.png", FORBIDDEN)
        assert (await client.get("/?" + url)).body == OLD
    body_file(config, OLD).unlink()
    report = await repaired(config, capsys, code=1)
    assert report["failed"] == {url: "source_refused"}
    assert entry_of(config, url).body_sha256 == digest(OLD)
    origin.serve("/x.png", OLD)
    assert (await repaired(config, capsys, code=0))["repaired"] == [url]
    assert body_file(config, OLD).read_bytes() == OLD


async def test_repair_keeps_when_the_bytes_first_came(
    config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, capsys: pytest.CaptureFixture[str]
) -> None:
    url = origin.url("/x.png")
    origin.serve("/x.png", OLD)
    await kept_once(http, config, url)
    first = entry_of(config, url).fetched_at
    body_file(config, OLD).unlink()
    await repaired(config, capsys, code=0)
    assert entry_of(config, url).fetched_at == first


async def test_lost_body_of_a_dead_origin_is_not_asked_for_by_every_visitor(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    config, url = write_config(tmp_path), origin.url("/x.png")
    origin.serve("/x.png", OLD)
    await kept_once(http, config, url)
    origin.forget("/x.png")
    body_file(config, OLD).unlink()
    with Service(config) as service:
        for _ in range(5):
            answer = await Client(http, service.base).get("/?" + url)
            assert (answer.status, answer.code) == (404, "source_not_found")
    assert origin.count() == 3


# Copies and what the origin gives


async def test_copy_that_comes_late_does_not_displace_what_another_process_kept(
    config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, wayback: ScriptedWayback
) -> None:
    """In the store: the recovery began when nothing was kept."""
    url = origin.url("/x.png")
    origin.serve("/x.png", OLD)
    await kept_once(http, config, url)
    before = entry_of(config, url)
    store = await Originals.open(config.parent / "store")
    try:
        for body, refused in ((NEW, True), (OLD, False)):
            async with store.receive() as incoming:
                await incoming.write(body)
                await incoming.finish()
                copy = Entry.from_json(
                    before.to_json().replace(b'"recovered": null', b'"recovered": {"from": "x"}')
                )
                text = copy.to_json().replace(digest(OLD).encode(), digest(body).encode())
                text = text.replace(b'"body_size": %d' % len(OLD), b'"body_size": %d' % len(body))
                if refused:
                    with pytest.raises(Superseded):
                        await store.commit(Entry.from_json(text), incoming)
                else:
                    await store.commit(Entry.from_json(text), incoming)
            assert await store.get(url) == before
    finally:
        await store.close()


async def test_origin_that_comes_back_makes_the_copy_history_with_its_provenance(
    config: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    wayback: ScriptedWayback,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = origin.url("/x.png")
    wayback.capture(url, DAY, OLD)
    with Service(config) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + url)).body == OLD
        origin.serve("/x.png", NEW)
        assert (await client.get("/?" + url)).body == NEW
        explained = json.loads((await client.get("/explain/?" + url)).body)["original"]
        copy = {"from": "wayback", "url": wayback.url(f"/web/{DAY}id_/{url}"), "captured_at": 1420070400.0}
        assert (explained["recovered"], [item["recovered"] for item in explained["history"]]) == (
            None,
            [copy],
        )
        words = ("store", "accept", "--source", url, "--version", digest(OLD))
        assert await asyncio.to_thread(invoke, *words, config=config) == 0
        entry = entry_of(config, url)
        assert (entry.recovered, entry.final_url) == (copy, copy["url"])
        words = ("store", "accept", "--source", url, "--version", digest(NEW))
        assert await asyncio.to_thread(invoke, *words, config=config) == 0
        entry = entry_of(config, url)
        assert (entry.recovered, entry.final_url) == (None, url)


async def forbidden_everywhere(client: Client, origin: ScriptedOrigin) -> None:
    """An origin whose pictures were kept begins to give one placeholder in place of all of them."""
    for number in range(3):
        origin.serve(f"/{number}.png", chart_png(50, 50, seed=number))
        await client.get("/?" + origin.url(f"/{number}.png"))
    for number in range(3):
        origin.serve(f"/{number}.png", FORBIDDEN)
        await client.get("/?" + origin.url(f"/{number}.png"))


async def test_known_placeholder_is_not_kept_as_the_picture_of_a_new_source(
    config: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    url = origin.url("/new.png")
    with Service(config) as service:
        client = Client(http, service.base)
        await forbidden_everywhere(client, origin)
        origin.serve("/new.png", FORBIDDEN)
        answer = await client.get("/?" + url)
        assert (answer.status, answer.code) == (502, "source_refused")
        origin.serve("/new.png", NEW)
        assert (await client.get("/?" + url)).body == NEW


async def test_picture_behind_a_known_placeholder_is_recovered_and_stays(
    config: Path,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    wayback: ScriptedWayback,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The archive was given the placeholder too, later on; a refresh that meets it does not displace the copy."""
    url = origin.url("/new.png")
    wayback.has_availability = False
    wayback.capture(url, DAY, OLD)
    wayback.capture(url, "20200101000000", FORBIDDEN)
    with Service(config) as service:
        client = Client(http, service.base)
        await forbidden_everywhere(client, origin)
        origin.serve("/new.png", FORBIDDEN)
        for _ in range(3):
            assert (await client.get("/?" + url)).body == OLD
        entry = entry_of(config, url)
        assert entry.recovered is not None
        assert entry.recovered["url"] == wayback.url(f"/web/{DAY}id_/{url}")
        assert [(item.body_sha256, item.note) for item in entry.history] == [
            (digest(FORBIDDEN), "placeholder")
        ]
    capsys.readouterr()
    assert await asyncio.to_thread(invoke, "store", "verify", "--json", config=config) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["wrong"], report["notes"]) == ([], []), "every file that all of this made is known"
