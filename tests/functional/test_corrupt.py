"""Bit rot: damaged bytes are never answered as good, and they heal as soon as the origin gives them again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_client import Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from proxy.app import Engine, open_engine
from proxy.config.file import load
from proxy.images.transforms.transform import Transform
from proxy.services.serving.values import PictureOrder
from proxy.source import Source

PICTURE, OTHER = chart_png(60, 40, seed=1), chart_png(60, 40, seed=2)
SHA256 = hashlib.sha256(PICTURE).hexdigest()
FLIPPED = bytes([*PICTURE[:-20], PICTURE[-20] ^ 1, *PICTURE[-19:]])


def body_of(store: Path) -> Path:
    """Return where the picture's body lies."""
    return store / "bodies" / SHA256[:2] / SHA256


def entry_of(store: Path) -> Path:
    """Return the only entry."""
    return next((store / "entries").rglob("*.json"))


def flip(store: Path) -> None:
    body_of(store).write_bytes(FLIPPED)


def truncate(store: Path) -> None:
    body_of(store).write_bytes(PICTURE[: len(PICTURE) // 2])


def empty(store: Path) -> None:
    body_of(store).write_bytes(b"")


def replace_with_another(store: Path) -> None:
    (store / "another").write_bytes(OTHER)
    (store / "another").replace(body_of(store))


def cut_entry(store: Path) -> None:
    path = entry_of(store)
    path.write_bytes(path.read_bytes()[:-40])


def pipe(store: Path) -> None:
    body_of(store).unlink()
    os.mkfifo(body_of(store))


def link(store: Path) -> None:
    (store / "another").write_bytes(PICTURE)
    body_of(store).unlink()
    body_of(store).symlink_to(store / "another")


DAMAGES: list[Callable[[Path], None]] = [flip, truncate, empty, replace_with_another, cut_entry]


@pytest.mark.parametrize("damage", [*DAMAGES, pipe, link])
async def test_damaged_original_is_fetched_again_by_the_next_request_for_any_form_of_it(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, damage: Callable[[Path], None]
) -> None:
    """A new process compares the body when it reads it: original and variant are right, the disk is whole again."""
    origin.serve("/p.png", PICTURE)
    config, store = write_config(tmp_path), tmp_path / "store"
    for target in ("/?", "/image/width=20/"):
        with Service(config) as service:
            await Client(http, service.base).get("/?" + origin.url("/p.png"))
        damage(store)
        with Service(config) as service:
            answer = await Client(http, service.base).get(target + origin.url("/p.png"))
            assert answer.status == 200
            assert "corrupt" not in answer.cache_status
            assert answer.headers["Cache-Control"] != "public, max-age=60"
            assert target != "/?" or answer.body == PICTURE
            assert body_of(store).read_bytes() == PICTURE
            assert json.loads(entry_of(store).read_text())["body_sha256"] == SHA256
            assert "Traceback" not in service.log()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damaged_original_of_a_dead_origin_is_answered_as_corrupt_and_its_bytes_stay(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, damage: Callable[[Path], None]
) -> None:
    """200 for a minute without a strong tag, readyz counts it, nothing is deleted."""
    origin.serve("/p.png", PICTURE, etag='"origin"')
    config, store = write_config(tmp_path), tmp_path / "store"
    with Service(config) as service:
        await Client(http, service.base).get("/?" + origin.url("/p.png"))
    damage(store)
    left = body_of(store).read_bytes()
    origin.forget("/p.png")
    with Service(config) as service:
        client = Client(http, service.base)
        for _ in range(2):
            answer = await client.get("/?" + origin.url("/p.png"))
            assert (answer.status, answer.body) == (200, left)
            assert answer.headers["Cache-Control"] == "public, max-age=60"
            assert answer.headers["ETag"].startswith("W/")
            assert "detail=corrupt" in answer.cache_status
        ready = json.loads((await client.get("/readyz")).body)
        assert (ready["status"], ready["scrub_damaged"]) == ("degraded", 1)
        assert body_of(store).read_bytes() == left


async def test_other_bytes_of_the_origin_replace_a_damaged_original(
    engine: Engine, origin: ScriptedOrigin
) -> None:
    """The rules for changed originals apply: the new bytes are present, the damaged ones history, none deleted."""
    source = Source.parse(origin.url("/c.png"))
    origin.serve("/c.png", PICTURE)
    obtained = await engine.originals.obtain(source)
    path = engine.kept.body_path(obtained.entry.body_sha256)
    path.write_bytes(FLIPPED)
    origin.serve("/c.png", OTHER)
    healed = await engine.originals.whole(source, obtained)
    assert await engine.kept.read_body(healed.entry.body_sha256) == OTHER
    entry = await engine.kept.get(source.url)
    assert entry is not None
    assert [item.body_sha256 for item in entry.history] == [SHA256]
    assert path.read_bytes() == FLIPPED


async def test_damaged_version_of_the_history_is_answered_as_corrupt(
    engine: Engine, origin: ScriptedOrigin
) -> None:
    """No origin gives it again; the present original is as good as before."""
    source = Source.parse(origin.url("/h.png"))
    origin.serve("/h.png", PICTURE)
    first = await engine.originals.obtain(source)
    origin.serve("/h.png", OTHER)
    await engine.originals.obtain_again(source)
    engine.kept.body_path(first.entry.body_sha256).write_bytes(PICTURE[:50])
    version = await engine.originals.obtain_version(source, SHA256)
    assert (version.is_corrupt, version.short, version.entry.body_size) == (True, True, 50)
    present = await engine.originals.obtain(source)
    assert not (await engine.originals.whole(source, present)).is_corrupt


async def test_variant_of_a_damaged_original_is_never_stored(engine: Engine, origin: ScriptedOrigin) -> None:
    """It is made of the damaged bytes while the origin is dead, and made again once the body is repaired."""
    source = Source.parse(origin.url("/v.png"))
    origin.serve("/v.png", PICTURE)
    obtained = await engine.originals.obtain(source)
    good, path = await engine.variants.obtain(_asked(source, 30)), engine.kept.body_path(SHA256)
    path.write_bytes(OTHER)
    origin.forget("/v.png")
    picture = await engine.variants.obtain(_asked(source, 20))
    assert (picture.state.detail, picture.short, picture.etag[:2]) == ("corrupt", True, "W/")
    path.write_bytes(PICTURE)
    healed = await engine.variants.obtain(_asked(source, 20))
    assert (healed.state.detail, healed.short) == ("rendered", False)
    assert healed.body != picture.body
    assert good.short is False
    assert obtained.entry.body_sha256 == SHA256


async def test_body_is_compared_once_and_again_when_its_file_changed(
    engine: Engine, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hit path does not read bodies twice; a change of inode, size or time makes it look again."""
    source = Source.parse(origin.url("/o.png"))
    origin.serve("/o.png", PICTURE)
    await engine.originals.obtain(source)
    read: list[str] = []
    digest = hashlib.file_digest

    def noted(*given: Any) -> Any:
        read.append("")
        return digest(*given)

    monkeypatch.setattr("cache.originals.bodies.hashlib.file_digest", noted)
    path = engine.kept.body_path(SHA256)
    for _ in range(3):
        assert (await engine.kept.condition(SHA256)).is_sound
    assert len(read) == 1
    os.utime(path, ns=(1, 1))
    assert (await engine.kept.condition(SHA256)).is_sound
    replace_with_another(path.parents[2])
    assert not (await engine.kept.condition(SHA256)).is_sound
    assert not (await engine.kept.condition(SHA256)).is_sound
    assert len(read) == 3


def _asked(source: Source, width: int) -> PictureOrder:
    return PictureOrder(source, Transform.parse(f"width={width}").resolved({}), ("png",))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with open_engine(load(str(write_config(tmp_path)), {}).config) as opened:
        yield opened
