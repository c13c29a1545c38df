"""Many addresses that all lead to the same bytes, asked for at once: everybody is answered, the bytes are kept once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import faulty_service
import pytest
from faulty_service import held_entries
from http_client import Answer, Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, wait_until, write_config

PATH = os.pathsep.join([str(Path(__file__).parents[1] / "lib"), str(Path(__file__).parents[2])])
CLIENTS = 24
SAME = {
    "picture": (chart_png(60, 40, seed=1), "image/png"),
    "document": (b"%PDF-1.4 " + b"the same for everybody" * 500, "application/pdf"),
    "text": (b"body { color: red }\n" * 200, "text/css"),
}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("PYTHONPATH", PATH)
    fetch = {"timeout": "8s", "types": ["image/*", "application/pdf", "text/css"]}
    program = (str(faulty_service.__file__), str(tmp_path / "orders"), str(tmp_path / "store"))
    with Service(write_config(tmp_path, {"fetch": fetch}), program=program) as started:
        yield started


def kept(service: Service, room: str) -> int:
    return len(list((service.config.parent / "store" / room).glob("??/*[0-9a-fn]")))


async def ask_all(client: Client, paths: list[str]) -> list[Answer]:
    """Ask for everything, `CLIENTS` at a time."""
    todo = iter(paths)
    answers: list[Answer] = []

    async def visitor() -> None:
        for path in todo:
            answers.append(await client.get(path))

    await asyncio.gather(*(visitor() for _ in range(CLIENTS)))
    return answers


def redirects(origin: ScriptedOrigin, kind: str, count: int) -> tuple[bytes, list[str]]:
    body, media_type = SAME[kind]
    origin.serve("/same", body, content_type=media_type)
    for number in range(count):
        origin.redirect(f"/r/{number}", "/same")
    return body, [f"/?{origin.url(f'/r/{number}')}" for number in range(count)]


@pytest.mark.parametrize("kind", SAME)
async def test_redirects_to_the_same_bytes_are_all_answered_and_kept_once(
    service: Service, http: aiohttp.ClientSession, origin: ScriptedOrigin, kind: str
) -> None:
    """Each is asked for once and answered with the bytes; in the end there is an entry for each, and one body."""
    body, paths = redirects(origin, kind, 3 * CLIENTS)
    answers = await ask_all(Client(http, service.base), paths)
    assert [answer.status for answer in answers] == [200] * len(paths)
    assert {answer.body for answer in answers} == {body}
    assert [origin.count(f"/r/{number}") for number in range(len(paths))] == [1] * len(paths)
    await asyncio.to_thread(wait_until, lambda: kept(service, "entries") == len(paths), seconds=60)
    assert kept(service, "bodies") == 1
    assert "Traceback" not in service.log(), service.log()


@pytest.mark.parametrize("kind", SAME)
async def test_redirects_to_bytes_that_are_kept_are_answered_while_the_disk_finishes_nothing(
    service: Service, http: aiohttp.ClientSession, origin: ScriptedOrigin, tmp_path: Path, kind: str
) -> None:
    """Commits of one body wait for each other. An announced body is readable meanwhile, so requests do not wait."""
    body, paths = redirects(origin, kind, CLIENTS + 1)
    client = Client(http, service.base)
    assert (await client.get(paths[0])).status == 200
    await asyncio.to_thread(wait_until, lambda: kept(service, "entries") == 1)
    with held_entries(tmp_path / "orders"):
        answers = await ask_all(client, paths[1:])
        assert [answer.status for answer in answers] == [200] * CLIENTS
        assert {answer.body for answer in answers} == {body}
        said = [answer.headers["Cache-Status"] for answer in answers]
        assert not [text for text in said if "stored" in text or "not_kept" in text]
        assert {answer.headers["Cache-Control"] for answer in answers} == {"public, max-age=60"}
    await asyncio.to_thread(wait_until, lambda: kept(service, "entries") == len(paths), seconds=60)
    again = await ask_all(client, paths)
    assert {(answer.status, answer.body) for answer in again} == {(200, body)}
    assert [origin.count(f"/r/{number}") for number in range(len(paths))] == [1] * len(paths)
