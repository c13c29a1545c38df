"""Originals kept under a wrapper's own address answer after its grammar became known; copies in wrappers are kept."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from commands import invoke
from http_client import Client
from keeping import files_below
from pictures import chart_png
from scripted_origin import ScriptedOrigin, running_in_thread
from service import Service, write_config

from cache.base.entry import Entry

COPY, REAL = chart_png(60, 40), chart_png(90, 70)
DEAD = "http://127.0.0.1:1/dead.png"


def wrapped(origin: ScriptedOrigin, source: str = DEAD) -> str:
    """Return a wrapper's address at the origin; whether it is one is said by the configuration."""
    return origin.url("/get?u=" + quote(source, safe=""))


def learnt(origin: ScriptedOrigin, **tables: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a configuration that knows the wrapper."""
    return {"rewrite": {"wrappers": [origin.url("/get?u=")]}, **tables}


def kept_sources(folder: Path) -> dict[str, Entry]:
    entries = [Entry.from_json(path.read_bytes()) for path in files_below(folder / "store" / "entries")]
    return {entry.source: entry for entry in entries}


@pytest.fixture
async def kept(tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin) -> str:
    """A wrapper's address whose copy was kept before anybody knew that it is one; then the wrapper dies too."""
    address = wrapped(origin)
    origin.serve("/get?u=" + quote(DEAD, safe=""), COPY)
    with Service(write_config(tmp_path)) as service:
        assert (await Client(http, service.base).get("/image/original/" + address)).body == COPY
    assert list(kept_sources(tmp_path)) == [address]
    return address


async def test_original_kept_under_a_wrapper_answers_when_the_source_does_not(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, kept: str
) -> None:
    """The kept bytes answer as original, as variant and in the worker's form, for a minute, and no origin is asked."""
    asked = origin.count()
    with Service(write_config(tmp_path, learnt(origin))) as service:
        client = Client(http, service.base)
        for target in (f"/image/original/{kept}", f"/?{kept}", f"/image/original/{kept}"):
            answer = await client.get(target)
            assert (answer.status, answer.body) == (200, COPY)
            assert answer.headers["Cache-Control"] == "public, max-age=60"
        assert (await client.get(f"/image/width=30/{kept}")).status == 200
        assert (await client.get(f"/image/width=30/{kept}")).status == 200
        assert (await client.get(f"/image/width=30/{DEAD}")).code == "source_unreachable"
    assert origin.count() == asked
    assert list(kept_sources(tmp_path)) == [kept]


async def test_source_that_answers_comes_before_what_a_wrapper_gave(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """The copy is the second choice only."""
    origin.serve("/real.png", REAL)
    address = wrapped(origin, origin.url("/real.png"))
    origin.serve("/get?u=" + quote(origin.url("/real.png"), safe=""), COPY)
    with Service(write_config(tmp_path)) as service:
        assert (await Client(http, service.base).get("/image/original/" + address)).body == COPY
    with Service(write_config(tmp_path, learnt(origin))) as service:
        answer = await Client(http, service.base).get("/image/original/" + address)
        assert answer.body == REAL
        assert answer.headers["Cache-Control"] != "public, max-age=60"


@pytest.mark.parametrize("denied", ["source", "wrapper"])
async def test_denied_source_or_wrapper_ends_what_is_kept(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, kept: str, denied: str
) -> None:
    """`deny` looks at the source inside and at every wrapper on the way."""
    pattern = "http://127.0.0.1:1/" if denied == "source" else origin.url("/")
    with Service(write_config(tmp_path, learnt(origin, sources={"deny": [pattern]}))) as service:
        client = Client(http, service.base)
        assert (await client.get(f"/image/original/{kept}")).code == "source_not_allowed"


@pytest.mark.parametrize("rule", ["allow", "manifest"])
async def test_wrapper_that_is_admitted_answers_with_what_is_kept_only(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin, kept: str, rule: str
) -> None:
    """The source inside is not admitted, so the original kept under the admitted address answers, and nothing is
    fetched."""
    manifest = tmp_path / "manifest.txt"
    other = wrapped(origin, "http://127.0.0.1:1/other.png")
    manifest.write_text(f"{kept}\n{other}\n")
    rules: dict[str, dict[str, Any]] = {
        "allow": {"allow": [origin.url("/")]},
        "manifest": {"manifest": str(manifest)},
    }
    with Service(write_config(tmp_path, learnt(origin, sources=rules[rule]))) as service:
        client = Client(http, service.base)
        assert (await client.get(f"/image/original/{kept}")).body == COPY
        asked = origin.count()
        assert (await client.get(f"/image/original/{other}")).code == "source_not_allowed"
        assert origin.count() == asked


async def test_purge_and_show_find_what_is_kept_under_a_wrapper(
    tmp_path: Path, origin: ScriptedOrigin, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """They find it by its address as it was written."""
    config = write_config(tmp_path, learnt(origin))
    assert await asyncio.to_thread(invoke, "store", "show", "--source", kept, config=config) == 0
    assert f"{kept}: kept" in capsys.readouterr().out
    assert await asyncio.to_thread(invoke, "store", "purge", "--source", kept, config=config) == 0
    assert not kept_sources(tmp_path)


async def test_wrapper_is_asked_when_the_source_is_dead_and_gives_way_when_it_is_back(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Never kept by either address: the wrapper's copy is kept with its provenance until the source answers."""
    source = origin.url("/later.png")
    address = wrapped(origin, source)
    origin.serve("/get?u=" + quote(source, safe=""), COPY)
    config = write_config(tmp_path, learnt(origin, fetch={"min_fresh": 0}))
    with Service(config) as service:
        client = Client(http, service.base)
        assert (await client.get(f"/image/original/{address}")).body == COPY
        entry = json.loads((await client.get(f"/explain/?{source}")).body)["original"]
        assert entry["recovered"] == {"from": "wrapper", "url": address, "captured_at": None}
        origin.serve("/later.png", REAL)
        assert (await client.get(f"/image/original/{address}")).body == REAL
    assert list(kept_sources(tmp_path)) == [source]


async def test_wrapper_that_is_not_allowed_is_not_asked(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """The source is in `sources.allow`, the wrapper is not: nothing is fetched from it."""
    origin.serve("/get?u=" + quote(DEAD, safe=""), COPY)
    config = write_config(tmp_path, learnt(origin, sources={"allow": ["http://127.0.0.1:1/"]}))
    with Service(config) as service:
        answer = await Client(http, service.base).get(f"/image/original/{wrapped(origin)}")
        assert answer.code == "source_unreachable"
    assert origin.count() == 0


@pytest.mark.parametrize("rewritten", [False, True])
def test_warm_keeps_what_the_wrapper_of_an_article_still_has(tmp_path: Path, *, rewritten: bool) -> None:
    """A source that is dead everywhere else is kept under its own name; a rewritten article's journal knows it too."""
    with running_in_thread(ScriptedOrigin()) as origin:
        address = wrapped(origin)
        origin.serve("/get?u=" + quote(DEAD, safe=""), COPY)
        (tmp_path / "a.md").write_text(f"![]({address})\n")
        config = write_config(tmp_path, learnt(origin))
        words = ("--base-url", "https://img.example.org")
        if rewritten:
            assert invoke("rewrite", tmp_path / "a.md", *words, "--write", config=config) == 0
            assert "/image/content/http://127.0.0.1:1/dead.png" in (tmp_path / "a.md").read_text()
        assert invoke("warm", tmp_path / "a.md", *words, config=config) == 0
    entry = kept_sources(tmp_path)[DEAD]
    assert entry.recovered is not None
    assert entry.recovered["from"] == "wrapper"
