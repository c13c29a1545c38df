"""The web servers of deploy/ before a real service: copies, formats, conditions, a dead service, purges."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from fronts import DEPLOY, free_port, front, installed, purge_hook
from http_client import Answer, Client
from pictures import chart_png
from scripted_origin import ScriptedOrigin
from service import Service, write_config

from proxy.config.service import FetchConfig

pytestmark = [pytest.mark.deployment, pytest.mark.timeout(900)]

CACHES = ("nginx", "varnish")
FRONTS = (*CACHES, "caddy")
TOKEN = "t" * 20
MAX_BYTES = FetchConfig().max_bytes
AVIF = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
WEBP = "image/webp,image/apng,image/*,*/*;q=0.8"
NEITHER = "image/png,image/*;q=0.8,*/*;q=0.5"
WITHOUT_AVIF = "image/avif;q=0,image/webp,*/*"


@dataclass(frozen=True)
class Fronted:
    """A service behind a web server; `base` is the web server's address."""

    name: str
    service: Service
    base: str


@pytest.fixture
def fronted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fronted]:
    """The web server that the test names, before a service whose answers are fresh for a second."""
    name: str = request.param
    if not installed(name):
        pytest.skip(f"{name} is not installed; .ci/run full installs it")
    front_port, hook_port = free_port(), free_port()
    server: dict[str, object] = {
        "public_url": "https://img.example.org",
        "admin_token": TOKEN,
        "min_max_age": "1s",
        "trusted_proxies": ["127.0.0.0/8"],
    }
    with ExitStack() as running:
        if name in CACHES:
            hook = purge_hook(name, tmp_path, port=hook_port, front_port=front_port)
            server["purge_hooks"] = [running.enter_context(hook)]
        config = write_config(tmp_path, {"server": server, "fetch": {"min_fresh": "1s"}})
        service = running.enter_context(Service(config))
        base = running.enter_context(front(name, tmp_path, behind=service.port, port=front_port))
        yield Fronted(name, service, base)


def through(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fronted", names, indirect=True)


async def until(client: Client, target: str, word: str) -> Answer:
    """Ask again until the answer's Cache-Status or Age says what is expected; each answer must be 200."""
    for _ in range(20_000):
        answer = await client.get(target, headers={"Accept": WEBP})
        assert answer.status == 200
        told = ", ".join(answer.headers.getall("Cache-Status"))
        if word in told or (word == "STALE" and int(answer.headers.get("Age", "0")) > 2):
            return answer
    raise AssertionError(f"never {word}")


def asked(service: Service) -> float:
    """Return how many pictures the service was asked for."""
    return service.metrics(token=TOKEN)["imgmirror_lookups_total"]


@through(*FRONTS)
async def test_client_gets_the_format_it_accepts_from_every_copy(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Twice, so that the second answers may be copies; the origin, whose picture is fresh for a day, is asked once."""
    origin.serve("/p.png", chart_png(300, 200), headers=[("Cache-Control", "max-age=86400")])
    client, target = Client(http, fronted.base), "/image/width=100/" + origin.url("/p.png")
    for accept in (AVIF, WEBP, NEITHER, WITHOUT_AVIF) * 2:
        answer = await client.get(target, headers={"Accept": accept})
        assert answer.status == 200
        assert "Accept" in answer.headers["Vary"]
        kind = answer.headers["Content-Type"]
        assert kind != "image/avif" or accept == AVIF
        assert kind != "image/webp" or accept != NEITHER
    assert origin.count() == 1


@through(*CACHES)
async def test_copy_is_answered_without_asking_the_service(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Browsers of one class share a copy, whatever else they write into Accept."""
    origin.serve("/p.png", chart_png(300, 200), headers={"Cache-Control": "max-age=86400"})
    client, target = Client(http, fronted.base), "/image/width=100/" + origin.url("/p.png")
    first = await client.get(target, headers={"Accept": WEBP})
    before = asked(fronted.service)
    assert before == 1
    for accept in (WEBP, "image/webp", "image/webp,*/*", WITHOUT_AVIF):
        again = await client.get(target, headers={"Accept": accept})
        assert (again.status, again.body) == (200, first.body)
    assert asked(fronted.service) == before


@through(*FRONTS)
async def test_condition_that_holds_is_answered_304(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Another entity tag gets the picture."""
    origin.serve("/p.png", chart_png(300, 200))
    client, target = Client(http, fronted.base), "/image/width=100/" + origin.url("/p.png")
    tag = (await client.get(target, headers={"Accept": WEBP})).headers["ETag"]
    kept = await client.get(target, headers={"Accept": WEBP, "If-None-Match": tag})
    assert (kept.status, kept.body) == (304, b"")
    other = await client.get(target, headers={"Accept": WEBP, "If-None-Match": '"another"'})
    assert other.status == 200


@through(*CACHES)
async def test_copy_past_its_time_is_answered_while_the_service_is_dead(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Its max-age is a second. No answer is an error, before or after."""
    origin.serve("/p.png", chart_png(300, 200))
    client, target = Client(http, fronted.base), "/image/width=100/" + origin.url("/p.png")
    first = await client.get(target, headers={"Accept": WEBP})
    assert first.headers["Cache-Control"].startswith("public, max-age=1")
    fronted.service.kill()
    assert (await until(client, target, "STALE")).body == first.body


@through("caddy")
async def test_request_during_a_restart_waits_for_the_next_service(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Caddy keeps no copies; it holds the request back until the service listens again."""
    origin.serve("/p.png", chart_png(300, 200), headers=[("Cache-Control", "max-age=86400")])
    client, target = Client(http, fronted.base), "/image/width=100/" + origin.url("/p.png")
    first = await client.get(target)
    fronted.service.stop()
    waiting = asyncio.create_task(client.get(target))
    await asyncio.to_thread(fronted.service.start)
    later = await waiting
    assert (later.status, later.body) == (200, first.body)
    assert origin.count() == 1


@through(*FRONTS)
async def test_purged_picture_leaves_the_copies_in_front_too(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """In every format, size and spelling of its address; another picture's copies stay."""
    served = chart_png(300, 200), chart_png(310, 200)
    origin.serve("/a%20b[1].png", served[0], headers={"Cache-Control": "max-age=86400"})
    origin.serve("/kept.png", served[0], headers={"Cache-Control": "max-age=86400"})
    client = Client(http, fronted.base)
    source = origin.url("/a%20b[1].png")
    escaped = source.replace(":", "%3A").replace("/", "%2F").replace("%20", "%2520")
    targets = ["/?" + source, "/image/original/" + source, f"/wsrv/?url={escaped}&w=300"]
    kept = "/image/original/" + origin.url("/kept.png")
    for target in (*targets, kept):
        assert (await client.get(target, headers={"Accept": NEITHER})).status == 200, target
    origin.serve("/a%20b[1].png", served[1])
    origin.serve("/kept.png", served[1])
    purge = {"Content-Type": "application/json", "Authorization": "Bearer " + TOKEN}
    data = json.dumps({"source": source}).encode()
    answer = await client.get("/purge", method="POST", data=data, headers=purge)
    assert (answer.status, json.loads(answer.body)["purged"]) == (200, [source])
    for target in targets[:2]:
        assert (await client.get(target, headers={"Accept": NEITHER})).body == served[1], target
    assert (await client.get(targets[2], headers={"Accept": NEITHER})).status == 200
    assert (await client.get(kept, headers={"Accept": NEITHER})).body == served[0]


@through(*FRONTS)
async def test_administration_is_not_opened_or_cached_by_a_front(
    fronted: Fronted, http: aiohttp.ClientSession
) -> None:
    """The service sees a stranger behind the front on its own machine."""
    client = Client(http, fronted.base)
    for path in ("/metrics", "/explain/?http://h/"):
        assert (await client.get(path)).status == 401
        allowed = await client.get(path, headers={"Authorization": "Bearer " + TOKEN})
        assert allowed.status == 200
        assert (await client.get(path)).status == 401


@through(*FRONTS)
async def test_upload_as_large_as_the_service_takes_passes_a_front(
    fronted: Fronted, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A larger one gets the refusal of the service, not that of the front."""
    client = Client(http, fronted.base)
    target = "/api/v1/picture/upload?source=" + quote(origin.url("/lost.png"), safe="")
    data = chart_png(300, 200)
    answers = []
    for more in (0, 1):
        padded = BytesIO(data + bytes(MAX_BYTES + more - len(data)))
        allowed = {"Authorization": "Bearer " + TOKEN}
        answers.append(await client.get(target, method="POST", data=padded, headers=allowed))
    kept, refused = answers
    assert kept.status == 200
    assert (refused.status, json.loads(refused.body)["code"]) == (413, "request_too_large")


@through("varnish")
async def test_ban_from_elsewhere_is_refused(fronted: Fronted, http: aiohttp.ClientSession) -> None:
    """A proxy on the same machine passes a stranger's request on with the stranger's address."""
    client = Client(http, fronted.base)
    header = {"X-Imgmirror-Ban": ".", "X-Forwarded-For": "192.0.2.1"}
    assert (await client.get("/", method="BAN", headers=header)).status == 403
    assert (await client.get("/", method="BAN", headers={"X-Imgmirror-Ban": "(("})).status == 400


@pytest.mark.parametrize("body", ["", "[]", "{", '{"purged": 1}', '"purged"'])
def test_hook_refuses_what_is_no_news(tmp_path: Path, body: str) -> None:
    """And nothing in the cache is deleted."""
    (tmp_path / "cache").mkdir()
    copy = tmp_path / "cache" / "copy"
    copy.write_bytes(b"head\nKEY: */*/?http://h.example/a.png\n")
    port = free_port()
    with purge_hook("nginx", tmp_path, port=port, front_port=0) as address:
        curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--data", body, address]
        status = subprocess.run(curl, capture_output=True, text=True, check=True, timeout=60).stdout
        assert status in {"204", "400"}
        assert copy.exists()


def test_hook_without_a_cache_says_what_is_missing() -> None:
    """It exits 2."""
    told = subprocess.run(
        [sys.executable, DEPLOY / "purge_hook.py"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "--nginx or --varnish" in told.stderr


@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed; .ci/run full installs it")
def test_caddyfile_is_accepted_as_it_is(tmp_path: Path) -> None:
    """Not only with the changes of the tests above."""
    command = ["caddy", "validate", "--config", str(DEPLOY / "Caddyfile"), "--adapter", "caddyfile"]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)
