"""Former faults: odd headers, full descriptors, truncated bodies, late purges, bad reloads, bad starts."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from http_client import Client
from pictures import chart_png, disc_png, photo_jpeg, saved
from PIL import Image
from scripted_origin import Request, ScriptedOrigin, head, stall
from service import Service, wait_until, write_config

from proxy.signing import Signer

KEY = "a-key-of-more-than-sixteen-characters"


async def purge(client: Client, **wanted: Any) -> dict[str, Any]:
    answer = await client.get("/purge", method="POST", data=json.dumps(wanted))
    assert answer.status == 200, answer.body
    return dict(json.loads(answer.body))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ETag", '"\x7f"'), ("ETag", '"a"b"'), ("ETag", '"unterminated'), ("Last-Modified", "\x01x"),
        ("Last-Modified", "not a date"), ("Content-Language", "en\x1b"), ("Content-Language", "d\u00e9"),
        ("Cache-Control", "max-age=\x0b5"),
    ],
)  # fmt: skip
async def test_odd_header_of_an_origin_does_not_reach_the_answer(
    client: Client, origin: ScriptedOrigin, name: str, value: str
) -> None:
    body = chart_png(40, 30)
    origin.serve("/odd.png", body, headers=[(name, value)])
    for target in ("/?" + origin.url("/odd.png"), "/image/width=20/" + origin.url("/odd.png")):
        for _ in range(2):
            answer = await client.get(target)
            assert answer.status == 200
            assert answer.headers.get(name) != value
            assert answer.headers["Last-Modified"].endswith(" GMT")


async def test_two_variants_of_a_cold_source_at_once_are_each_their_own(
    client: Client, origin: ScriptedOrigin
) -> None:
    """They share the fetch, not the picture."""
    origin.serve("/both.jpg", photo_jpeg(800, 600), content_type="image/jpeg")
    widths = (100, 200, 300, 400)
    answers = await asyncio.gather(
        *(client.get(f"/image/width={width},format=png/" + origin.url("/both.jpg")) for width in widths)
    )
    sizes = [int.from_bytes(answer.body[16:20], "big") for answer in answers]
    assert sizes == list(widths)
    assert origin.count() == 1


async def test_waiting_for_a_stalled_origin_costs_no_descriptors_and_leaves_kept_pictures_alone(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    body, release = chart_png(50, 50), asyncio.Event()
    origin.serve("/kept.png", body)
    config = write_config(tmp_path, {"fetch": {"min_fresh": 0, "timeout": "30s"}})
    with Service(config) as service:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            client = Client(session, service.base)
            assert (await client.get("/?" + origin.url("/kept.png"))).status == 200
            for number in range(400):
                origin.script(f"/stall{number}.png", stall(release))
            origin.script("/kept.png", stall(release))
            waiting = [
                asyncio.create_task(client.get("/?" + origin.url(f"/stall{number}.png")))
                for number in range(400)
            ]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            refused = [task.result().code for task in done]
            assert set(refused) == {"queue_full"}
            assert service.process is not None
            files = psutil.Process(service.process.pid).open_files()
            assert not [file for file in files if file.path.endswith(".part")]
            kept = await client.get("/?" + origin.url("/kept.png"))
            assert (kept.status, kept.body) == (200, body)
            release.set()
            answers = await asyncio.gather(*waiting)
    assert {answer.code for answer in answers} <= {"queue_full", "source_unreachable"}


async def test_kept_original_answers_when_descriptors_are_used_up(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    """No `internal` for what clients can cause, and the kept picture comes."""
    body = chart_png(50, 50)
    origin.serve("/kept.png", body)
    config = write_config(tmp_path, {"fetch": {"min_fresh": 0}})
    with Service(config) as service:
        assert service.process is not None
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            assert (await client.get("/?" + origin.url("/kept.png"))).status == 200
            used = psutil.Process(service.process.pid).num_fds()
            resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (used, used))
            kept = await client.get("/?" + origin.url("/kept.png"))
            new = await client.get("/?" + origin.url("/new.png"))
    assert (kept.status, kept.body) in {(200, body), (503, kept.body)}
    assert kept.code != "internal"
    assert new.code in {"queue_full", "source_unreachable", "source_not_found"}


async def test_cut_body_is_fetched_again(tmp_path: Path, origin: ScriptedOrigin) -> None:
    small, large = chart_png(70, 70), saved(Image.effect_noise((1200, 1100), 90), "PNG")
    origin.serve("/small.png", small)
    origin.serve("/large.png", large)
    config = write_config(tmp_path, {"store": {"memory_max_bytes": 0}})
    with Service(config) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            for path, body in (("/small.png", small), ("/large.png", large)):
                await client.get("/?" + origin.url(path))
                for kept in (tmp_path / "store" / "bodies").rglob("*"):
                    if kept.is_file():
                        os.truncate(kept, 100)
                assert (await client.get("/image/width=30/" + origin.url(path))).status == 200
                for kept in (tmp_path / "store" / "bodies").rglob("*"):
                    if kept.is_file():
                        os.truncate(kept, 100)
                assert (await client.get("/?" + origin.url(path))).body == body


async def test_request_after_a_purge_does_not_share_a_fetch_from_before_it(
    tmp_path: Path, origin: ScriptedOrigin
) -> None:
    old, new, release = chart_png(40, 40), chart_png(50, 50, seed=3), asyncio.Event()
    bodies = [old, new]

    async def slow(_request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = bodies.pop(0)
        if body is old:
            await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    origin.script("/p.png", slow)
    with Service(write_config(tmp_path)) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            target = "/?" + origin.url("/p.png")
            before = asyncio.create_task(client.get(target))
            await asyncio.to_thread(wait_until, origin.count)
            await purge(client, source=origin.url("/p.png"))
            assert (await client.get(target)).body == new
            release.set()
            await before
            assert (await client.get(target)).body == new


async def test_block_during_a_refresh_ends_the_kept_original(tmp_path: Path, origin: ScriptedOrigin) -> None:
    body, release = chart_png(40, 40), asyncio.Event()
    origin.serve("/b.png", body)
    origin.serve("/same.png", body)
    config = write_config(tmp_path, {"fetch": {"min_fresh": 0}})
    with Service(config) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            for path in ("/b.png", "/same.png"):
                await client.get("/?" + origin.url(path))
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            origin.script("/b.png", stall(release, after=head + body))
            asked = origin.count()
            waiting = asyncio.create_task(client.get("/?" + origin.url("/b.png")))
            await asyncio.to_thread(wait_until, lambda: origin.count() > asked)
            await purge(client, source=origin.url("/b.png"), block=True)
            release.set()
            assert (await waiting).code == "source_not_allowed"
            assert (await client.get("/?" + origin.url("/same.png"))).body == body


async def test_purge_of_a_wrapper_purges_what_it_wraps(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/w.png", chart_png(20, 20))
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        await client.get("/?" + origin.url("/w.png"))
        wrapper = "https://cors.zfour.workers.dev/?" + origin.url("/w.png")
        assert (await purge(client, source=wrapper, block=True))["blocked"] == [origin.url("/w.png")]
        assert (await client.get("/?" + origin.url("/w.png"))).code == "source_not_allowed"


async def test_purge_of_an_origin_with_a_path_is_refused(client: Client, origin: ScriptedOrigin) -> None:
    """An operator who gives a path means less than the origin."""
    answer = await client.get("/purge", method="POST", data=json.dumps({"origin": origin.url("/part/")}))
    assert (answer.status, answer.code) == (400, "invalid_source")


async def test_stale_if_error_counts_from_staleness(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """An hour of freshness, then an hour of grace: the kept original answers while the origin fails."""
    body = chart_png(30, 30)
    config = write_config(tmp_path, {"fetch": {"min_fresh": 0, "stale_if_error": "1h"}})
    origin.serve("/s.png", body, headers=[("Cache-Control", "max-age=3600"), ("Age", "3700")])
    origin.serve("/old.png", body, headers=[("Cache-Control", "max-age=3600"), ("Age", "9000")])
    with Service(config) as service:
        client = Client(http, service.base)
        for path in ("/s.png", "/old.png"):
            assert (await client.get("/?" + origin.url(path))).status == 200
            origin.serve(path, b"", status=500)
        assert (await client.get("/?" + origin.url("/s.png"))).body == body
        assert (await client.get("/?" + origin.url("/old.png"))).code == "source_failed"
        origin.serve("/old.png", body)
        assert (await client.get("/?" + origin.url("/old.png"))).body == body, "the origin is asked again"


async def test_redirect_to_the_original_lives_no_longer_than_its_signature(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/big.png", chart_png(400, 400))
    origin.serve("/ok.png", disc_png(60, 60))
    config = write_config(tmp_path, {"sources": {"keys": [KEY]}, "render": {"max_pixels": 100_000}})
    signer, exp = Signer((KEY,)), int(time.time()) + 50
    with Service(config) as service:
        client = Client(http, service.base)

        async def get(path: str) -> Any:
            sig = signer.sign("thumbnail", origin.url(path), exp=exp)
            return await client.get(f"/image/thumbnail,sig={sig},exp={exp}/" + origin.url(path))

        moved = await get("/big.png")
        assert moved.status == 302
        assert f",exp={exp}/" in moved.headers["Location"]
        assert (await client.get(moved.headers["Location"])).status == 200
        fine = await get("/ok.png")
        assert int(fine.headers["Cache-Control"].rpartition("=")[2]) <= 50


async def test_exp_says_nothing_where_nothing_is_signed(client: Client, origin: ScriptedOrigin) -> None:
    origin.serve("/x.png", chart_png(20, 20))
    for _ in range(2):
        assert (await client.get("/image/width=10,exp=1/" + origin.url("/x.png"))).status == 200


async def test_several_accept_lines_are_one_list(service_port: int, origin: ScriptedOrigin) -> None:
    origin.serve("/lines.jpg", photo_jpeg(60, 40), content_type="image/jpeg")
    reader, writer = await asyncio.open_connection("127.0.0.1", service_port)
    target = "/image/width=30/" + origin.url("/lines.jpg")
    lines = "Host: x\r\nAccept: text/html\r\nAccept: image/webp\r\nConnection: close"
    writer.write(f"GET {target} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    assert b"Content-Type: image/webp" in answer


@pytest.fixture
def service_port(shared_service: Service) -> int:
    return shared_service.port


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Port", "X-Original-Forwarded-For", "Fly-Client-IP", "CDN-Loop"]
)
async def test_forwarded_request_is_no_administrator(client: Client, header: str) -> None:
    assert (await client.get("/metrics", headers={header: "1"})).code == "unauthorized"


async def test_long_targets_and_accepts_are_not_remembered(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Texts that clients can invent must not fill the memory."""
    origin.serve("/m.png", chart_png(20, 20))
    with Service(write_config(tmp_path)) as service:
        assert service.process is not None
        client, process = Client(http, service.base), psutil.Process(service.process.pid)
        target = "/image/thumbnail/" + origin.url("/m.png").replace(":", "%3A").replace("/", "%2F") + "?"
        await client.get(target)
        before = process.memory_info().rss
        for number in range(150):
            headers = {"Accept": "image/webp," + f"x/{number}," * 1500}
            assert (await client.get(target + f"{number}" * 2000, headers=headers)).status == 200
        assert process.memory_info().rss - before < 16 * 2**20


async def test_reload_that_would_open_the_service_to_the_world_changes_nothing(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    closed: dict[str, dict[str, Any]] = {"server": {"host": "0.0.0.0"}, "sources": {"allow": ["h.example"]}}
    with Service(write_config(tmp_path, closed)) as service:
        assert service.process is not None
        write_config(tmp_path, {"server": {"host": "0.0.0.0"}})
        os.kill(service.process.pid, signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: "was not reloaded" in service.log())
        answer = await Client(http, service.base).get("/?" + origin.url("/x.png"))
        assert answer.code == "source_not_allowed"


async def test_store_deleted_while_it_is_open_opens_again(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    origin.serve("/one.png", chart_png(20, 20))
    origin.serve("/two.png", chart_png(30, 20))
    config = write_config(tmp_path)
    with Service(config) as service:
        client = Client(http, service.base)
        await client.get("/?" + origin.url("/one.png"))
        delete(tmp_path / "store")
        assert "stored" in (await client.get("/?" + origin.url("/two.png"))).cache_status
    origin.forget("/two.png")
    with Service(config) as service:
        answer = await Client(http, service.base).get("/?" + origin.url("/two.png"))
        assert answer.status == 200


async def test_store_deleted_during_a_fetch_keeps_what_is_fetched(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """All stamps are new then, which is not a purge of this source, so it is fetched again."""
    body, release = chart_png(30, 20), asyncio.Event()
    whole = head(200, [("Content-Type", "image/png"), ("Content-Length", str(len(body)))]) + body
    origin.script("/slow.png", stall(release, after=whole))
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        waiting = asyncio.create_task(client.get("/?" + origin.url("/slow.png")))
        await asyncio.to_thread(wait_until, lambda: origin.count("/slow.png") == 1)
        delete(tmp_path / "store")
        await asyncio.to_thread(wait_until, lambda: "generations was replaced" in service.log())
        release.set()
        assert "stored" in (await waiting).cache_status
        assert 2 <= origin.count("/slow.png") <= 3
        assert "stored" not in (await client.get("/?" + origin.url("/slow.png"))).cache_status


def delete(store: Path) -> None:
    """Delete a store that a service writes into meanwhile."""
    while store.exists():
        shutil.rmtree(store, ignore_errors=True)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("fault", ["manifest", "store"])
def test_service_that_cannot_start_says_why_and_ends_with_2(tmp_path: Path, workers: int, fault: str) -> None:
    config = write_config(tmp_path, {"sources": {"manifest": "nowhere.txt"}} if fault == "manifest" else {})
    if fault == "store":
        (tmp_path / "store").mkdir()
        (tmp_path / "store" / "__init__.py").touch()
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config), "--port", "0"]
    done = subprocess.run(
        [*command, "--workers", str(workers)], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "imgmirror: " in done.stderr


def test_shutdown_with_a_broken_file_is_in_good_order(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    service = Service(config, workers=2)
    service.start()
    config.write_text("[server]\nprot = 1\n")
    assert service.stop() == 0
    assert "Traceback" not in service.log()


async def test_visitors_404_does_not_make_the_service_degraded_but_silence_does(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        await client.get("/?" + origin.url("/nothing.png"))
        assert json.loads((await client.get("/readyz")).body)["status"] == "ok"
        await origin.stop()
        await client.get("/?" + origin.url("/dead.png"))
        ready = await client.get("/readyz")
        assert ready.status == 200
        assert json.loads(ready.body)["status"] == "degraded"
