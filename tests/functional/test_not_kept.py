"""Originals that the disk does not take: answered from memory for a minute, then asked for again and kept."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from faulty_service import give_orders, held_entries
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.base import durable
from proxy.app import Engine, open_engine
from proxy.config.file import load
from proxy.errors import QueueFull
from proxy.images.transforms.transform import Transform
from proxy.services.serving.values import SHORT_SECONDS, PictureOrder
from proxy.source import Source

PICTURE, OTHER = chart_png(60, 40, seed=1), chart_png(60, 40, seed=2)
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
FAULTY = str(Path(__file__).parent.parent / "lib" / "faulty_service.py")


class Clock:
    """A clock that a test puts where it likes."""

    def __init__(self) -> None:
        self.time = time.time()

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def engine(tmp_path: Path, clock: Clock) -> AsyncIterator[Engine]:
    async with open_engine(load(str(write_config(tmp_path)), {}).config, now=clock) as opened:
        yield opened


@contextmanager
def broken_disk(code: int, step: str = "fsync") -> Iterator[None]:
    """Fail every fsync, or every rename, of the store with an error number."""

    def fail(*_arguments: object, **_named: Any) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.MonkeyPatch.context() as patch:
        if step == "fsync":
            patch.setattr("cache.base.durable.os.fsync", fail)
        else:
            patch.setattr(Path, "replace", fail)
        yield


def asked(origin: ScriptedOrigin, path: str, width: int = 20) -> PictureOrder:
    """Return a variant to be asked for."""
    return PictureOrder(
        Source.parse(origin.url(path)), Transform.parse(f"width={width}").resolved({}), ("png",)
    )


@pytest.mark.parametrize(
    ("code", "step"), [(errno.EIO, "fsync"), (errno.ENOSPC, "rename"), (errno.EROFS, "rename")]
)
async def test_original_that_was_not_kept_is_kept_after_a_minute_with_one_304(
    engine: Engine, clock: Clock, origin: ScriptedOrigin, code: int, step: str
) -> None:
    """It is fresh for a minute at most; then its validators are sent, and a 304 puts the bytes on the disk."""
    origin.serve("/p.png", PICTURE, etag='"one"', headers={"Cache-Control": "max-age=9999"})
    source = Source.parse(origin.url("/p.png"))
    with broken_disk(code, step):
        first = await engine.originals.obtain(source)
    assert (first.state.detail, first.short, first.body) == ("not_kept", True, PICTURE)
    assert first.fresh_until <= clock() + SHORT_SECONDS
    again = await engine.originals.obtain(source)
    assert (again.state.forward, again.state.detail, again.body) == ("", "not_kept", PICTURE)
    assert origin.count("/p.png") == 1
    clock.time += SHORT_SECONDS + 1
    healed = await engine.originals.obtain(source)
    assert [request.header("if-none-match") for request in origin.requests] == [None, '"one"']
    assert (healed.state.forward_status, healed.state.stored, healed.short) == (304, True, False)
    assert healed.fresh_until > clock() + 3600
    assert await engine.kept.read_body(healed.entry.body_sha256) == PICTURE
    assert (await engine.kept.verify()).wrong == []


async def test_304_for_which_there_is_no_room_fails_as_overload_and_the_next_one_is_kept(
    engine: Engine, clock: Clock, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the store nor the temporary folder accepts the bytes: the answer is 503, never `internal`, and nothing is
    lost."""
    origin.serve("/p.png", PICTURE, etag='"one"')
    source = Source.parse(origin.url("/p.png"))
    with broken_disk(errno.EIO):
        await engine.originals.obtain(source)
    clock.time += SHORT_SECONDS + 1

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr("cache.originals.incoming.write_all", refuse)
        full.setattr("cache.originals.incoming.Incoming._append", refuse)
        with pytest.raises(QueueFull):
            await engine.originals.obtain(source)
    healed = await engine.originals.obtain(source)
    assert (healed.state.forward_status, healed.state.stored) == (304, True)
    assert await engine.kept.read_body(healed.entry.body_sha256) == PICTURE


async def test_original_that_was_not_kept_survives_the_death_of_its_origin(
    engine: Engine, clock: Clock, origin: ScriptedOrigin
) -> None:
    """The disk is well when the origin answers 404: the bytes in memory are kept and answered."""
    origin.serve("/gone.png", PICTURE)
    source = Source.parse(origin.url("/gone.png"))
    with broken_disk(errno.EIO):
        await engine.originals.obtain(source)
    origin.forget("/gone.png")
    clock.time += SHORT_SECONDS + 1
    answered = await engine.originals.obtain(source)
    assert (answered.state.forward, answered.state.detail) == ("stale", "source_not_found")
    assert await engine.kept.read_body(answered.entry.body_sha256) == PICTURE


@pytest.mark.parametrize("changed", [False, True])
async def test_refresh_that_was_not_kept_is_repeated_after_a_minute(
    engine: Engine, clock: Clock, origin: ScriptedOrigin, changed: bool
) -> None:
    """A 304, or other bytes, that the disk did not take: the answer is short, and the next refresh is kept."""
    origin.serve("/r.png", PICTURE, etag='"one"')
    source = Source.parse(origin.url("/r.png"))
    await engine.originals.obtain(source)
    if changed:
        origin.serve("/r.png", OTHER, etag='"two"')
    clock.time += 2 * 86400.0
    with broken_disk(errno.EIO):
        refreshed = await engine.originals.obtain(source)
        assert (refreshed.state.forward, refreshed.state.detail) == ("stale", "not_kept")
        assert refreshed.short
        assert refreshed.fresh_until <= clock() + SHORT_SECONDS
        assert (await engine.originals.obtain(source)).is_refused
    assert origin.count("/r.png") == 2
    clock.time += SHORT_SECONDS + 1
    kept = await engine.originals.obtain(source)
    assert origin.requests[-1].header("if-none-match") == ('"two"' if changed else '"one"')
    assert not kept.is_refused
    body = await engine.kept.read_body(kept.entry.body_sha256)
    assert body == (OTHER if changed else PICTURE)
    assert origin.count("/r.png") == 3


async def test_variants_of_an_original_that_was_not_kept_ask_its_origin_once_a_minute(
    engine: Engine, clock: Clock, origin: ScriptedOrigin
) -> None:
    """Several variants share the bytes in memory; none of them is fresh for longer than a minute."""
    origin.serve("/v.png", PICTURE)
    with broken_disk(errno.EIO):
        for width in (10, 20, 30):
            picture = await engine.variants.obtain(asked(origin, "/v.png", width))
            assert (picture.short, picture.state.detail) == (True, "not_kept")
            assert picture.fresh_until <= clock() + SHORT_SECONDS
    assert origin.count("/v.png") == 1
    held = engine.variants.from_memory(asked(origin, "/v.png"))
    assert held is not None
    assert (held.state.forward, held.state.detail) == ("", "not_kept")
    clock.time += SHORT_SECONDS + 1
    assert engine.variants.from_memory(asked(origin, "/v.png")) is None
    assert "not_kept" not in (await engine.variants.obtain(asked(origin, "/v.png"))).state.detail
    assert origin.count("/v.png") == 2


async def test_slow_commit_lets_the_answer_go_without_calling_it_stored(
    engine: Engine, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known yet whether the disk accepts the original, so the answer may be cached for a minute."""
    monkeypatch.setattr("proxy.services.serving.keeping.KEEP_GRACE_SECONDS", 0.0)
    origin.serve("/slow.png", PICTURE)
    release = asyncio.Event()
    commit = engine.kept.commit

    async def slow(*arguments: object, **named: Any) -> None:
        await release.wait()
        await commit(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.kept, "commit", slow)
    early = await engine.variants.obtain(asked(origin, "/slow.png"))
    assert (early.state.stored, early.short) == (False, True)
    release.set()
    later = await engine.variants.obtain(asked(origin, "/slow.png", 30))
    assert not later.short
    assert origin.count("/slow.png") == 1


class HeldDisk:
    """A disk that does not finish an entry until it is let go; it counts those that wait inside an fsync."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = 0
        self._go = threading.Event()
        sync_folder = durable.sync_folder

        def held(folder: Path) -> None:
            if folder.parent.name == "entries":
                self.waiting += 1
                self._go.wait()
            sync_folder(folder)

        monkeypatch.setattr("cache.base.durable.sync_folder", held)

    def let_go(self) -> None:
        """Finish what waits, and hold nothing any more."""
        self._go.set()


@pytest.fixture
def held_disk(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], HeldDisk]]:
    """Make a disk that is held from then on; it is let go before the engine closes."""
    made: list[HeldDisk] = []

    def hold() -> HeldDisk:
        made.append(HeldDisk(monkeypatch))
        return made[-1]

    yield hold
    for disk in made:
        disk.let_go()


@pytest.mark.parametrize(
    ("body", "media_type"),
    [(PICTURE, "image/png"), (DRAWING, "image/svg+xml")],
    ids=["png", "svg"],
)
async def test_many_redirects_to_kept_bytes_are_answered_before_any_of_their_commits(
    engine: Engine,
    origin: ScriptedOrigin,
    monkeypatch: pytest.MonkeyPatch,
    held_disk: Callable[[], HeldDisk],
    body: bytes,
    media_type: str,
) -> None:
    """One commit is inside the disk and the others wait for it; every answer is there, and none says it is kept."""
    monkeypatch.setattr("proxy.services.serving.keeping.KEEP_GRACE_SECONDS", 0.0)
    origin.serve("/same", body, headers={"Content-Type": media_type})
    await engine.originals.obtain(Source.parse(origin.url("/same")))
    sources = []
    for number in range(24):
        origin.redirect(f"/to-{number}", origin.url("/same"))
        sources.append(Source.parse(origin.url(f"/to-{number}")))
    disk = held_disk()
    early = await asyncio.gather(
        *(engine.originals.obtain(source, accept=lambda found: found.is_readable) for source in sources)
    )
    assert [(item.state.stored, item.short, item.is_readable) for item in early] == [(False, True, True)] * 24
    assert await engine.kept.read_body(early[0].entry.body_sha256) == body
    assert disk.waiting <= 1
    endings = [item.ending for item in early if item.ending is not None]
    assert len(endings) == 24
    assert not any(ending.done() for ending in endings)
    disk.let_go()
    assert all(item.state.stored for item in await asyncio.gather(*endings))
    assert (await engine.kept.verify()).wrong == []


async def test_slow_commit_of_bytes_that_nobody_keeps_is_waited_for(
    engine: Engine,
    origin: ScriptedOrigin,
    monkeypatch: pytest.MonkeyPatch,
    held_disk: Callable[[], HeldDisk],
) -> None:
    """There is no body to answer with before the first commit, so the original is answered after it."""
    monkeypatch.setattr("proxy.services.serving.keeping.KEEP_GRACE_SECONDS", 0.0)
    origin.serve("/new.png", PICTURE)
    disk = held_disk()
    source = Source.parse(origin.url("/new.png"))
    asking = asyncio.ensure_future(engine.originals.obtain(source, accept=lambda found: found.is_readable))
    while not disk.waiting:
        await asyncio.wait((asking,), timeout=0.01)
    assert not asking.done()
    disk.let_go()
    assert (await asking).state.stored


async def test_service_on_a_slow_disk_answers_many_redirects_to_kept_bytes_without_their_commits(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Every `/?` is answered while no commit can end, with a minute to live; afterwards all are kept."""
    origin.serve("/same.png", PICTURE, headers={"Cache-Control": "max-age=99999"})
    orders = tmp_path / "orders"
    program = (FAULTY, str(orders), str(tmp_path / "store"))
    with Service(write_config(tmp_path), program=program) as service:
        client = Client(http, service.base)
        assert (await client.get("/?" + origin.url("/same.png"))).status == 200
        for number in range(12):
            origin.redirect(f"/to-{number}", origin.url("/same.png"))
        addresses = ["/?" + origin.url(f"/to-{number}") for number in range(12)]
        # An answer that waits for its commit would never come.
        with held_entries(orders):
            async with asyncio.timeout(30):
                answers = await asyncio.gather(*map(client.get, addresses))
        assert [answer.body == PICTURE for answer in answers] == [True] * 12
        assert all("max-age=60" in answer.headers["Cache-Control"] for answer in answers)
        assert not any("stored" in answer.headers["Cache-Status"] for answer in answers)
    assert len(list((tmp_path / "store").glob("**/entries/*/*.json"))) == 13


async def test_service_on_a_failing_disk_tells_every_kind_of_request(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """GET, HEAD, a range and a variant: 60 s and `not_kept` each, also from memory, and one question to the origin."""
    origin.serve("/f.png", PICTURE, headers={"Cache-Control": "max-age=99999"})
    orders = tmp_path / "orders"
    program = (FAULTY, str(orders), str(tmp_path / "store"))
    with Service(write_config(tmp_path), program=program) as service:
        give_orders(orders, kinds=("sync",))
        client = Client(http, service.base)
        address = "/?" + origin.url("/f.png")
        answers = [
            await client.get(address),
            await client.get(address),
            await client.get(address, method="HEAD"),
            await client.get(address, headers={"Range": "bytes=0-9"}),
            await client.get("/image/width=20/" + origin.url("/f.png")),
            await client.get("/image/width=20/" + origin.url("/f.png")),
        ]
    for answer in answers:
        assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert "not_kept" in answer.cache_status
        assert "stored" not in answer.cache_status
    assert [answer.status for answer in answers] == [200, 200, 200, 206, 200, 200]
    assert origin.count("/f.png") == 1
