"""Four workers with hot memories, and two services over one store folder: one truth for all of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from http_client import Answer, Client
from pictures import chart_png, photo_jpeg
from scripted_origin import ScriptedOrigin
from service import Service, write_config


async def get(base: str, target: str) -> Answer:
    """Ask over a connection of its own, so that the kernel may choose another worker."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        return await Client(session, base).get(target, headers={"Accept": "image/webp,*/*"})


async def purge(base: str, source: str) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await Client(session, base).get("/purge", method="POST", data=json.dumps({"source": source}))
    assert json.loads(answer.body)["purged"] == [source]


@pytest.fixture(name="neighbours")
def _neighbours(tmp_path: Path) -> Iterator[tuple[Service, Service]]:
    """Two services, each with its own configuration and variants, over one store."""
    services = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        store = {"dir": str(tmp_path / "store"), "variants_dir": str(tmp_path / name / "variants")}
        config = write_config(tmp_path / name)
        text = config.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("dir = ")]
        at = lines.index("[store]") + 1
        lines[at:at] = [f"{key} = {json.dumps(value)}" for key, value in store.items()]
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        services.append(Service(config))
    with services[0], services[1]:
        yield services[0], services[1]


async def test_purge_with_four_workers_and_hot_memories_is_true_at_once(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """A hundred requests follow the purge, and none gets a purged picture."""
    origin.serve("/h.png", chart_png(60, 60))
    targets = ["/?" + origin.url("/h.png"), "/image/width=30/" + origin.url("/h.png")]
    with Service(write_config(tmp_path), workers=4) as service:
        for _ in range(20):
            warm = await asyncio.gather(*(get(service.base, target) for target in targets * 2))
            assert {answer.status for answer in warm} == {200}
        assert origin.count() == 1
        origin.forget("/h.png")
        await purge(service.base, origin.url("/h.png"))
        answers = await asyncio.gather(*(get(service.base, targets[number % 2]) for number in range(100)))
    assert {answer.status for answer in answers} == {404}


async def test_two_services_over_one_store_fetch_once(
    neighbours: tuple[Service, Service], origin: ScriptedOrigin
) -> None:
    """Each serves what the other keeps, even if both get requests at the same time."""
    origin.serve("/two.jpg", photo_jpeg(900, 600), content_type="image/jpeg")
    target = "/image/width=300/" + origin.url("/two.jpg")
    answers = await asyncio.gather(*(get(neighbours[number % 2].base, target) for number in range(40)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert origin.count() == 1


async def test_purge_by_one_service_is_true_in_the_other(
    neighbours: tuple[Service, Service], origin: ScriptedOrigin
) -> None:
    origin.serve("/p.png", chart_png(60, 60))
    targets = ["/?" + origin.url("/p.png"), "/image/width=30/" + origin.url("/p.png")]
    for service in neighbours * 2:
        for target in targets:
            assert (await get(service.base, target)).status == 200
    origin.forget("/p.png")
    await purge(neighbours[0].base, origin.url("/p.png"))
    answers = await asyncio.gather(*(get(neighbours[1].base, target) for target in targets * 10))
    assert {answer.status for answer in answers} == {404}


async def test_service_that_is_killed_leaves_its_neighbour_alone(
    neighbours: tuple[Service, Service], origin: ScriptedOrigin
) -> None:
    """The locks of a process end with it, and the other service keeps the picture."""
    first, second = neighbours
    origin.serve("/k.png", chart_png(60, 60))
    pending = [asyncio.create_task(get(first.base, "/?" + origin.url(f"/k.png?{n}"))) for n in range(8)]
    await asyncio.sleep(0)
    first.kill()
    await asyncio.gather(*pending, return_exceptions=True)
    answers = await asyncio.gather(*(get(second.base, "/?" + origin.url(f"/k.png?{n}")) for n in range(8)))
    assert [answer.status for answer in answers] == [200] * 8
    again = await get(second.base, "/?" + origin.url("/k.png?0"))
    assert again.cache_status.startswith("imgmirror; hit")
