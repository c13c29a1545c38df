"""Wrong clocks, far ahead and then back: nothing is lost, nothing is fresh for years, and purges still hold."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from commands import invoke
from http_client import Client
from keeping import keep, make_entry
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

import proxy.app
from cache.durable_tier import Originals
from cache.sweep import sweep
from cache.variants.bounded_tier import Variants
from proxy.app import Engine, open_engine
from proxy.config.file import load
from proxy.errors import MirrorError
from proxy.source import Source

YEARS = 10 * 365 * 86400.0
PICTURE, OTHER = chart_png(40, 30, seed=1), chart_png(40, 30, seed=2)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setattr(proxy.app, "CHECK_SECONDS", 0.005)
    config = load(str(write_config(tmp_path, {"fetch": {"min_fresh": "1d"}})), {}).config
    async with open_engine(config, now=clock) as opened:
        yield opened


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for looks at the clock by itself
            await asyncio.sleep(0.005)


async def test_picture_that_came_in_the_future_is_asked_for_again_when_the_clock_is_right(
    engine: Engine, clock: Clock, origin: ScriptedOrigin
) -> None:
    """Memory and disk say that it is fresh until a day after that time. Neither is trusted, and nothing is lost."""
    origin.serve("/a.png", PICTURE)
    source, right = Source.parse(origin.url("/a.png")), clock.time
    clock.time = right + YEARS
    await engine.originals.obtain(source)
    assert (await engine.originals.obtain(source)).fresh_until > right + YEARS
    clock.time = right
    engine.memory.put("held", "something", size=1)
    await until(lambda: len(engine.memory) == 0)
    again = await engine.originals.obtain(source)
    assert len(origin.requests) == 2
    assert right < again.fresh_until <= right + 86400 + 60
    assert (await engine.originals.obtain(source)).entry.body_sha256 == hashlib.sha256(PICTURE).hexdigest()
    assert len(origin.requests) == 2
    kept = await engine.kept.get(source.url)
    assert kept
    assert kept.validated_at == right


async def test_picture_from_the_future_whose_origin_died_is_kept_and_answered(
    engine: Engine, clock: Clock, origin: ScriptedOrigin
) -> None:
    """The original is stale, not lost."""
    origin.serve("/a.png", PICTURE)
    source, right = Source.parse(origin.url("/a.png")), clock.time
    clock.time = right + YEARS
    await engine.originals.obtain(source)
    await origin.stop()
    clock.time = right
    engine.memory.put("held", "something", size=1)
    await until(lambda: len(engine.memory) == 0)
    answered = await engine.originals.obtain(source)
    assert answered.short
    assert await engine.kept.read_body(answered.entry.body_sha256) == PICTURE


async def test_failure_of_the_future_is_not_believed(
    engine: Engine, clock: Clock, origin: ScriptedOrigin
) -> None:
    """The wrong clock does not keep a circuit open for years either."""
    source, right = Source.parse(origin.url("/late.png")), clock.time
    clock.time = right + YEARS
    for _ in range(12):
        with pytest.raises(MirrorError):
            await engine.originals.obtain(source)
    clock.time = right
    origin.serve("/late.png", PICTURE)
    assert (await engine.originals.obtain(source)).entry.source == source.url


@pytest.mark.parametrize("seconds", [-YEARS, YEARS])
async def test_purge_and_block_hold_whatever_the_clock_does(
    engine: Engine, clock: Clock, origin: ScriptedOrigin, seconds: float
) -> None:
    """Generations do not depend on the time."""
    origin.serve("/a.png", PICTURE)
    origin.serve("/b.png", OTHER)
    purged, blocked = (Source.parse(origin.url(path)) for path in ("/a.png", "/b.png"))
    for source in (purged, blocked):
        await engine.originals.obtain(source)
    await engine.kept.purge(purged.url)
    await engine.kept.block(blocked.url, "a test")
    await engine.kept.purge(blocked.url)
    clock.time += seconds
    assert await engine.originals.peek(purged) is None
    with pytest.raises(MirrorError) as refused:
        await engine.originals.obtain(blocked)
    assert refused.value.code == "source_not_allowed"


async def test_store_written_under_wrong_clocks_is_sound(tmp_path: Path) -> None:
    """With times of all sizes in entries and blocks, verify, count, history and sweep work, and nothing kept is
    lost."""
    clock = Clock()
    store = await Originals.open(tmp_path / "store", now=clock)
    variants = await Variants.open(tmp_path / "store" / "variants", max_bytes=1 << 20, now=clock)
    for number, seconds in enumerate((0.0, YEARS, -YEARS, -5e9, 2.0**52)):
        url = f"http://h/{number}.png"
        clock.time = time.time() + seconds
        for body in (b"one", b"two"):
            async with store.receive() as incoming:
                await incoming.write(body)
                await incoming.finish()
                entry = make_entry(url, sha256=incoming.sha256, size=3)
                moments: dict[str, Any] = dict.fromkeys(
                    ("request_time", "response_time", "fetched_at", "validated_at"), clock.time
                )
                await store.commit(dataclasses.replace(entry, **moments), incoming)
        await store.block(f"http://blocked/{number}", "a test")
        await variants.put(url, b"variant", tag="tag")
        await sweep(store, variants, now=clock)
        entry_now = await store.get(url)
        assert entry_now
        assert [item.body_sha256 for item in entry_now.history] == [hashlib.sha256(b"one").hexdigest()]
        assert (await store.verify()).wrong == []
        assert await variants.get(url) == b"variant"
    stat = await store.stat()
    assert (stat.entries, stat.bodies) == (5, 2)
    await variants.close()
    await store.close()


async def test_service_finds_entries_of_the_future_asks_again_and_loses_none(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A real case: a machine whose clock was years ahead when it kept its pictures, restarted with the right time."""
    config = write_config(tmp_path, {"fetch": {"min_fresh": "1d"}})
    origin.serve("/lives.png", PICTURE)
    with Service(config) as service:
        client = Client(http, service.base)
        assert (await client.get(f"/?{origin.url('/lives.png')}")).status == 200
    store = await Originals.open(tmp_path / "store")
    dead = "http://127.0.0.1:1/dead.png"
    await keep(store, dead, OTHER)
    await store.close()
    for path in (tmp_path / "store" / "entries").glob("??/*.json"):
        known = json.loads(path.read_text())
        for name in ("request_time", "response_time", "fetched_at", "validated_at"):
            known[name] = time.time() + YEARS
        path.write_text(json.dumps(known))
    with Service(config) as service:
        client = Client(http, service.base)
        answer = await client.get(f"/?{origin.url('/lives.png')}")
        assert (answer.status, answer.body) == (200, PICTURE)
        assert len(origin.requests) == 2
        assert int(answer.headers["Cache-Control"].partition("max-age=")[2]) <= 86400
        answer = await client.get(f"/?{dead}")
        assert (answer.status, answer.body) == (200, OTHER)
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert (await client.get(f"/?{origin.url('/lives.png')}")).status == 200
        assert len(origin.requests) == 2, "what was asked for with the right time is fresh"
    assert await asyncio.to_thread(invoke, "store", "verify", config=config) == 0
