"""Pictures that are too much for a render process: each costs one attempt, for all workers and across restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from http_client import Client
from pictures import cut, photo, photo_jpeg, saved, very_slow_picture
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from cache.base.keys import source_key
from proxy.app import Engine, open_engine
from proxy.config import Config
from proxy.config.file import load
from proxy.errors import DecodeFailed, OutOfMemory, QueueFull, RenderTimeout
from proxy.images.formats import PictureFacts
from proxy.images.jobs import Inspection, Job, Rendered
from proxy.images.pool.workers import RenderPool
from proxy.images.transforms.transform import Transform
from proxy.services.serving.values import PictureOrder
from proxy.services.troubles.overloads import FIRST_PAUSE_SECONDS
from proxy.source import Source
from proxy.web import application
from proxy.web.handlers import service as service_handlers

_LAYER = '<g opacity=".9"><circle cx="1000" cy="1000" r="990" fill="#07c"/></g>'
SLOW_SVG = (
    f'<svg xmlns="http://www.w3.org/2000/svg" width="2000" height="2000">{_LAYER * 60}</svg>'
).encode()
"""Layers that the bounds of drawings admit."""

CASES: dict[str, tuple[Any, str, dict[str, Any], type[Exception]]] = {
    "slow PNG": (lambda: very_slow_picture(4000), "image/png", {"timeout": "100ms"}, RenderTimeout),
    "large WebP": (
        lambda: saved(photo(3000, 2200), "WEBP"),
        "image/webp",
        {"memory_max_bytes": "110 MiB", "decoder": "pillow"},
        OutOfMemory,
    ),
}
WANTED = [
    ("width=64", ("webp", "fallback")),
    ("width=64", ("avif", "webp", "fallback")),
    ("width=900", ("jpeg",)),
    ("width=400,height=300,fit=cover", ("fallback",)),
    ("width=32,format=json", ("json",)),
]


def configured(folder: Path, render: dict[str, Any]) -> Config:
    return load(str(write_config(folder, {"render": render})), {}).config


def asked(
    url: str, text: str = "width=64", acceptable: tuple[str, ...] = ("webp", "fallback")
) -> PictureOrder:
    return PictureOrder(Source.parse(url), Transform.parse(text).resolved({}), acceptable)


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


@pytest.mark.parametrize("case", CASES)
async def test_picture_that_is_too_much_is_tried_once(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job], case: str
) -> None:
    """No other variant, process, start or source of the same bytes costs a render; the original is kept, undamaged."""
    make, media_type, render, error = CASES[case]
    body = make()
    origin.serve("/slow", body, content_type=media_type)
    origin.serve("/same", body, content_type=media_type)
    config = configured(tmp_path, render)
    async with open_engine(config) as engine, open_engine(config) as other:
        with pytest.raises(error):
            await engine.variants.obtain(asked(origin.url("/slow"), "width=1500"))
        await engine.originals.peek(Source.parse(origin.url("/slow")))
        assert len(jobs) == 1
        for one in (engine, other):
            for text, acceptable in WANTED:
                with pytest.raises(error):
                    await one.variants.obtain(asked(origin.url("/slow"), text, acceptable))
        with pytest.raises(error):
            await other.variants.obtain(asked(origin.url("/same")))
        entry = await engine.originals.peek(Source.parse(origin.url("/slow")))
        assert entry is not None
        assert not entry.damaged
    async with open_engine(config) as again:
        with pytest.raises(error):
            await again.variants.obtain(asked(origin.url("/slow"), "width=50"))
        assert (await again.originals.obtain(Source.parse(origin.url("/same")))).entry is not None
    assert len(jobs) == 1


async def test_svg_that_is_too_much_is_drawn_at_smaller_sizes_only(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """No larger variant in any format, process or start costs a render; a smaller one is tried."""
    origin.serve("/slow", SLOW_SVG, content_type="image/svg+xml")
    config = configured(tmp_path, {"drawing_timeout": "50ms"})
    larger = [
        ("width=1000", ("avif", "fallback")),
        ("width=1500", ("jpeg",)),
        ("width=1000,dpr=2", ("webp",)),
    ]
    async with open_engine(config) as engine, open_engine(config) as other:
        with pytest.raises(RenderTimeout):
            await engine.variants.obtain(asked(origin.url("/slow"), "width=1000"))
        await engine.originals.peek(Source.parse(origin.url("/slow")))
        for one in (engine, other):
            for text, acceptable in larger:
                with pytest.raises(RenderTimeout):
                    await one.variants.obtain(asked(origin.url("/slow"), text, acceptable))
    async with open_engine(config) as again:
        with pytest.raises(RenderTimeout):
            await again.variants.obtain(asked(origin.url("/slow"), "width=1001"))
        assert len(jobs) == 1
        with contextlib.suppress(RenderTimeout):
            await again.variants.obtain(asked(origin.url("/slow"), "width=8"))
    assert len(jobs) == 2


async def test_picture_is_tried_again_after_the_pause_and_under_other_limits(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """When it goes well then, its entry gets what the first look could not find, and its variants are stored."""
    origin.serve("/slow", very_slow_picture(4000), content_type="image/png")
    now = [1_800_000_000.0]
    async with open_engine(configured(tmp_path, {"timeout": "100ms"}), now=lambda: now[0]) as engine:
        for _ in range(2):
            with pytest.raises(RenderTimeout):
                await engine.variants.obtain(asked(origin.url("/slow")))
            await engine.originals.peek(Source.parse(origin.url("/slow")))
        assert len(jobs) == 1
        now[0] += FIRST_PAUSE_SECONDS
        with pytest.raises(RenderTimeout):
            await engine.variants.obtain(asked(origin.url("/slow")))
        assert len(jobs) == 2
        now[0] += FIRST_PAUSE_SECONDS
        with pytest.raises(RenderTimeout):
            await engine.variants.obtain(asked(origin.url("/slow")))
        assert len(jobs) == 2
    async with open_engine(configured(tmp_path, {"timeout": "20s"}), now=lambda: now[0]) as engine:
        made = [await engine.variants.obtain(asked(origin.url("/slow"))) for _ in range(2)]
        assert made[0].body == made[1].body
    assert len(jobs) == 3


async def test_slow_encoder_costs_its_format_and_larger_sizes_only(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """The other wishes of the same job are rendered, and so are smaller sizes."""
    origin.serve("/photo.jpg", saved(photo(3000, 2200), "JPEG"), content_type="image/jpeg")
    config = configured(tmp_path, {"timeout": "500ms"})
    large, source = "width=2900,quality=auto", Source.parse(origin.url("/photo.jpg"))
    async with open_engine(config) as engine:
        wanted = [asked(source.url, "width=60", ("jpeg",)), asked(source.url, large, ("avif",))]
        wanted.append(asked(source.url, "width=80", ("webp",)))
        _, outputs = await engine.variants.warm(source, tuple(one.wish for one in wanted))
        assert [isinstance(output, RenderTimeout) for output in outputs] == [False, True, False]
        before = len(jobs)
        for text in (large, "width=2950"):
            with pytest.raises(RenderTimeout):
                await engine.variants.obtain(asked(source.url, text, ("avif",)))
        assert len(jobs) == before
        await engine.variants.obtain(asked(source.url, "width=70", ("avif",)))
        await engine.variants.obtain(asked(source.url, "width=2900", ("jpeg",)))


async def test_format_that_is_too_much_gives_way_within_the_request(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """The next format that the client takes answers, at once and from the store; later the first is tried again."""
    origin.serve("/photo.jpg", saved(photo(3000, 2200), "JPEG"), content_type="image/jpeg")
    config, url, now = configured(tmp_path, {"timeout": "900ms"}), origin.url("/photo.jpg"), [1_800_000_000.0]
    large, formats = "width=2900,quality=auto", ("avif", "png")
    async with (
        open_engine(config, now=lambda: now[0]) as engine,
        open_engine(config, now=lambda: now[0]) as other,
    ):
        made = await engine.variants.obtain(asked(url, large, formats))
        assert made.media_type == "image/png"
        entry = await engine.originals.peek(Source.parse(url))
        assert entry is not None
        assert await engine.variants.output_format(entry, asked(url, large, formats)) == "png"
        before = len(jobs)
        assert (await other.variants.obtain(asked(url, large, formats))).body == made.body
        _, (output,) = await other.variants.warm(Source.parse(url), (asked(url, large, formats).wish,))
        assert isinstance(output, Rendered)
        assert (output.body, len(jobs)) == (made.body, before)
        with pytest.raises(RenderTimeout):
            await engine.variants.obtain(asked(url, large, ("avif",)))
        assert len(jobs) == before
        assert (await engine.variants.obtain(asked(url, "width=70", formats))).media_type == "image/avif"
        now[0] += FIRST_PAUSE_SECONDS
        assert await engine.variants.output_format(entry, asked(url, large, formats)) == "avif"


async def _overloaded(engine: Engine, url: str, step: str, *, killed: bool = True) -> None:
    """Keep the picture at `url`, and remember that one of its formats was too much."""
    entry = (await engine.originals.obtain(Source.parse(url))).entry
    await engine.originals.peek(Source.parse(url))
    assert entry.picture is not None
    found = Inspection(PictureFacts.from_dict(entry.picture), "whole", None, (OutOfMemory(),), killed=killed)
    known = await engine.overloads.look(entry.body_sha256)
    await engine.overloads.note(
        entry.body_sha256, (asked(url, "width=90", (step,)).wish,), found, known=known
    )


@pytest.mark.parametrize(
    ("acceptable", "media_type"),
    [
        (("avif", "webp", "fallback"), "image/webp"),
        (("avif", ">", "fallback"), "image/jpeg"),
        (("avif", ">", "anyway"), "image/jpeg"),
        (("webp", "avif"), "image/webp"),
    ],
)
@pytest.mark.parametrize("way", ["obtained", "warmed"])
async def test_format_remembered_as_too_much_is_passed_over(
    tmp_path: Path,
    origin: ScriptedOrigin,
    jobs: list[Job],
    acceptable: tuple[str, ...],
    media_type: str,
    way: str,
) -> None:
    """One render makes the next format, and no further one is needed for it in any process."""
    origin.serve("/photo.jpg", photo_jpeg(300, 200), content_type="image/jpeg")
    url, config = origin.url("/photo.jpg"), configured(tmp_path, {})
    wanted = asked(url, "width=90", acceptable)
    async with open_engine(config) as engine, open_engine(config) as other:
        await _overloaded(engine, url, "avif")
        before = len(jobs)
        if way == "warmed":
            _, (output,) = await engine.variants.warm(Source.parse(url), (wanted.wish,))
            assert isinstance(output, Rendered)
        for one in (engine, other):
            assert (await one.variants.obtain(wanted)).media_type == media_type
        assert len(jobs) == before + 1


async def test_format_made_before_answers_whatever_is_remembered_of_it(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """A stored variant costs no render, so no worse format replaces it."""
    origin.serve("/photo.jpg", photo_jpeg(300, 200), content_type="image/jpeg")
    url, config = origin.url("/photo.jpg"), configured(tmp_path, {})
    async with open_engine(config) as engine, open_engine(config) as other:
        made = await engine.variants.obtain(asked(url, "width=90", ("avif", "webp")))
        await _overloaded(engine, url, "avif")
        before = len(jobs)
        assert (await other.variants.obtain(asked(url, "width=90", ("avif", "webp")))).body == made.body
        assert len(jobs) == before


async def test_formats_that_all_took_too_much_memory_are_refused_together(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """A process that survived has tried them all: no second render finds the same of the next one."""
    origin.serve("/photo.jpg", photo_jpeg(300, 200), content_type="image/jpeg")
    url = origin.url("/photo.jpg")
    async with open_engine(configured(tmp_path, {})) as engine:
        await _overloaded(engine, url, "fallback", killed=False)
        before = len(jobs)
        with pytest.raises(OutOfMemory):
            await engine.variants.obtain(asked(url, "width=90", ("jpeg", "png")))
        assert len(jobs) == before


async def test_kill_by_others_is_remembered_by_nobody(tmp_path: Path, origin: ScriptedOrigin) -> None:
    """A picture whose processes are killed from outside is asked for again and rendered."""
    origin.serve("/good", very_slow_picture(4000), content_type="image/png")
    async with open_engine(configured(tmp_path, {"timeout": "20s"})) as engine:
        await engine.originals.obtain(Source.parse(origin.url("/good")))
        asking = asyncio.ensure_future(engine.variants.obtain(asked(origin.url("/good"))))
        killed: set[int] = set()
        while not asking.done():
            for pid in set(engine.pool.pids) - killed if engine.pool.running else ():
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await asking
        assert (await engine.kept.overloads.counts(now=0.0)) == {}
        assert (await engine.variants.obtain(asked(origin.url("/good")))).body


async def _marked(engine: Any, url: str, **changes: Any) -> None:
    """Rewrite the entry of a source as a former version wrote it."""
    path = engine.config.store.dir / "entries" / source_key(url)[:2] / f"{source_key(url)}.json"
    entry = json.loads(await asyncio.to_thread(path.read_text)) | changes
    del entry["judged_by"]
    await asyncio.to_thread(path.write_text, json.dumps(entry))


@pytest.mark.parametrize("facts", ["known", "unknown"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_good_picture_marked_damaged_by_mistake_is_looked_at_again(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job], kind: str, facts: str
) -> None:
    """The mark goes away with the first request, in every process; the original is not fetched again."""
    origin.serve("/good", saved(photo(300, 200), kind), content_type=f"image/{kind.lower()}")
    config, url = configured(tmp_path, {}), origin.url("/good")
    async with open_engine(config) as engine:
        await engine.originals.obtain(Source.parse(url))
        await _marked(engine, url, damaged=True, **({"picture": None} if facts == "unknown" else {}))
        engine.originals.forget_known()
        assert (await engine.variants.obtain(asked(url))).body
        entry = await engine.kept.get(url)
        assert entry is not None
        assert not entry.damaged
        assert entry.picture is not None
        await engine.variants.obtain(asked(url, "width=30"))
    assert (origin.count(), len(jobs)) == (1, 3)


async def test_damaged_picture_of_former_rules_is_looked_at_once(
    tmp_path: Path, origin: ScriptedOrigin, jobs: list[Job]
) -> None:
    """A picture that is damaged under the present rules stays marked and is not examined again."""
    origin.serve("/bad", cut(photo_jpeg(300, 200)), content_type="image/jpeg")
    url = origin.url("/bad")
    async with open_engine(configured(tmp_path, {})) as engine:
        with pytest.raises(DecodeFailed):
            await engine.variants.obtain(asked(url))
        await engine.originals.peek(Source.parse(url))
        await _marked(engine, url)
        engine.originals.forget_known()
        for text in ("width=30", "width=31", "width=32"):
            with pytest.raises(DecodeFailed):
                await engine.variants.obtain(asked(url, text))
    assert len(jobs) == 2


async def test_explain_and_metrics_tell_of_a_picture_that_is_too_much(
    tmp_path: Path, origin: ScriptedOrigin, http: aiohttp.ClientSession
) -> None:
    """The owner sees what took too much, since when it is not tried, and when it will be."""
    origin.serve("/slow", very_slow_picture(4000), content_type="image/png")
    with Service(write_config(tmp_path, {"render": {"timeout": "100ms"}}), workers=2) as service:
        client = Client(http, service.base)
        target = f"/image/width=64/{origin.url('/slow')}"
        assert [(await client.get(target)).status for _ in range(2)] == [422, 422]
        told = json.loads((await client.get(f"/explain{target}")).body)
        (found,) = told["original"]["overloads"]
        assert (found["step"], found["error"]["code"], found["failures"]) == ("reading", "render_timeout", 1)
        assert told["original"]["damaged"] is False
        assert found["tried_again_from"]
        assert (await client.get(target.replace("64", "65"))).status == 422
        figures = (await client.get("/metrics")).body.decode().splitlines()
        (spared,) = (
            line.split()[1] for line in figures if line.startswith("imgmirror_renders_spared_total ")
        )
        assert float(spared) >= 1


async def readiness(context: Any) -> dict[str, Any]:
    response = await service_handlers.readyz(context, make_mocked_request("GET", "/readyz"))
    assert isinstance(response.body, bytes)
    return dict(json.loads(response.body))


async def test_readiness_is_degraded_while_a_picture_waits_for_long(
    tmp_path: Path, origin: ScriptedOrigin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Monitors are told that the render queue is starved, with the reason, and later that it is not."""
    monkeypatch.setattr(service_handlers, "STARVED_SECONDS", -1.0)
    async with open_engine(configured(tmp_path, {})) as engine:
        context = application._context(engine)
        starved = await readiness(context)
        assert starved["status"] == "degraded"
        assert any("starved" in reason for reason in starved["reasons"])
        monkeypatch.setattr(service_handlers, "STARVED_SECONDS", 10.0)
        well = await readiness(context)
        assert well["status"] == "ok"
