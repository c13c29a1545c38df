"""A disk whose fsyncs never end: visitors are answered, monitors notice it, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import aiohttp
import faulty_service
import pytest
from faulty_service import held_entries, held_syncs
from http_client import Answer, Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

PATH = os.pathsep.join([str(Path(__file__).parents[1] / "lib"), str(Path(__file__).parents[2])])
NEW = 8
"""Twice as many as there are places for writers."""


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return tmp_path / "orders"


@pytest.fixture
def service(tmp_path: Path, orders: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that considers a disk hung after one second."""
    monkeypatch.setenv("PYTHONPATH", PATH)
    monkeypatch.setenv("FAULTY_HUNG_SECONDS", "1")
    config = write_config(
        tmp_path, {"server": {"shutdown_timeout": "1s"}, "fetch": {"types": ["image/*", "application/pdf"]}}
    )
    program = (str(faulty_service.__file__), str(orders), str(tmp_path / "store"))
    with Service(config, program=program) as started:
        yield started


def pictures(origin: ScriptedOrigin) -> list[str]:
    """Serve new pictures and documents; return their addresses here."""
    found = []
    for number in range(NEW):
        if number % 2:
            path, kind, body = f"/{number}.pdf", "application/pdf", b"%PDF-1.4 " + bytes([number]) * 999
        else:
            path, kind, body = f"/{number}.png", "image/png", chart_png(30 + number, 30, seed=number)
        origin.serve(path, body, content_type=kind)
        found.append(f"/?{origin.url(path)}")
    return found


async def ask(client: Client, paths: list[str]) -> list[Answer]:
    return list(await asyncio.gather(*(client.get(path) for path in paths)))


def entries(service: Service) -> list[Path]:
    return sorted((service.config.parent / "store" / "entries").glob("??/*.json"))


async def reasons(client: Client) -> str:
    answer = await client.get("/readyz")
    assert answer.status == 200
    return " ".join(json.loads(answer.body)["reasons"])


@pytest.mark.parametrize(
    "hanging", [held_syncs, held_entries], ids=["every fsync", "the last fsync of a commit"]
)
async def test_visitors_are_answered_while_fsyncs_hang_and_all_is_well_afterwards(
    service: Service,
    http: aiohttp.ClientSession,
    origin: ScriptedOrigin,
    orders: Path,
    hanging: Callable[[Path], AbstractContextManager[None]],
) -> None:
    """New bytes are served and not reported as kept, kept ones are served, and a purge is refused."""
    client = Client(http, service.base)
    origin.serve("/kept.png", chart_png(20, 20, seed=99))
    kept = f"/?{origin.url('/kept.png')}"
    assert (await client.get(kept)).status == 200
    paths = pictures(origin)
    with hanging(orders):
        for _ in range(2):
            answers = await ask(client, paths)
            assert [answer.status for answer in answers] == [200] * NEW
            assert not [answer for answer in answers if "stored" in answer.headers["Cache-Status"]]
        assert "not_kept" in (await client.get(paths[0])).headers["Cache-Status"]
        assert "the disk of the store does not answer" in await reasons(client)
        assert (await client.get(kept)).status == 200
        purge = await client.get("/purge", method="POST", data=json.dumps({"source": kept[2:]}).encode())
        assert (purge.status, purge.code) == (503, "queue_full"), purge.body
    for _ in range(500):
        if "the disk of the store does not answer" not in await reasons(client):
            break
        await asyncio.sleep(0.02)
    else:
        raise AssertionError("the disk answers, and readyz does not say so")
    origin.serve("/late.png", chart_png(21, 20, seed=98))
    assert "stored" in (await client.get(f"/?{origin.url('/late.png')}")).headers["Cache-Status"]
    assert "Traceback" not in service.log(), service.log()


async def test_shutdown_ends_in_time_although_every_fsync_hangs(
    service: Service, http: aiohttp.ClientSession, origin: ScriptedOrigin, orders: Path
) -> None:
    """The process ends after `server.shutdown_timeout` and says why. Nothing that it was about to keep is half
    written."""
    client = Client(http, service.base)
    with held_syncs(orders):
        answers = await ask(client, pictures(origin))
        assert [answer.status for answer in answers] == [200] * NEW
        assert await asyncio.to_thread(service.stop) == 1
    assert "something hangs" in service.log()
    assert entries(service) == []
