"""Limits through the real parts: connections, rates and queues towards origins, rates of clients."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import aiohttp
import pytest
from fetching import MemorySink, body_of, fetch_config, fetching
from http_client import Answer, Client
from pictures import chart_png, saved
from PIL import Image
from scripted_origin import Request, ScriptedOrigin, head, raw, stall
from service import Service, wait_until, write_config

from proxy.errors import QueueFull
from proxy.fetch.fetcher import Fetcher
from proxy.fetch.politeness.pace import Pace
from proxy.source import Source


def connections(fetcher: Fetcher) -> int:
    assert fetcher._rules is not None
    return fetcher._rules.client.open_connections


async def test_connection_is_used_again(origin: ScriptedOrigin) -> None:
    """Keep-alive, RFC 9112 §9.3; error answers do not cost the connection either."""
    origin.serve("/a", b"a")
    origin.serve("/chunked", b"b" * 9000, chunked=True)
    async with fetching() as fetcher:
        for path in ("/a", "/chunked", "/a"):
            await body_of(fetcher, origin.url(path))
        assert connections(fetcher) == 1
    assert origin.connections == 1


async def test_idle_connections_are_bounded(origin: ScriptedOrigin) -> None:
    """Thirty origins are asked one after the other; no more than the limit stay open."""
    async with fetching(fetch_config(max_connections=5)) as fetcher:
        others = [ScriptedOrigin() for _ in range(30)]
        for other in others:
            await other.start()
            other.serve("/a", b"a")
            assert await body_of(fetcher, other.url("/a")) == b"a"
            assert connections(fetcher) <= 6
        origin.serve("/a", b"a")
        assert await body_of(fetcher, origin.url("/a")) == b"a"
        for other in others:
            await other.stop()
    assert connections_closed(fetcher)


def connections_closed(fetcher: Fetcher) -> bool:
    return fetcher._rules is None


async def test_connections_are_bounded_while_many_origins_hang(origin: ScriptedOrigin) -> None:
    release = asyncio.Event()
    async with fetching(fetch_config(max_connections=5)) as fetcher:
        others = [ScriptedOrigin() for _ in range(20)]
        for other in others:
            await other.start()
            other.script("/a", stall(release))
        waiting = [asyncio.create_task(body_of(fetcher, other.url("/a"))) for other in others]
        while sum(other.count() for other in others) < 5:  # noqa: ASYNC110 - their own pace
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert connections(fetcher) == 5
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for other in others:
            await other.stop()


class Watch:
    def __init__(self) -> None:
        self.slept: list[float] = []
        self.pace = Pace(clock=lambda: 1000.0, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def patiently(fetcher: Fetcher, url: str) -> None:
    await fetcher.fetch(Source.parse(url), MemorySink(), patient=True)


async def test_warming_waits_as_robots_txt_asks_and_visitors_do_not(origin: ScriptedOrigin) -> None:
    origin.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 2.5\n", content_type="text/plain")
    for number in range(4):
        origin.serve(f"/{number}", b"x")
    watch = Watch()
    async with fetching(pace=watch.pace) as fetcher:
        await patiently(fetcher, origin.url("/0"))
        assert origin.count("/robots.txt") == 0, "one picture needs no delay"
        for number in (1, 2, 3):
            await patiently(fetcher, origin.url(f"/{number}"))
        assert watch.slept == [2.5, 5.0, 7.5]
        assert fetcher.wants_pauses(f"http://127.0.0.1:{origin.port}")
        await body_of(fetcher, origin.url("/0"))
        assert len(watch.slept) == 3
    assert origin.count("/robots.txt") == 1


async def test_redirects_at_one_origin_do_not_wait_for_the_turn_they_hold(origin: ScriptedOrigin) -> None:
    """One request at a time, and picture and robots.txt both redirect where they are."""
    origin.redirect("/moved", "/a")
    origin.redirect("/robots.txt", "/rules")
    origin.serve("/rules", b"User-agent: *\nCrawl-delay: 4\n", content_type="text/plain")
    origin.serve("/a", b"x")
    watch = Watch()
    async with fetching(fetch_config(per_origin=1), pace=watch.pace) as fetcher:
        await asyncio.gather(*(patiently(fetcher, origin.url("/moved")) for _ in range(3)))
    assert watch.slept == [4.0, 8.0]
    assert origin.count("/a") == 3


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_robots_txt_that_cannot_be_had_is_no_delay(origin: ScriptedOrigin, status: int) -> None:
    origin.serve("/robots.txt", b"User-agent: *\nCrawl-delay: 9\n", status=status)
    origin.serve("/a", b"x")
    watch = Watch()
    async with fetching(pace=watch.pace) as fetcher:
        for _ in range(3):
            await patiently(fetcher, origin.url("/a"))
    assert watch.slept == []


async def test_robots_txt_without_end_is_read_in_part(origin: ScriptedOrigin) -> None:
    text = b"User-agent: *\nCrawl-delay: 3\n" + b"# padding\n" * 200_000
    origin.serve("/robots.txt", text, content_type="text/plain")
    origin.serve("/a", b"x")
    watch = Watch()
    async with fetching(pace=watch.pace) as fetcher:
        for _ in range(2):
            await patiently(fetcher, origin.url("/a"))
    assert watch.slept == [3.0]


async def test_rate_of_an_origin_is_kept_by_everybody(origin: ScriptedOrigin) -> None:
    origin.serve("/a", b"x")
    watch = Watch()
    async with fetching(fetch_config(origin_rate=2, timeout=2), pace=watch.pace) as fetcher:
        for _ in range(4):
            await body_of(fetcher, origin.url("/a"))
        assert watch.slept == [0.5, 1.0, 1.5]
        await body_of(fetcher, origin.url("/a"))
        with pytest.raises(QueueFull):
            # It would wait for longer than it may take.
            await body_of(fetcher, origin.url("/a"))


async def test_full_queue_is_told_at_once(tmp_path: Path, origin: ScriptedOrigin) -> None:
    release = asyncio.Event()
    for number in range(40):
        origin.script(f"/{number}.png", stall(release, after=b""))
    origin.serve("/kept.png", chart_png(30, 30))
    with Service(write_config(tmp_path, {"fetch": {"queue": 10}})) as service:
        async with aiohttp.ClientSession() as session:
            client = Client(session, service.base)
            assert (await client.get("/?" + origin.url("/kept.png"))).status == 200
            waiting = [
                asyncio.create_task(client.get("/?" + origin.url(f"/{number}.png"))) for number in range(40)
            ]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused = done.pop().result()
            assert (refused.status, refused.code) == (503, "queue_full")
            assert int(refused.headers["Retry-After"]) > 0
            assert (await client.get("/?" + origin.url("/kept.png"))).status == 200
            release.set()
            answers = await asyncio.gather(*waiting)
    assert [answer.code for answer in answers].count("queue_full") >= 20


async def test_client_is_limited_by_its_own_address_behind_a_trusted_proxy(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """Every kind of answer counts and says so, a reload changes the rate, and monitors are not limited."""
    origin.serve("/a.png", chart_png(30, 30))
    large = saved(Image.effect_noise((1200, 1100), 90), "PNG")
    origin.serve("/large.png", large)
    limits = {"client_rate": 0.01, "client_burst": 4, "trusted_proxies": ["127.0.0.0/8"]}
    with Service(write_config(tmp_path, {"server": limits})) as service:
        client = Client(http, service.base)

        async def ask(target: str, who: str = "192.0.2.1") -> Answer:
            return await client.get(target, headers={"X-Forwarded-For": f"198.51.100.1, {who}"})

        targets = ["/?" + origin.url("/a.png"), "/?" + origin.url("/large.png"), "/nothing", "/image/bad/x"]
        for left, target in zip((3, 2, 1, 0), targets, strict=True):
            answer = await ask(target)
            assert answer.headers["RateLimit-Policy"] == '"client";q=4;w=400'
            assert re.fullmatch(rf'"client";r={left};t=\d+', answer.headers["RateLimit"])
            assert answer.code != "rate_limited"
        refused = await ask(targets[0])
        assert (refused.status, refused.code) == (429, "rate_limited")
        seconds = refused.headers["Retry-After"]
        assert 1 <= int(seconds) <= 100
        assert refused.headers["RateLimit"] == f'"client";r=0;t={seconds}'
        assert refused.headers["Cache-Control"] == "no-store"
        assert refused.headers["Access-Control-Allow-Origin"] == "*"
        assert (await ask(targets[0], "192.0.2.2")).status == 200
        assert (await ask("/healthz")).status == 200
        assert service.process is not None
        write_config(tmp_path, {"server": {}})
        os.kill(service.process.pid, signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: "was reloaded" in service.log())
        answer = await ask(targets[1])
        assert answer.body == large
        assert "RateLimit" not in answer.headers


async def test_articles_count_as_requests_of_their_client(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """`POST /rewrite` is limited like pictures, and its client is told when to come back."""
    with Service(write_config(tmp_path, {"server": {"client_rate": 0.01, "client_burst": 2}})) as service:
        client = Client(http, service.base)
        answers = [
            await client.get(
                "/rewrite", method="POST", data=b"text\n" * 20_000, headers={"Content-Type": "text/markdown"}
            )
            for _ in range(3)
        ]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[2].code == "rate_limited"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 100


async def test_forwarding_headers_of_strangers_are_not_believed(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    with Service(write_config(tmp_path, {"server": {"client_rate": 0.01, "client_burst": 2}})) as service:
        client = Client(http, service.base)
        answers = [
            await client.get("/nothing", headers={"X-Forwarded-For": f"192.0.2.{number}"})
            for number in range(3)
        ]
    assert [answer.status for answer in answers] == [404, 404, 429]


async def test_connection_that_was_closed_behind_an_answer_costs_nothing(origin: ScriptedOrigin) -> None:
    """The origin says keep-alive and hangs up: the next request finds out and is sent once more."""
    origin.script("/a", raw(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na"))
    async with fetching() as fetcher:
        for _ in range(5):
            assert await body_of(fetcher, origin.url("/a")) == b"a"


async def test_profile_is_extended_without_a_restart_and_refusals_before_it_are_forgotten(
    tmp_path: Path, http: aiohttp.ClientSession, origin: ScriptedOrigin
) -> None:
    """A host that wants its own pages: 403 twice, then the operator writes a profile and reloads."""
    body = chart_png(30, 30)

    async def guarded(request: Request, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known = request.header("Referer") == "https://forum.example/"
        status, page = (200, body) if known else (403, b"no strangers")
        writer.write(head(status, [("Content-Length", str(len(page)))]) + page)

    origin.script("/a.png", guarded)
    with Service(write_config(tmp_path)) as service:
        client = Client(http, service.base)
        for _ in range(3):
            assert (await client.get("/?" + origin.url("/a.png"))).code == "source_refused"
        assert origin.count() == 2
        assert service.process is not None
        forum = {"hosts": ["127.0.0.1"], "referer": "https://forum.example/"}
        write_config(tmp_path, {"fetch": {"profiles": {"forum": forum}}})
        os.kill(service.process.pid, signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: "was reloaded" in service.log())
        assert (await client.get("/?" + origin.url("/a.png"))).body == body
