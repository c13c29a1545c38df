"""Hostile pictures and addresses through a whole service: each gets its own error while others are served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from http_client import Answer, Client
from keeping import files_below
from pictures import (
    chart_png,
    cut,
    long_gif,
    photo,
    photo_jpeg,
    png_bomb,
    saved,
    slow_picture,
    very_slow_picture,
)
from scripted_origin import ScriptedOrigin, cut_short
from service import Service, wait_until, write_config

LIMITS = {"render": {"timeout": "400ms", "max_pixels": 50_000_000, "max_frames": 200}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(write_config(tmp_path_factory.mktemp("pictures"), LIMITS)) as service:
        yield service
        assert "Traceback" not in service.log(), service.log()


@pytest.fixture
def hostile(http: aiohttp.ClientSession, service: Service) -> Client:
    return Client(http, service.base)


def tree_bytes(service: Service) -> int:
    """Return the resident memory of the service and its render processes, shared pages counted once (PSS)."""
    assert service.process is not None
    parent = psutil.Process(service.process.pid)
    return sum(process.memory_full_info().pss for process in [parent, *parent.children(recursive=True)])


def serve_all(origin: ScriptedOrigin) -> dict[str, tuple[str, str]]:
    """Serve the hostile pictures; return for each path the answer to bare options and to a preset."""
    whole = photo_jpeg(600, 400)
    origin.script("/truncated.jpg", cut_short(cut(whole), declared=len(whole)))
    origin.serve("/damaged.jpg", cut(whole))
    origin.serve("/empty.png", b"")
    origin.serve("/html.png", b"<!doctype html><title>no hotlinking</title>")
    origin.serve("/bomb.png", png_bomb(40_000, 40_000))
    origin.serve("/frames.gif", long_gif(5_000), content_type="image/gif")
    origin.serve("/slow.png", very_slow_picture())
    origin.serve("/text.png", b"just some words\n" * 50)
    return {
        "/truncated.jpg": ("source_unreachable", "source_unreachable"),
        "/damaged.jpg": ("decode_failed", "decode_failed"),
        "/empty.png": ("not_an_image", "not_an_image"),
        "/html.png": ("not_an_image", "not_an_image"),
        "/text.png": ("not_an_image", "not_an_image"),
        "/bomb.png": ("too_many_pixels", "302"),
        "/frames.gif": ("too_many_frames", "302"),
        "/slow.png": ("render_timeout", "302"),
    }


def said(answer: Answer) -> str:
    return answer.code or str(answer.status)


async def test_each_hostile_picture_has_its_own_answer_and_others_are_served_meanwhile(
    hostile: Client, service: Service, origin: ScriptedOrigin
) -> None:
    expected = serve_all(origin)
    origin.serve("/good.png", chart_png(200, 100))
    good = "/image/width=50/" + origin.url("/good.png")
    assert (await hostile.get(good)).status == 200
    before = tree_bytes(service)

    stop = asyncio.Event()
    good_answers: list[int] = []

    async def visit() -> None:
        while not stop.is_set():
            good_answers.append((await hostile.get(good)).status)
            width = 60 + len(good_answers) % 100
            cold = await hostile.get(f"/image/width={width}/" + origin.url("/good.png"))
            good_answers.append(cold.status)

    visitor = asyncio.create_task(visit())
    for path, (bare, preset) in expected.items():
        for options, code in (("width=300", bare), ("thumbnail", preset)):
            answers = await asyncio.gather(
                *(hostile.get(f"/image/{options}/" + origin.url(path)) for _ in range(3))
            )
            assert {said(answer) for answer in answers} == {code}, (path, options)
    stop.set()
    await visitor
    assert set(good_answers) == {200}
    await asyncio.to_thread(wait_until, lambda: tree_bytes(service) < before * 1.2)


async def test_picture_that_lacked_memory_is_kept_and_not_called_damaged(
    http: aiohttp.ClientSession, origin: ScriptedOrigin, tmp_path: Path
) -> None:
    """The cases: a codec that fails or crashes for lack of memory, a rasteriser that aborts, and a damaged picture."""
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="8000" height="4900"><rect width="9" height="9"/></svg>'
    bodies = {"/a.png": saved(photo(2400, 1800), "PNG"), "/b.webp": saved(photo(2400, 1800), "WEBP")}
    bodies |= {"/c.svg": drawing, "/damaged.png": chart_png(200, 100)[:-200]}
    for path, body in bodies.items():
        origin.serve(path, body, content_type="image/" + path.partition(".")[2].replace("svg", "svg+xml"))
    limits = {"render": {"memory_max_bytes": "150 MiB", "decoder": "pillow"}}
    with Service(write_config(tmp_path, limits)) as service:
        client = Client(http, service.base)
        for path, body in bodies.items():
            options = "width=8000,format=png" if path == "/c.svg" else "width=1500,format=avif"
            answer = await client.get(f"/image/{options}/" + origin.url(path))
            assert answer.code == ("decode_failed" if path == "/damaged.png" else "too_many_pixels"), path
            assert (await client.get("/?" + origin.url(path))).body == body
        assert "Traceback" not in service.log()
    entries = [json.loads(file.read_bytes()) for file in files_below(tmp_path / "store" / "entries")]
    damaged = {entry["source"] for entry in entries if entry.get("damaged")}
    assert damaged == {origin.url("/damaged.png")}
    assert len(entries) == len(bodies)
    assert origin.count() == len(bodies)


async def test_original_beyond_the_limits_is_kept_and_served_untouched(
    hostile: Client, origin: ScriptedOrigin
) -> None:
    body = png_bomb(30_000, 30_000)
    origin.serve("/large.png", body)
    moved = await hostile.get("/image/headimg/" + origin.url("/large.png"))
    assert moved.status == 302
    assert moved.headers["Vary"] == "Accept"
    assert moved.headers["Cache-Control"] == "public, max-age=60"
    assert (await hostile.get(moved.headers["Location"])).body == body
    assert origin.count() == 1


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "[::ffff:10.0.0.1]", "167772161", "0x0a.1", "[64:ff9b::a00:1]", "169.254.169.254", "[::1]",
        "[fec0::1]", "0.0.0.0",
    ],
)  # fmt: skip
async def test_prohibited_address_answers_as_one_that_cannot_be_reached(
    hostile: Client, origin: ScriptedOrigin, host: str
) -> None:
    """Status, message and header names equal those of a refused connection and reveal nothing of the inner network."""
    refused_port = origin.port
    await origin.stop()
    for _ in range(2):  # the second failure is remembered
        unreachable = await hostile.get(f"/?http://127.0.0.1:{refused_port}/x.png")
    await origin.start()
    origin.redirect("/to", f"http://{host}/x.png")
    for target in (f"/?http://{host}/x.png", f"/image/headimg/http://{host}/x.png", "/?" + origin.url("/to")):
        answer = await hostile.get(target)
        assert (answer.status, answer.code) == (502, "source_unreachable")
        assert list(answer.headers) == list(unreachable.headers)
        assert json.loads(answer.body)["message"] == json.loads(unreachable.body)["message"]
    explained, refused = [
        json.loads((await hostile.get(f"/explain/image/headimg/http://{place}/x.png")).body)
        for place in (host, f"127.0.0.1:{refused_port}")
    ]
    assert explained["policy"] == refused["policy"]
    assert explained["original"] == refused["original"]


async def test_renderer_killed_in_the_middle_costs_one_answer_and_nobody_else(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/slow.png", slow_picture(6_000))
    origin.serve("/good.png", chart_png(100, 100))
    # Pillow holds the whole picture, so a large process is a busy one.
    config = write_config(tmp_path, {"render": {"processes": 2, "decoder": "pillow"}})
    with Service(config) as service:
        client = Client(http, service.base)
        assert service.process is not None
        rendering = asyncio.create_task(client.get("/image/width=100,blur=200/" + origin.url("/slow.png")))
        process = psutil.Process(service.process.pid)
        await asyncio.to_thread(wait_until, lambda: _busiest(process).memory_info().rss > 100 * 2**20)
        _busiest(process).kill()
        assert (await client.get("/image/width=30/" + origin.url("/good.png"))).status == 200
        assert (await rendering).status in {200, 422, 503}
        assert (await client.get("/readyz")).status == 200


def _busiest(process: psutil.Process) -> psutil.Process:
    return max(process.children(), key=lambda child: child.memory_info().rss)
