"""Variants of one picture that are asked for at the same time: one fetch, one decode for each render process."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from pictures import opened, photo_jpeg
from scripted_origin import ScriptedOrigin, head, stall
from service import write_config

from proxy.app import Engine, open_engine
from proxy.config.file import load
from proxy.images.jobs import Inspection, Job
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform
from proxy.services.serving.values import Picture, PictureOrder
from proxy.source import Source

WIDTHS = (40, 80, 160, 320)
FORMATS = ("avif", "webp", "jpeg")


def asked(source: Source) -> list[PictureOrder]:
    """Return what a page with `srcset` and `<picture>` may ask for."""
    pairs = itertools.product(WIDTHS, FORMATS)
    return [
        PictureOrder(source, Transform.parse(f"width={width}").resolved({}), (name,)) for width, name in pairs
    ]


def is_right(picture: Picture, wanted: PictureOrder) -> bool:
    shown = opened(picture.body)
    return shown.width == wanted.resolved.width and (shown.format or "").lower() == wanted.acceptable[0]


async def all_at_once(engine: Engine, wanted: list[PictureOrder]) -> list[Picture]:
    return await asyncio.gather(*map(engine.variants.obtain, wanted))


@pytest.fixture(name="jobs")
def _jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that reach the pool."""
    seen: list[Job] = []
    run = RenderPool.run

    async def noted(pool: RenderPool, job: Job) -> Inspection:
        seen.append(job)
        return await run(pool, job)

    monkeypatch.setattr(RenderPool, "run", noted)
    return seen


async def test_variants_of_a_cold_picture_share_fetch_and_decodes(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """Twelve visitors, two processes: two jobs, and equal sizes in the same one."""
    body, release = photo_jpeg(800, 600), asyncio.Event()
    start = head(200, [("Content-Type", "image/jpeg"), ("Content-Length", str(len(body)))])
    origin.script("/c.jpg", stall(release, before=start, after=body))
    config = load(str(write_config(tmp_path, {"render": {"processes": 2}})), {}).config
    async with open_engine(config) as engine:
        wanted = asked(Source.parse(origin.url("/c.jpg")))
        visit = asyncio.create_task(all_at_once(engine, wanted))
        # Twelve variants and their source.
        while engine.flight.in_flight < len(wanted) + 1:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        release.set()
        made = await visit
        assert all(map(is_right, made, wanted))
        assert origin.count() == 1
        assert sorted(len(job.wishes) for job in jobs) == [3, 9]
        looks = [{wish.resolved.look for wish in job.wishes} for job in jobs]
        assert looks[0].isdisjoint(looks[1])
        await engine.flight.close()
        again = await asyncio.gather(*(engine.variants.obtain(one) for one in wanted[:1]))
        assert again[0].body == made[0].body


async def test_variants_of_a_kept_picture_share_decodes(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """The first takes the only process; the others wait for it together."""
    origin.serve("/k.jpg", photo_jpeg(800, 600), content_type="image/jpeg")
    config = load(str(write_config(tmp_path)), {}).config
    async with open_engine(config) as engine:
        source = Source.parse(origin.url("/k.jpg"))
        await engine.originals.obtain(source)
        jobs.clear()
        wanted = asked(source)
        assert all(map(is_right, await all_at_once(engine, wanted), wanted))
        assert sum(len(job.wishes) for job in jobs) == len(wanted)
        assert len(jobs) < len(wanted) / 2
        assert origin.count() == 1
